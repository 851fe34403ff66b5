//! What functions and the rest of the process took, for people.

use millstream_engine::Cpu;
use millstream_model::{Usage, Usages};

use super::size;

/// The threads that receivers and sinks of plugins run on.
const OUTSIDE: &str = "outside";

/// Empty where nothing was called and nothing is known.
pub(super) fn text(functions: &Usages, cpu: Option<&Cpu>) -> String {
    let mut text = String::new();
    let all_ms: f64 = functions.values().map(cpu_ms).sum();
    if let Some(cpu) = cpu {
        text += &format!("\n  {:<14} {:.0} ms: {}\n", "cpu", cpu.process_ms, parts(cpu, all_ms));
    }
    if functions.is_empty() {
        return text;
    }
    let width = functions.keys().map(|name| name.chars().count()).max().unwrap_or(0).max("function".len());
    text += &format!(
        "\n  {:<width$} {:>10} {:>8} {:>12} {:>12} {:>10} {:>6} {:>12}\n",
        "function", "calls", "failed", "rows in", "rows out", "cpu ms", "share", "peak memory"
    );
    for (name, usage) in functions {
        let Usage { calls, failed_calls, rows_in, rows_out, memory_bytes_max, .. } = usage;
        let share = cpu.map_or_else(|| "-".to_owned(), |cpu| share(cpu_ms(usage), cpu.process_ms));
        text += &format!(
            "  {name:<width$} {calls:>10} {failed_calls:>8} {rows_in:>12} {rows_out:>12} {:>10.1} {share:>6} {:>12}\n",
            cpu_ms(usage),
            size(*memory_bytes_max)
        );
    }
    text
}

fn cpu_ms(usage: &Usage) -> f64 {
    usage.cpu_ns as f64 / 1e6
}

fn share(part_ms: f64, all_ms: f64) -> String {
    format!("{:.1}%", 100.0 * part_ms / all_ms.max(f64::MIN_POSITIVE))
}

/// What the process computes, part by part.
fn parts(cpu: &Cpu, functions_ms: f64) -> String {
    let outside = cpu.threads_ms.get(OUTSIDE).copied().unwrap_or_default();
    let beside = (cpu.computing_ms() + outside - functions_ms).max(0.0);
    let mut parts = vec![("functions", functions_ms), ("batches beside them", beside)];
    let others =
        cpu.threads_ms.iter().filter(|(name, _)| ![Cpu::COMPUTING, OUTSIDE].contains(&name.as_str()));
    parts.extend(others.map(|(name, ms)| (name.as_str(), *ms)));
    let living: f64 = cpu.threads_ms.values().sum();
    parts.push(("ended threads", (cpu.process_ms - living).max(0.0)));
    let parts = parts.into_iter().map(|(name, ms)| format!("{name} {ms:.0}"));
    parts.collect::<Vec<_>>().join(", ")
}
