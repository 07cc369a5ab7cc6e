//! What happens to a delivery that failed: another attempt when its adapter's schedule says so, else a dead letter.
//!
//! The message itself waits in RabbitMQ, in a delay queue ([`ladder`]), and comes back through `crossdock.due`
//! ([`due`]), from where it is handed over. [`policy`] decides, and knows neither RabbitMQ nor the database. The
//! record notes every step before the message is let go, so that a crash repeats a step and loses nothing.

pub(crate) mod due;
pub(crate) mod ladder;
pub(crate) mod policy;

use crossdock_bus::{
    PublishError,
    lane::Lane,
    message::{HeaderValue, Headers, Outgoing},
};

/// Counts how often a delivery was handed over, from 1.
pub(crate) const ATTEMPT_HEADER: &str = "crossdock-attempt";
/// Counts the delays of the schedule that were used; absent is 0.
const STEP_HEADER: &str = "crossdock-step";
/// Counts the consumers that died over the delivery; absent is 0.
const CRASHES_HEADER: &str = "crossdock-crashes";

/// How far a delivery has come. It travels with the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The attempt, counted from 1.
    pub(crate) attempt: u32,
    /// Delays of the schedule that were used.
    pub(crate) step: u32,
    /// Consumers that died over it.
    pub(crate) crashes: u32,
}

impl Progress {
    /// The first attempt, or the first after a person has sent it on its way again.
    pub(crate) fn starting_with(attempt: u32) -> Self {
        Self {
            attempt,
            step: 0,
            crashes: 0,
        }
    }

    pub(crate) fn read(headers: &Headers) -> Self {
        let number = |name| {
            let value = headers.get(name).and_then(HeaderValue::as_int);
            value.and_then(|value| u32::try_from(value).ok())
        };
        Self {
            attempt: number(ATTEMPT_HEADER).unwrap_or(1).max(1),
            step: number(STEP_HEADER).unwrap_or(0),
            crashes: number(CRASHES_HEADER).unwrap_or(0),
        }
    }

    pub(crate) fn write(self, headers: &mut Headers) {
        headers.insert(ATTEMPT_HEADER.to_owned(), i64::from(self.attempt).into());
        for (name, count) in [(STEP_HEADER, self.step), (CRASHES_HEADER, self.crashes)] {
            if count > 0 {
                headers.insert(name.to_owned(), i64::from(count).into());
            }
        }
    }
}

/// Where messages are published, each confirmed.
pub(crate) trait Outlet: Sync {
    /// Publishes all, in their order; the results are in the same order.
    fn publish_all(
        &self,
        messages: Vec<Outgoing>,
    ) -> impl Future<Output = Vec<Result<(), PublishError>>> + Send;
}

impl Outlet for Lane {
    async fn publish_all(&self, messages: Vec<Outgoing>) -> Vec<Result<(), PublishError>> {
        Lane::publish_all(self, messages).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_travels_with_the_message() {
        let progress = Progress {
            attempt: 4,
            step: 2,
            crashes: 1,
        };
        let mut headers = Headers::new();
        progress.write(&mut headers);
        assert_eq!(Progress::read(&headers), progress);
        let mut first = Headers::new();
        Progress::starting_with(1).write(&mut first);
        assert_eq!(first.keys().collect::<Vec<_>>(), [ATTEMPT_HEADER]);
        assert_eq!(Progress::read(&Headers::new()), Progress::starting_with(1));
    }
}
