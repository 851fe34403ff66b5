//! Operations drawn by chance: as the pipeline file says them, and as the model computes them.

use millstream_platform::Seeded;

use super::model::{Rows, Stream, cogrouped, count, fold, join, remembered, running};
use super::normalized;

const LENGTHS: &[usize] = &[1, 2, 3, 5];
const SLIDES: &[usize] = &[1, 1, 1, 2, 3];

/// A stream that reads some of `streams`: its definition, and what it gives.
pub(super) fn draw(chance: &Seeded, name: &str, streams: &[Stream]) -> (String, Stream) {
    let from = &streams[chance.below(streams.len() as u64) as usize];
    let alike: Vec<_> = streams.iter().filter(|stream| stream.slide == from.slide).collect();
    let other = alike[chance.below(alike.len() as u64) as usize];
    let drawing = Drawing { chance, name, from, other };
    match chance.below(14) {
        0 => drawing.sql("SELECT word, n + 1 AS n", |rows| {
            rows.iter().map(|(word, n)| (word.clone(), n + 1)).collect()
        }),
        1 => drawing.sql_where("n % 2 = 0", |n| n % 2 == 0),
        2 => drawing.union(),
        3 => drawing.reduce(),
        4 => drawing.aggregate(),
        5 => drawing.window(),
        6 => drawing.window_reduce(),
        7 => drawing.window_inverse(),
        8 => drawing.window_aggregate(),
        9 | 10 => drawing.running(),
        11 => drawing.join(),
        12 => drawing.cogroup(),
        _ => drawing.repartition(),
    }
}

struct Drawing<'a> {
    chance: &'a Seeded,
    name: &'a str,
    from: &'a Stream,
    /// One that has a table when `from` has.
    other: &'a Stream,
}

impl Drawing<'_> {
    fn pick<'c, T>(&self, choices: &'c [T]) -> &'c T {
        &choices[self.chance.below(choices.len() as u64) as usize]
    }

    fn sql(&self, select: &str, compute: impl Fn(&Rows) -> Rows) -> (String, Stream) {
        let text = format!("[streams.{}]\nsql = '''{select} FROM \"{}\"'''\n", self.name, self.from.name);
        (text, self.from.each(self.name, |_, rows| compute(rows)))
    }

    fn sql_where(&self, condition: &str, keep: impl Fn(i64) -> bool) -> (String, Stream) {
        let (name, from) = (self.name, &self.from.name);
        let text =
            format!("[streams.{name}]\nsql = '''SELECT word, n FROM \"{from}\" WHERE {condition}'''\n");
        let kept = self.from.each(name, |_, rows| rows.iter().filter(|(_, n)| keep(*n)).cloned().collect());
        (text, kept)
    }

    /// A stream of an operation, and behind it the one of this drawing, with the columns that all streams have.
    fn operation(&self, operation: &str, n: &str) -> String {
        let (inner, from) = (format!("{}-inner", self.name), &self.from.name);
        let text = format!("[streams.{inner}]\nfrom = \"{from}\"\n{operation}\n");
        text + &normalized(self.name, &inner, "word", n)
    }

    fn union(&self) -> (String, Stream) {
        let (name, from, other) = (self.name, &self.from.name, &self.other.name);
        let text = match from == other {
            true => format!(
                "[streams.{name}]\nsql = '''SELECT word, n FROM \"{from}\" UNION ALL SELECT word, n FROM \"{from}\"'''\n"
            ),
            false => format!("[streams.{name}]\nfrom = [\"{from}\", \"{other}\"]\n"),
        };
        (text, self.from.with(self.other, name, |left, right| [left.clone(), right.clone()].concat()))
    }

    fn reduce(&self) -> (String, Stream) {
        let text = self.operation("reduce = { by = [\"word\"], function = \"text.add\" }", "n");
        (text, self.from.each(self.name, |_, rows| fold(rows, |left, right| left + right)))
    }

    fn aggregate(&self) -> (String, Stream) {
        let (sql, compute) = self.aggregation();
        let text = self.operation(&format!("aggregate = {{ by = [\"word\"], n = \"{sql}\" }}"), "n");
        (text, self.from.each(self.name, |_, rows| compute(rows)))
    }

    fn aggregation(&self) -> (&'static str, fn(&Rows) -> Rows) {
        *self.pick::<(&'static str, fn(&Rows) -> Rows)>(&[
            ("sum(n)", |rows| fold(rows, |left, right| left + right)),
            ("max(n)", |rows| fold(rows, i64::max)),
            ("min(n)", |rows| fold(rows, i64::min)),
            ("count(*)", count),
        ])
    }

    /// A window's keys in the file, its windows in the model.
    fn windows(&self) -> (String, Stream) {
        let length = self.pick(LENGTHS) * self.from.slide;
        let slide = self.pick(SLIDES) * self.from.slide;
        let text = format!("window = {{ length = \"{length}s\", slide = \"{slide}s\" }}");
        (text, self.from.windowed(self.name, length, slide))
    }

    fn window(&self) -> (String, Stream) {
        let (text, windows) = self.windows();
        (self.operation(&text, "n"), windows)
    }

    fn window_reduce(&self) -> (String, Stream) {
        let (window, windows) = self.windows();
        let text = format!("reduce = {{ by = [\"word\"], function = \"text.add\", {window} }}");
        let sums = windows.each(self.name, |_, rows| fold(rows, |left, right| left + right));
        (self.operation(&text, "n"), sums)
    }

    fn window_inverse(&self) -> (String, Stream) {
        let (window, windows) = self.windows();
        let keeps = self.chance.chance(1, 2);
        let keep = if keeps { "keep = \"n <> 0\", " } else { "" };
        let text = format!(
            "reduce = {{ by = [\"word\"], function = \"text.add\", inverse = \"text.subtract\", {keep}{window} }}"
        );
        let totals = remembered(&windows);
        let kept = |_, rows: &Rows| rows.iter().filter(|(_, n)| !keeps || *n != 0).cloned().collect();
        (self.operation(&text, "n"), totals.each(self.name, kept))
    }

    fn window_aggregate(&self) -> (String, Stream) {
        let (sql, compute) = self.aggregation();
        let (window, windows) = self.windows();
        let text = format!("aggregate = {{ by = [\"word\"], n = \"{sql}\", {window} }}");
        (self.operation(&text, "n"), windows.each(self.name, |_, rows| compute(rows)))
    }

    fn running(&self) -> (String, Stream) {
        let timeout = self.chance.chance(1, 2).then(|| 1 + self.chance.below(4) as usize);
        let until = timeout.map_or(String::new(), |batches| format!(", timeout = \"{batches}s\""));
        let (touched, all) = running(self.from, timeout);
        let (inner, name) = (format!("{}-counts", self.name), self.name);
        let from = &self.from.name;
        let mut text = format!(
            "[streams.{inner}]\nfrom = \"{from}\"\nupdate-state = {{ by = [\"word\"], function = \"text.running-count\"{until} }}\n"
        );
        if self.chance.chance(1, 2) {
            text += &normalized(name, &inner, "word", "count");
            return (text, Stream { name: name.to_owned(), ..touched });
        }
        text += &format!("[streams.{name}-states]\nfrom = \"{inner}\"\nsnapshot = true\n");
        text += &normalized(name, &format!("{name}-states"), "word", "state");
        (text, Stream { name: name.to_owned(), ..all })
    }

    fn join(&self) -> (String, Stream) {
        let outer = self.chance.chance(1, 2);
        let kind = if outer { "left" } else { "inner" };
        let text = self.beside(&format!("join = {{ on = [\"word\"], kind = \"{kind}\" }}"));
        let text =
            text + &normalized(self.name, &format!("{}-inner", self.name), "word", "n + coalesce(m, 0)");
        (text, self.from.with(self.other, self.name, |left, right| join(left, right, outer)))
    }

    fn cogroup(&self) -> (String, Stream) {
        let text = self.beside("cogroup = { on = [\"word\"] }");
        let n = "10 * coalesce(array_length(n), 0) + coalesce(array_length(m), 0)";
        let inner = format!("{}-inner", self.name);
        let columns = format!("coalesce(word, '') AS word, CAST({n} AS BIGINT) AS n");
        let text =
            text + &format!("[streams.{}]\nsql = '''SELECT {columns} FROM \"{inner}\"'''\n", self.name);
        (text, self.from.with(self.other, self.name, cogrouped))
    }

    /// A stream of this drawing's two inputs, the second with its own name for the number.
    fn beside(&self, operation: &str) -> String {
        let (name, from, other) = (self.name, &self.from.name, &self.other.name);
        format!(
            "[streams.{name}-other]\nsql = '''SELECT word, n AS m FROM \"{other}\"'''\n\
             [streams.{name}-inner]\nfrom = [\"{from}\", \"{name}-other\"]\n{operation}\n"
        )
    }

    fn repartition(&self) -> (String, Stream) {
        let by = if self.chance.chance(1, 2) { ", by = [\"word\"]" } else { "" };
        let partitions = 1 + self.chance.below(4);
        let text = self.operation(&format!("repartition = {{ partitions = {partitions}{by} }}"), "n");
        (text, self.from.each(self.name, |_, rows| rows.clone()))
    }
}
