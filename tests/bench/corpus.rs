//! The corpus: lines of six words on average, drawn by Zipf's law from a vocabulary of 100,000.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const VOCABULARY: usize = 100_000;

/// SplitMix64: the same numbers in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// At least 0, below 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Writes `lines` lines to the file at `path`.
pub(crate) fn write(path: &Path, lines: usize) -> Result<()> {
    let mut random = Random(42);
    let words: Vec<String> = (0..VOCABULARY).map(|rank| word(rank, &mut random)).collect();
    let mut cumulative = Vec::with_capacity(VOCABULARY);
    let mut total = 0.0;
    for rank in 1..=VOCABULARY {
        total += 1.0 / rank as f64;
        cumulative.push(total);
    }
    let mut file = BufWriter::new(File::create(path).context("making the corpus")?);
    let mut drawn = 0;
    for _ in 0..lines {
        let count = 4 + random.next() % 5;
        drawn += count;
        for position in 0..count {
            let draw = random.fraction() * total;
            let rank = cumulative.partition_point(|sum| *sum < draw).min(VOCABULARY - 1);
            let space: &[u8] = if position == 0 { b"" } else { b" " };
            file.write_all(space)?;
            file.write_all(words[rank].as_bytes())?;
        }
        file.write_all(b"\n")?;
    }
    file.flush().context("writing the corpus")?;
    std::fs::write(words_path(path), drawn.to_string()).context("writing the number of words")
}

/// The number of words in the corpus at `path`.
pub(crate) fn words(path: &Path) -> Result<u64> {
    Ok(std::fs::read_to_string(words_path(path))?.parse()?)
}

fn words_path(path: &Path) -> PathBuf {
    path.with_extension("words")
}

/// Frequent words are short, as in texts; the number makes each unique.
fn word(rank: usize, random: &mut Random) -> String {
    let mut word: String =
        (0..1 + random.next() % 5).map(|_| char::from(b'a' + (random.next() % 26) as u8)).collect();
    let mut number = rank;
    while number > 0 {
        word.push(char::from(b'a' + (number % 26) as u8));
        number /= 26;
    }
    word
}

pub(crate) fn bytes_per_line(path: &Path, lines: usize) -> Result<f64> {
    let bytes = std::fs::metadata(path)?.len() as f64 / lines as f64;
    Ok((bytes * 10.0).round() / 10.0)
}

/// Sends the corpus to a pipeline that listens, or soon will, on `address`.
pub(crate) fn serve(address: &str, path: &Path) -> Result<()> {
    let bytes = std::fs::read(path)?;
    let mut connection = loop {
        match TcpStream::connect(address) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::thread::yield_now(),
            connected => break connected.context("connecting to the pipeline")?,
        }
    };
    for part in bytes.chunks(256 << 10) {
        connection.write_all(part).context("sending the corpus")?;
    }
    Ok(())
}
