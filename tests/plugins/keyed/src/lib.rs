//! A plugin of the SDK whose reduces, inverses and updates of states have columns of all types, to be called through
//! the host.

use millstream_sdk::prelude::*;

/// Joins texts.
#[reduce]
pub fn join(mut left: String, right: &str) -> String {
    left.push_str(right);
    left
}

/// The longest text, the first of equals.
#[reduce]
pub fn longest<'a>(left: &'a str, right: &'a str) -> &'a str {
    if right.len() > left.len() { right } else { left }
}

/// The larger number, if there is one.
#[reduce(column = "amount")]
pub fn largest(left: Option<f64>, right: Option<f64>) -> Option<f64> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.max(right)),
        (left, right) => left.or(right),
    }
}

/// What is known of some amounts.
#[derive(Clone, Debug, PartialEq, Row)]
pub struct Summary {
    /// How many there are.
    pub count: i64,
    /// Their sum.
    pub sum: f64,
    /// Whose they are.
    pub users: Vec<String>,
}

/// Summarises all that two summaries say.
#[reduce]
pub fn merge(left: Summary, right: Summary) -> Summary {
    let mut users = left.users;
    users.extend(right.users);
    Summary { count: left.count + right.count, sum: left.sum + right.sum, users }
}

/// A summary without a part of it.
#[inverse]
pub fn part(total: Summary, leaving: Summary) -> Result<Summary, String> {
    if leaving.count > total.count {
        return Err("more leaves than is there".to_owned());
    }
    let users = total.users.into_iter().skip(leaving.users.len()).collect();
    Ok(Summary { count: total.count - leaving.count, sum: total.sum - leaving.sum, users })
}

/// Keeps all values of a key, and gives how many there are.
#[update_state(output = "length")]
pub fn remember(key: &str, value: Rows<'_, &str>, state: &mut State<Vec<String>>, out: &mut Output<i64>) {
    accumulators::add(key, value.len() as i64);
    state.update(|values| {
        let mut values = values.unwrap_or_default();
        values.extend(value.iter().map(str::to_owned));
        Some(values)
    });
    out.push(state.get().map_or(0, |values| values.len() as i64));
}

/// A visit.
#[derive(Row)]
pub struct Visit<'a> {
    page: &'a str,
    seconds: Option<i64>,
}

/// What is kept of a user's visits.
#[derive(Clone, Debug, Row)]
pub struct Session {
    since: Timestamp,
    pages: Vec<String>,
    longest: Option<i64>,
}

/// A user's session that is over.
#[derive(Row)]
pub struct Ended {
    shop: String,
    since: Timestamp,
    until: Timestamp,
    pages: i64,
    longest: Option<i64>,
}

/// Gathers a user's visits, and gives the session when it times out, or at the page `bye`.
#[update_state(version = 3)]
pub fn sessions(
    user: i64,
    shop: &str,
    visit: Rows<'_, Visit<'_>>,
    state: &mut State<Session>,
    out: &mut Output<Ended>,
    context: Context,
) -> Result<(), String> {
    let now = Timestamp(context.batch_time_ms * 1_000);
    let new = Session { since: now, pages: Vec::new(), longest: None };
    let mut session = state.get().cloned().unwrap_or(new);
    for Visit { page, seconds } in &visit {
        if page.is_empty() {
            return Err(format!("user {user} visits a page without a name"));
        }
        session.pages.push(page.to_owned());
        session.longest = session.longest.max(seconds);
    }
    let leaves = session.pages.last().is_some_and(|page| page == "bye");
    if !leaves && !state.is_timing_out() {
        state.set(session);
        return Ok(());
    }
    let Session { since, pages, longest } = session;
    out.push(Ended { shop: shop.to_owned(), since, until: now, pages: pages.len() as i64, longest });
    state.remove();
    Ok(())
}

/// Sets the state of every key, as if none could time out.
#[update_state]
pub fn careless(key: (), value: Rows<'_, ()>, state: &mut State<bool>) {
    let () = key;
    state.set(!value.is_empty());
}

millstream_sdk::export!(join, longest, largest, merge, part, remember, sessions, careless);
