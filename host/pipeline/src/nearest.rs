//! What was probably meant by a name that does not exist.

/// Longer names are nobody's typing mistake.
const NAME_CHARS_MAX: usize = 64;

/// The name among `names` that `given` is a likely misspelling of.
pub(crate) fn nearest<'n>(given: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let length = given.chars().count();
    if length > NAME_CHARS_MAX {
        return None;
    }
    let distance_max = (length / 3).max(1).min(length.saturating_sub(1));
    let given = given.to_lowercase();
    names
        .into_iter()
        .filter(|name| name.chars().count().abs_diff(length) <= distance_max)
        .map(|name| (strsim::damerau_levenshtein(&given, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= distance_max)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// How to go on from a name that does not exist: the nearest of `names`, else all of them if they are few.
pub fn hint<'n>(given: &str, what: &str, names: impl IntoIterator<Item = &'n str> + Clone) -> String {
    const LISTED_MAX: usize = 20;
    if let Some(name) = nearest(given, names.clone()) {
        return format!("; did you mean \"{name}\"?");
    }
    let all: Vec<_> = names.into_iter().take(LISTED_MAX + 1).collect();
    match all.len() {
        0 => format!("; there are no {what}"),
        1..=LISTED_MAX => format!("; the {what} are {}", all.join(", ")),
        _ => String::new(),
    }
}
