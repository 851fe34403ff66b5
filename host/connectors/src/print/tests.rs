use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{Int64Array, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema};

use super::*;

fn batch(words: &[Option<&str>]) -> RecordBatch {
    let totals = Int64Array::from_iter_values((0..words.len() as i64).map(|n| 10_i64.pow(n as u32 % 4)));
    let words: StringViewArray = words.iter().copied().collect();
    RecordBatch::try_new(schema(), vec![Arc::new(words), Arc::new(totals)]).unwrap()
}

fn schema() -> SchemaRef {
    let word = Field::new("word", DataType::Utf8View, true);
    Arc::new(Schema::new(vec![word, Field::new("total", DataType::Int64, false)]))
}

/// Prints a batch of the given pieces, each of a partition.
async fn print(json: bool, rows_max: usize, pieces: &[(usize, RecordBatch)]) -> String {
    let (screen, buffer) = Screen::buffer(json);
    let sink = Print::new("screen", schema(), rows_max, screen);
    let mut page = sink.begin(BatchTime::from_ms(1_700_000_000_000)).await.unwrap();
    for (partition, rows) in pieces {
        page.write(*partition, rows.clone()).await.unwrap();
    }
    page.prepare().await.unwrap();
    assert!(buffer.lock().unwrap().is_empty(), "nothing is shown before the commit");
    page.publish().await.unwrap();
    String::from_utf8(buffer.lock().unwrap().clone()).unwrap()
}

const HEAD: &str = "-------------------------------------------\nTime: 1700000000000 ms\n\
                    -------------------------------------------\n";

#[tokio::test]
async fn a_table_for_people() {
    let table = "+-------+-------+\n\
                 | word  | total |\n\
                 +-------+-------+\n\
                 | stone |     1 |\n\
                 | NULL  |    10 |\n\
                 |       |   100 |\n\
                 +-------+-------+\n\n";
    let rows = batch(&[Some("stone"), None, Some("")]);
    assert_eq!(print(false, 10, &[(0, rows)]).await, format!("{HEAD}{table}"));
    assert_eq!(print(false, 10, &[]).await, format!("{HEAD}\n"));
    assert_eq!(print(false, 10, &[(0, batch(&[]))]).await, format!("{HEAD}\n"));
}

#[tokio::test]
async fn the_first_rows_by_partition() {
    let pieces = [(1, batch(&[Some("c"), Some("d")])), (0, batch(&[Some("a")])), (0, batch(&[Some("b")]))];
    let printed = print(false, 3, &pieces).await;
    let words: Vec<_> = printed.lines().filter_map(|line| line.strip_prefix("| ")).map(|l| &l[..1]).collect();
    assert_eq!(words, ["w", "a", "b", "c"]);
    assert!(printed.ends_with("... 1 more row\n\n"));
    assert!(print(false, 0, &pieces).await.ends_with("... 4 more rows\n\n"));
}

#[tokio::test]
async fn data_cannot_drive_the_terminal() {
    let long = "x".repeat(1000);
    let rows = batch(&[Some("\u{1b}[2J"), Some("two\nlines\t\u{202e}"), Some("\u{9b}31m"), Some(&long)]);
    let printed = print(false, 10, &[(0, rows)]).await;
    assert!(printed.chars().all(|c| c == '\n' || !c.is_control()), "{printed}");
    assert!(printed.contains(r"\u{1b}[2J") && printed.contains(r"two\nlines\t\u{202e}"));
    assert!(printed.contains(&format!("{}…", "x".repeat(80))) && !printed.contains(&"x".repeat(81)));
}

#[tokio::test]
async fn objects_for_programs() {
    let pieces = [(0, batch(&[Some("two\nlines"), None])), (1, batch(&[Some("c")]))];
    let head = "{\"batch\":1700000000000,\"sink\":\"screen\"";
    let expected = format!(
        "{head},\"row\":{{\"word\":\"two\\nlines\",\"total\":1}}}}\n\
         {head},\"row\":{{\"word\":null,\"total\":10}}}}\n\
         {head},\"more\":1}}\n"
    );
    assert_eq!(print(true, 2, &pieces).await, expected);
    assert_eq!(print(true, 2, &[]).await, "");
}

/// An output whose reader is away until it is told to come back.
#[derive(Clone, Default)]
struct Away(Arc<AtomicBool>);

impl io::Write for Away {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.load(Ordering::Relaxed) { Ok(bytes.len()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_closed_output_is_an_error_until_the_page_is_shown() {
    let away = Away::default();
    let sink = Print::new("screen", schema(), 10, Screen::new(away.clone(), false));
    let time = BatchTime::from_ms(1000);
    let page = sink.begin(time).await.unwrap();
    let error = page.publish().await.unwrap_err();
    assert!(error.to_string().contains("broken pipe"), "{error}");
    for _ in 0..2 {
        assert_eq!(sink.recover(time).await.unwrap_err(), error);
    }
    away.0.store(true, Ordering::Relaxed);
    assert_eq!(sink.recover(time).await.unwrap(), Recovery::Published);
}

#[tokio::test]
async fn a_batch_of_an_earlier_process_is_not_shown_again() {
    let (screen, buffer) = Screen::buffer(false);
    let sink = Print::new("screen", schema(), 10, screen);
    assert_eq!(sink.recover(BatchTime::from_ms(1000)).await.unwrap(), Recovery::Published);
    assert!(buffer.lock().unwrap().is_empty());
}
