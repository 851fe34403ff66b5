//! What each reduce, inverse and update-state does when it is called: a lie each, in an answer that is right otherwise,
//! and one of each kind that behaves.

use crate::behaviour::{strings, table, varying};
use crate::bindings::exports::millstream::plugin::update_state::Outcome;
use crate::bindings::millstream::plugin::accumulators::add;
use crate::bindings::millstream::plugin::types::{Error, Table, Values};

pub(crate) type Fold = fn(Table, Vec<u32>, u32) -> Result<Table, Error>;
type TakeOut = fn(Table, Table) -> Result<Table, Error>;
type Updates = fn(Update) -> Result<Outcome, Error>;

/// What an update-state is called with.
pub(crate) struct Update {
    pub(crate) keys: Table,
    pub(crate) states: Table,
    pub(crate) present: Vec<u8>,
    pub(crate) timed_out: Vec<u8>,
    pub(crate) groups: Vec<u32>,
    pub(crate) rows: Table,
}

pub(crate) const FOLDS: &[(&str, Fold)] = &[
    ("fold-trap", |_, _, _| core::arch::wasm32::unreachable()),
    ("fold-reject", |_, _, _| Err(Error::Rejected("these groups are not to my taste".to_owned()))),
    ("fold-short", |rows, groups, count| Ok(words(joined(&rows, &groups, count).into_iter().skip(1)))),
    ("fold-long", |rows, groups, count| {
        Ok(words(joined(&rows, &groups, count).into_iter().chain(["one more".to_owned()])))
    }),
    ("fold-wrong-type", |_, _, count| Ok(table(count, Values::Int64(vec![0; count as usize])))),
    ("fold-missing-column", |_, _, count| Ok(Table { rows: count, columns: vec![], items: vec![] })),
    ("fold-buffer-short", |rows, groups, count| {
        Ok(Table { rows: count, ..words(joined(&rows, &groups, count).into_iter().skip(1)) })
    }),
    ("fold-count-and-lie", |_, _, _| {
        add("rows", 1_000_000);
        Ok(words([""; 0]))
    }),
    ("fold-well", |rows, groups, count| {
        add("rows", i64::from(rows.rows));
        Ok(words(joined(&rows, &groups, count)))
    }),
];

pub(crate) const TAKE_OUTS: &[(&str, TakeOut)] = &[
    ("take-out-short", |totals, _| Ok(words(strings(&totals).skip(1)))),
    ("take-out-wrong-type", |totals, _| {
        Ok(table(totals.rows, Values::Boolean(vec![0; totals.rows as usize])))
    }),
    ("take-out-well", |totals, taken| {
        add("rows", i64::from(taken.rows));
        let rest = |(total, taken): (&str, &str)| total.replacen(taken, "", 1);
        Ok(words(strings(&totals).zip(strings(&taken)).map(rest)))
    }),
];

pub(crate) const UPDATES: &[(&str, Updates)] = &[
    ("update-trap", |_| core::arch::wasm32::unreachable()),
    ("update-unavailable", |_| Err(Error::Unavailable("the world is away".to_owned()))),
    ("fates-short", |update| {
        lie(update, |outcome| {
            outcome.fates.pop();
        })
    }),
    ("fates-long", |update| lie(update, |outcome| outcome.fates.push(0))),
    ("fate-unknown", |update| lie(update, |outcome| outcome.fates[0] = 3)),
    ("put-timed-out", |update| lie(update, |outcome| outcome.fates.fill(1))),
    ("states-short", |update| {
        lie(update, |outcome| outcome.states = words(strings(&outcome.states).skip(1)))
    }),
    ("states-buffer-short", |update| {
        lie(update, |outcome| {
            let rows = outcome.states.rows;
            outcome.states = Table { rows, ..words(strings(&outcome.states).skip(1)) };
        })
    }),
    ("states-wrong-type", |update| {
        lie(update, |outcome| {
            let rows = outcome.states.rows;
            outcome.states = table(rows, Values::Int64(vec![0; rows as usize]));
        })
    }),
    ("states-null", |update| {
        lie(update, |outcome| outcome.states.columns[0].validity = Some(vec![0b1111_1110]))
    }),
    ("output-wrong-type", |update| {
        lie(update, |outcome| {
            let rows = outcome.output.rows;
            outcome.output = table(rows, Values::Float64(vec![0.0; rows as usize]));
        })
    }),
    ("output-missing-column", |update| lie(update, |outcome| outcome.output.columns.clear())),
    ("update-origins-beyond", |update| {
        let keys = update.keys.rows;
        lie(update, |outcome| outcome.origins.fill(keys))
    }),
    ("update-origins-fall", |update| lie(update, |outcome| outcome.origins.reverse())),
    ("update-origins-short", |update| lie(update, |outcome| outcome.origins.truncate(1))),
    ("update-count-and-lie", |update| {
        add("rows", 1_000_000);
        lie(update, |outcome| outcome.fates.clear())
    }),
    // What stands in the rows of states that are not put is nobody's business.
    ("update-nulls-unread", |update| {
        lie(update, |outcome| {
            outcome.fates.fill(0);
            outcome.states.columns[0].validity = Some(vec![0]);
        })
    }),
    ("update-well", well),
];

/// The texts of each group, one behind the other.
pub(crate) fn joined(rows: &Table, groups: &[u32], count: u32) -> Vec<String> {
    let mut texts = vec![String::new(); count as usize];
    strings(rows).zip(groups).for_each(|(text, group)| texts[*group as usize].push_str(text));
    texts
}

pub(crate) fn words(words: impl IntoIterator<Item: AsRef<str>>) -> Table {
    let words = varying(words);
    table(u32::try_from(words.offsets.len() - 1).expect("a call has few rows"), Values::Utf8(words))
}

/// The right outcome with something in it spoilt.
fn lie(update: Update, spoil: impl FnOnce(&mut Outcome)) -> Result<Outcome, Error> {
    let mut outcome = well(update)?;
    spoil(&mut outcome);
    Ok(outcome)
}

/// Appends the new rows to the state, and gives the key with that. A state that times out is given once more.
fn well(update: Update) -> Result<Outcome, Error> {
    let bit = |bits: &[u8], key: usize| bits[key / 8] >> (key % 8) & 1 == 1;
    let new: Vec<&str> = strings(&update.rows).collect();
    let mut states: Vec<String> = Vec::new();
    let mut output = Vec::new();
    for (key, (name, state)) in strings(&update.keys).zip(strings(&update.states)).enumerate() {
        let rows = update.groups[key] as usize..update.groups[key + 1] as usize;
        let before = if bit(&update.present, key) { state } else { "" };
        let after = format!("{before}{}", new[rows].concat());
        output.push(format!("{name}={after}"));
        states.push(after);
    }
    let keys = states.len();
    add("rows", i64::from(update.rows.rows));
    Ok(Outcome {
        fates: (0..keys).map(|key| u8::from(!bit(&update.timed_out, key))).collect(),
        states: words(states),
        output: words(output),
        origins: (0..update.keys.rows).collect(),
    })
}
