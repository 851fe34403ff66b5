//! Pieces of one run's work, each on a thread of its own.

use datafusion::error::DataFusionError;
use tokio::task::JoinSet;

use crate::QueryError;

/// What each piece of the work on `relation` gives, in their order. One piece alone is worked on where this is called.
///
/// # Errors
/// That of the first piece which fails. No other one is at work by then: the run may be tried again, and is not to share outputs,
/// cores and plugins with what is left of this one.
pub async fn in_parallel<T, W>(
    relation: &str,
    pieces: impl IntoIterator<Item = W>,
) -> Result<Vec<T>, QueryError>
where
    T: Send + 'static,
    W: Future<Output = Result<T, QueryError>> + Send + 'static,
{
    let mut pieces: Vec<W> = pieces.into_iter().collect();
    if pieces.len() == 1
        && let Some(piece) = pieces.pop()
    {
        return Ok(vec![piece.await?]);
    }
    let mut done: Vec<Option<T>> = pieces.iter().map(|_| None).collect();
    let mut running = JoinSet::new();
    for (number, piece) in pieces.into_iter().enumerate() {
        running.spawn(async move { (number, piece.await) });
    }
    while let Some(joined) = running.join_next().await {
        let error = match joined {
            Ok((number, Ok(given))) => {
                done[number] = Some(given);
                continue;
            }
            Ok((_, Err(error))) => error,
            Err(broken) => QueryError::running(relation, &DataFusionError::ExecutionJoin(Box::new(broken))),
        };
        running.shutdown().await;
        return Err(error);
    }
    Ok(done.into_iter().flatten().collect())
}
