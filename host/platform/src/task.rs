//! A task that ends with whoever waits for it.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// A running task. Dropped, it is cut off where it waits next.
#[derive(Debug)]
pub struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    /// Starts `work` on the runtime `on`.
    pub fn spawn(on: &Handle, work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(on.spawn(work))
    }

    /// Cuts it off where it waits next, and waits until it is gone.
    pub async fn cut_off(mut self) {
        self.0.abort();
        // It may have ended before that.
        drop((&mut self.0).await);
    }
}

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0).poll(context).map(|joined| match joined {
            Ok(value) => value,
            // It is cut off only when this is dropped, so it panicked.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        })
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
