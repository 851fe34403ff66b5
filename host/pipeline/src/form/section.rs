use millstream_model::pipeline::{Located, Place};

use super::Form;
use super::item::Item;
use crate::nearest;

/// A table with known keys. Whoever reads it asks for each key that it may have; what nobody asked for is unknown.
pub(super) struct Section<'f> {
    form: &'f Form<'f>,
    /// How messages name it, such as `source "lines"`.
    pub(super) what: String,
    /// Where it is said that it exists.
    pub(super) place: Place,
    /// In the order of the file.
    entries: Vec<(Located<&'f str>, Item<'f>)>,
    asked: Vec<&'static str>,
    missing: Vec<(&'static str, &'static str)>,
}

impl<'f> Section<'f> {
    pub(super) fn new(
        form: &'f Form<'f>,
        what: String,
        place: Place,
        entries: Vec<(Located<&'f str>, Item<'f>)>,
    ) -> Self {
        Self { form, what, place, entries, asked: Vec::new(), missing: Vec::new() }
    }

    /// The value of a key that need not be there.
    pub(super) fn optional(&mut self, key: &'static str) -> Option<Item<'f>> {
        self.asked.push(key);
        self.entries.iter().find(|(name, _)| name.value == key).map(|(_, item)| *item)
    }

    /// The value of a key that must be there; `remedy` says how to give it.
    pub(super) fn required(&mut self, key: &'static str, remedy: &'static str) -> Option<Item<'f>> {
        let item = self.optional(key);
        if item.is_none() {
            self.missing.push((key, remedy));
        }
        item
    }

    pub(super) fn form(&self) -> &'f Form<'f> {
        self.form
    }

    /// Where a key stands.
    pub(super) fn key_place(&self, key: &str) -> Option<Place> {
        self.entries.iter().find(|(name, _)| name.value == key).map(|(name, _)| name.place)
    }

    /// Whether a key that nobody asked for is a likely misspelling of one of `keys`.
    pub(super) fn misspells<'k>(&self, keys: impl IntoIterator<Item = &'k str> + Clone) -> bool {
        self.rest().any(|(name, _)| nearest::nearest(name.value, keys.clone()).is_some())
    }

    /// Takes keys that cannot be judged, because what would tell their meaning is wrong.
    pub(super) fn allow(&mut self, keys: &[&'static str]) {
        self.asked.extend(keys);
    }

    /// Reports `key` if it is there, with the reason why it cannot be.
    pub(super) fn refuse(&mut self, key: &'static str, reason: &str) {
        self.asked.push(key);
        if let Some(place) = self.key_place(key) {
            self.form.report(place, format!("{} takes no \"{key}\": {reason}", self.what));
        }
    }

    /// The entries that nobody asked for.
    pub(super) fn rest(&self) -> impl Iterator<Item = (Located<&'f str>, Item<'f>)> {
        self.entries.iter().filter(|(name, _)| !self.asked.contains(&name.value)).cloned()
    }

    /// Reports the keys that are unknown, and those that are missing and not just misspelt.
    pub(super) fn finish(self) {
        let mut meant = Vec::new();
        for (name, _) in self.rest() {
            let asked = self.asked.iter().copied();
            meant.extend(nearest::nearest(name.value, asked.clone()));
            let hint = nearest::hint(name.value, "keys", asked);
            self.form.report(name.place, format!("{} has no key \"{}\"{hint}", self.what, name.value));
        }
        self.finish_named(&meant);
    }

    /// Reports the keys that are missing; the entries that nobody asked for are not keys but names.
    pub(super) fn finish_open(self) {
        self.finish_named(&[]);
    }

    fn finish_named(self, meant: &[&str]) {
        for (key, remedy) in self.missing.iter().filter(|(key, _)| !meant.contains(key)) {
            self.form.report_missing(self.place, format!("{} lacks \"{key}\"; {remedy}", self.what));
        }
    }
}
