//! A panic of one piece of work, kept from the rest of the process: it is an error of this program, and costs what was at work
//! alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// Something panicked. What it said is for nobody: it may hold content.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Panicked;

/// Runs a future to its end, or to its panic.
pub async fn without_panic<T>(future: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        match polled {
            Ok(poll) => poll.map(Ok),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_future_ends_with_its_value_or_with_its_panic() {
        let nothing: [u8; 0] = [];
        let at = std::hint::black_box(0);
        assert_eq!(without_panic(async { nothing[at] }).await, Err(Panicked));
        let later = async {
            tokio::task::yield_now().await;
            7
        };
        assert_eq!(without_panic(later).await, Ok(7));
    }
}
