use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use millstream_model::pipeline::{Located, Place};
use millstream_model::{parse_duration, parse_size};
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Form;
use super::section::Section;
use crate::nearest;

/// A value of the file. Readers report what is wrong with it and then give nothing.
#[derive(Clone, Copy)]
pub(super) struct Item<'f> {
    pub(super) form: &'f Form<'f>,
    /// The key that it is the value of, or an element of the value of.
    pub(super) key: &'f str,
    /// Where it begins.
    pub(super) place: Place,
    value: &'f DeValue<'f>,
}

impl<'f> Item<'f> {
    pub(super) fn new(form: &'f Form<'f>, key: &'f str, value: &'f Spanned<DeValue<'f>>) -> Self {
        Self { form, key, place: form.lines.place(value.span().start), value: value.get_ref() }
    }

    pub(super) fn report(self, message: impl Into<String>) {
        self.form.report(self.place, message);
    }

    /// Reports that the value is of another type than what is `expected`.
    pub(super) fn wrong<T>(self, expected: &str) -> Option<T> {
        let found = match self.value.type_str() {
            kind @ ("integer" | "array") => format!("an {kind}"),
            kind => format!("a {kind}"),
        };
        self.report(format!("\"{}\": expected {expected}, found {found}", self.key));
        None
    }

    pub(super) fn is_table(self) -> bool {
        self.value.is_table()
    }

    pub(super) fn is_array(self) -> bool {
        self.value.is_array()
    }

    pub(super) fn is_string(self) -> bool {
        self.value.is_str()
    }

    fn located<T>(self, value: T) -> Located<T> {
        Located { value, place: self.place }
    }

    /// A string that is not empty.
    pub(super) fn string(self, expected: &str) -> Option<Located<String>> {
        let Some(text) = self.value.as_str() else {
            return self.wrong(expected);
        };
        if text.trim().is_empty() {
            self.report(format!("\"{}\" is empty; expected {expected}", self.key));
            return None;
        }
        Some(self.located(text.to_owned()))
    }

    /// Any string.
    pub(super) fn text(self) -> Option<Located<String>> {
        match self.value.as_str() {
            Some(text) => Some(self.located(text.to_owned())),
            None => self.wrong("a string"),
        }
    }

    pub(super) fn boolean(self) -> Option<bool> {
        self.value.as_bool().or_else(|| self.wrong("true or false"))
    }

    /// A whole number above zero.
    pub(super) fn count(self) -> Option<u64> {
        self.at_least(1, "a whole number above zero")
    }

    /// A whole number that may be zero.
    pub(super) fn count_or_none(self) -> Option<u64> {
        self.at_least(0, "a whole number that is not below zero")
    }

    fn at_least(self, least: u64, expected: &str) -> Option<u64> {
        let Some(digits) = self.value.as_integer() else {
            return self.wrong(expected);
        };
        match u64::from_str_radix(digits.as_str(), digits.radix()) {
            Ok(count) if count >= least => Some(count),
            _ => {
                self.report(format!("\"{}\": expected {expected}, found {digits}", self.key));
                None
            }
        }
    }

    /// A number that is not below zero.
    pub(super) fn fraction(self) -> Option<f64> {
        let expected = "a number that is not below zero";
        let number = match self.value {
            DeValue::Integer(digits) => digits.as_str().parse().ok(),
            DeValue::Float(digits) => digits.as_str().parse::<f64>().ok(),
            _ => return self.wrong(expected),
        };
        let number = number.filter(|number| number.is_finite() && *number >= 0.0);
        if number.is_none() {
            self.report(format!("\"{}\": expected {expected}", self.key));
        }
        number
    }

    /// [`Item::count`] as a number of things in memory.
    pub(super) fn quantity(self) -> Option<usize> {
        self.count().map(|count| usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// At least a millisecond.
    pub(super) fn duration(self) -> Option<Duration> {
        let text = self.string("a duration such as \"1s\" or \"500ms\"")?.value;
        self.above_zero(parse_duration(&text), Duration::ZERO)
    }

    /// A duration that may be nothing.
    pub(super) fn delay(self) -> Option<Duration> {
        let text = self.string("a duration such as \"10s\" or \"0s\"")?.value;
        parse_duration(&text).map_err(|error| self.report(format!("\"{}\": {error}", self.key))).ok()
    }

    /// In bytes.
    pub(super) fn size(self) -> Option<u64> {
        let text = self.string("a size such as \"64KiB\" or \"1GiB\"")?.value;
        self.above_zero(parse_size(&text), 0)
    }

    fn above_zero<T: PartialOrd, E: ToString>(self, read: Result<T, E>, zero: T) -> Option<T> {
        let reason = match read {
            Ok(quantity) if quantity > zero => return Some(quantity),
            Ok(_) => "must be more than nothing".to_owned(),
            Err(error) => error.to_string(),
        };
        self.report(format!("\"{}\": {reason}", self.key));
        None
    }

    /// A path, taken relative to the file's folder. Who allows a pipeline that a component carries to use a folder does not
    /// look where a way back out of it leads.
    pub(super) fn path(self) -> Option<Located<PathBuf>> {
        let path = self.string("a path")?;
        let mut parts = Path::new(&path.value).components();
        if self.form.carrier.is_some() && parts.any(|part| part == Component::ParentDir) {
            self.report(format!(
                "\"{path}\" goes back by \"..\", which a pipeline in a component cannot; name what is meant"
            ));
            return None;
        }
        Some(self.located(self.form.folder.join(path.value)))
    }

    /// `host:port`. Port 0 asks the system for a free one, which only a listener can.
    pub(super) fn address(self, listens: bool) -> Option<Located<String>> {
        let address = self.string("an address such as \"127.0.0.1:9999\"")?;
        match address_fault(&address.value, listens) {
            None => Some(address),
            Some(fault) => {
                self.report(format!("\"{}\" is no address: {fault}; write host:port", address.value));
                None
            }
        }
    }

    /// A host that is asked over HTTP, with its port or without.
    pub(super) fn host(self) -> Option<Located<String>> {
        let host = self.string("a host such as \"api.example.com\" or \"127.0.0.1:8080\"")?;
        match host_fault(&host.value) {
            None => Some(host),
            Some(fault) => {
                let host = &host.value;
                self.report(format!("\"{host}\" is no host: {fault}; write host or host:port"));
                None
            }
        }
    }

    /// One of several words.
    pub(super) fn choice<T: Copy>(self, what: &str, choices: &[(&str, T)]) -> Option<T> {
        let words = choices.iter().map(|(word, _)| *word);
        let listed = words.clone().collect::<Vec<_>>().join(", ");
        let word = self.string(&format!("one of {listed}"))?.value;
        let chosen = choices.iter().find(|(name, _)| *name == word);
        if chosen.is_none() {
            let hint = nearest::hint(&word, &format!("{what}s"), words);
            self.report(format!("there is no {what} \"{word}\"{hint}"));
        }
        chosen.map(|(_, choice)| *choice)
    }

    /// The elements of an array.
    pub(super) fn list(self, expected: &str) -> Option<Vec<Self>> {
        let Some(array) = self.value.as_array() else {
            return self.wrong(expected);
        };
        Some(array.iter().map(|element| Self::new(self.form, self.key, element)).collect())
    }

    /// What `read` makes of each element; nothing if it makes nothing of one, after all are read.
    pub(super) fn each<T>(self, expected: &str, read: impl FnMut(Self) -> Option<T>) -> Option<Vec<T>> {
        let read: Vec<_> = self.list(expected)?.into_iter().map(read).collect();
        read.into_iter().collect()
    }

    pub(super) fn strings(self, expected: &str) -> Option<Vec<Located<String>>> {
        self.each(expected, |item| item.string("a string"))
    }

    /// The keys and values of a table, in the order of the file.
    pub(super) fn entries(self, expected: &str) -> Option<Vec<(Located<&'f str>, Self)>> {
        let Some(table) = self.value.as_table() else {
            return self.wrong(expected);
        };
        Some(entries(self.form, table))
    }

    /// A table with known keys, which messages call `what`, said to exist at `place`.
    pub(super) fn section(self, what: String, place: Place) -> Option<Section<'f>> {
        let entries = self.entries(&format!("a table of {what}'s keys"))?;
        Some(Section::new(self.form, what, place, entries))
    }

    /// Any value, as JSON; dates and times as text.
    pub(super) fn json(self) -> Option<Value> {
        match self.value {
            DeValue::String(text) => Some(Value::from(text.as_ref())),
            DeValue::Boolean(value) => Some(Value::from(*value)),
            DeValue::Datetime(value) => Some(Value::from(value.to_string())),
            DeValue::Integer(digits) => {
                let number = i64::from_str_radix(digits.as_str(), digits.radix());
                self.number(number.ok().map(Value::from), &digits.to_string())
            }
            DeValue::Float(digits) => {
                let number: Option<f64> = digits.as_str().parse().ok();
                self.number(number.and_then(serde_json::Number::from_f64).map(Value::from), digits.as_str())
            }
            DeValue::Array(_) => self.each("an array", Self::json).map(Value::from),
            DeValue::Table(_) => {
                let entries = self.entries("a table")?.into_iter();
                let read: Vec<_> =
                    entries.map(|(key, item)| Some((key.value.to_owned(), item.json()?))).collect();
                let object: Option<serde_json::Map<_, _>> = read.into_iter().collect();
                object.map(Value::from)
            }
        }
    }

    /// A date and a time of day, in milliseconds since 1970; UTC, where it has no zone.
    pub(super) fn time_ms(self) -> Option<i64> {
        let DeValue::Datetime(time) = self.value else {
            return self.wrong("a time such as 2026-01-01T00:00:00Z");
        };
        let read = string_to_timestamp_nanos(&time.to_string()).ok().map(|nanos| nanos.div_euclid(1_000_000));
        if read.is_none_or(|ms| ms < 0) {
            self.report(format!(
                "{time} is not between 1970 and 2262; expected a time such as 2026-01-01T00:00:00Z"
            ));
        }
        read.filter(|ms| *ms >= 0)
    }

    fn number(self, number: Option<Value>, digits: &str) -> Option<Value> {
        if number.is_none() {
            self.report(format!("{digits} is beyond the numbers that 64 bits hold"));
        }
        number
    }
}

/// The keys and values of a table, in the order of the file.
pub(super) fn entries<'f>(form: &'f Form<'f>, table: &'f DeTable<'f>) -> Vec<(Located<&'f str>, Item<'f>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let item = |(key, value): (&'f Spanned<_>, &'f Spanned<_>)| {
        let name: &'f std::borrow::Cow<'f, str> = key.get_ref();
        let place = form.lines.place(key.span().start);
        (Located { value: name.as_ref(), place }, Item::new(form, name, value))
    };
    entries.into_iter().map(item).collect()
}

fn address_fault(address: &str, listens: bool) -> Option<&'static str> {
    let Some((host, port)) = address.rsplit_once(':') else {
        return Some("it has no port");
    };
    let bracketed = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Some("it has no host");
    }
    if host.contains(':') && !bracketed {
        return Some("an IPv6 host stands in brackets");
    }
    match port.parse::<u16>() {
        Err(_) => Some("the port is no number up to 65535"),
        Ok(0) if !listens => Some("port 0 cannot be connected to"),
        Ok(_) => None,
    }
}

fn host_fault(host: &str) -> Option<&'static str> {
    if host.contains("://") || host.contains('/') {
        return Some("it is a URL, or a part of one");
    }
    if host.contains('*') {
        return Some("each host is named by itself");
    }
    let is_of_host = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if !host.chars().all(is_of_host) {
        return Some("it has a character that no host has");
    }
    let has_port = !host.ends_with(']') && host.contains(':');
    if has_port { address_fault(host, false) } else { None }
}
