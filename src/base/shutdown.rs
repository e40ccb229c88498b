//! Stopping in order: new work is refused, work in hand is finished, then the process ends.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tells every task that the end has come and knows when all are done. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// One that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins the shutdown. Calling it again does nothing.
    pub fn begin(&self) {
        self.token.cancel();
        self.tasks.close();
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Returns when it begins.
    pub async fn begun(&self) {
        self.token.cancelled().await;
    }

    /// What `work` comes to, or `None` if the shutdown begins first: `work` is dropped then.
    pub async fn unless_begun<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.token.run_until_cancelled(work).await
    }

    /// Starts a task that the end waits for.
    pub fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(task)
    }

    /// Returns when the shutdown has begun and every task has ended.
    pub async fn finished(&self) {
        self.tasks.wait().await;
    }
}
