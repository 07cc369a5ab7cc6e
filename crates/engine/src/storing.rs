//! Database work of tasks that hold messages: it is repeated for as long as the database is away, so that the
//! messages wait in RabbitMQ; what the database refuses for good is told apart, so that it blocks nothing else.

use std::time::Duration;

use crossdock_store::StoreError;
use tokio_util::sync::CancellationToken;

use crate::shared::Shared;

/// Pause after the first attempt that failed.
pub(crate) const PAUSE_MIN: Duration = Duration::from_millis(200);

pub(crate) const ABOUT: &str = "database";

/// A task's access to the database.
pub(crate) struct Storing<'a> {
    pub(crate) shared: &'a Shared,
    /// The task's name in alarms.
    pub(crate) part: &'a str,
    pub(crate) stop: &'a CancellationToken,
}

impl Storing<'_> {
    /// Repeats the work while the database is away. `Err`: the database refuses it, and repeating does not help.
    /// `None`: the hub stops.
    pub(crate) async fn persist<T, F, Fut>(&self, mut work: F) -> Option<Result<T, StoreError>>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, StoreError>>,
    {
        let mut pause = PAUSE_MIN;
        loop {
            match work().await {
                Ok(value) => {
                    self.shared.alarms.clear(self.part, ABOUT);
                    return Some(Ok(value));
                }
                Err(StoreError::Unavailable(reason)) => {
                    let sentence = format!("{} waits for the database: {reason}", self.part);
                    self.shared.alarms.raise(self.part, ABOUT, sentence);
                }
                Err(refused) => return Some(Err(refused)),
            }
            self.shared.pause(&mut pause, self.stop).await;
            if self.stop.is_cancelled() {
                return None;
            }
        }
    }

    /// Repeats the work until it succeeds, even what the database refuses: that is for work without which
    /// nothing can go on, and it raises the alarm. `None`: the hub stops.
    pub(crate) async fn insist<T, F, Fut>(&self, mut work: F) -> Option<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, StoreError>>,
    {
        let mut pause = PAUSE_MIN;
        loop {
            match self.persist(&mut work).await? {
                Ok(value) => return Some(value),
                Err(refused) => {
                    let sentence = format!(
                        "{} stands still: the database refuses its work, which no repetition will mend: {refused}",
                        self.part
                    );
                    self.shared.alarms.raise(self.part, ABOUT, sentence);
                }
            }
            self.shared.pause(&mut pause, self.stop).await;
            if self.stop.is_cancelled() {
                return None;
            }
        }
    }
}
