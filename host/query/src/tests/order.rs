//! In one partition, the same rows give the same rows in the same order: what a run writes can be compared byte by byte.

use super::*;

/// Definitions that leave the order to the engine.
const QUERIES: &[&str] = &[
    "SELECT line, count(*) AS n, min(number) AS least FROM lines GROUP BY line",
    "SELECT DISTINCT line FROM lines",
    "SELECT a.line, b.number FROM lines a JOIN lines b ON a.number = b.number WHERE b.number % 3 = 0",
    "SELECT a.line, count(*) AS n FROM lines a LEFT JOIN lines b ON a.number = b.number + 7 GROUP BY a.line",
    "SELECT line, number, row_number() OVER (PARTITION BY line ORDER BY number DESC) AS place FROM lines",
    "SELECT line, number FROM lines ORDER BY length(line) LIMIT 50",
    "SELECT line, number FROM lines UNION ALL SELECT line, -number FROM lines",
    "SELECT line, count(*) AS n FROM (SELECT line FROM lines UNION ALL SELECT line || 'x' FROM lines) GROUP BY line",
    "SELECT line FROM lines UNION SELECT line || 'x' FROM lines",
    "SELECT line, number FROM (SELECT * FROM lines UNION ALL SELECT line || 'x', number FROM lines) LIMIT 20",
    "SELECT line, number FROM united LIMIT 20",
    "SELECT line, count(*) AS n FROM united GROUP BY line",
];

async fn program(sql: &str) -> Program {
    let mut relations = relations().await;
    relations.add_call("shouted", "lines", call(FunctionKind::Map, true)).await.unwrap();
    relations.add_sql("words", "SELECT word AS line, number FROM shouted").await.unwrap();
    relations.add_union("united", &["words", "lines", "words"]).await.unwrap();
    relations.add_sql("out", sql).await.unwrap();
    Program::compile(&relations, &["out", "united"], 1).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_partition_gives_the_same_rows_in_the_same_order_each_time() {
    let words: Vec<String> = (0..20_000).map(|n| format!("w{}", n * 7919 % 1_013)).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    for (sql, size) in QUERIES.iter().flat_map(|sql| [(sql, 500), (sql, words.len())]) {
        // In chunks, so that there is something to mix up.
        let chunks: Vec<&[&str]> = words[..size].chunks(size.div_ceil(10)).collect();
        let (mut program, mut another) = (program(sql).await, program(sql).await);
        let first = run(&mut program, 0, lines(&chunks)).await.unwrap().in_order();
        let other = run(&mut another, 0, lines(&chunks)).await.unwrap().in_order();
        assert!(other == first, "{sql}, {size} rows, compiled again");
        for round in 0..2 {
            let again = run(&mut program, 0, lines(&chunks)).await.unwrap().in_order();
            assert!(again == first, "{sql}, {size} rows, round {round}");
        }
        assert!(first.iter().all(|(_, partition, _)| *partition == 0), "{sql}: one partition");
    }
}
