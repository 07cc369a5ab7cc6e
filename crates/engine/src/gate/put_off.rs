//! What an adapter's queue does not take now goes the way of what failed: it waits in a delay queue and is handed
//! over when its time has come. It must be there before the batch is recorded and acked.

use chrono::{DateTime, Utc};
use crossdock_bus::{BusError, names};
use crossdock_model::event::Event;

use super::{
    publish::{Confirmed, Published},
    route::Routed,
};
use crate::{
    retry::{Outlet, Progress, due::confirmed, ladder::Waiting, policy::UNDELIVERED_PAUSE},
    state,
};

/// Publishes to a delay queue what is unreachable. If that fails, the lane is over for these events: they come again.
pub(super) async fn put_off(outlet: &impl Outlet, published: &mut Published, now: DateTime<Utc>) {
    let messages = published
        .confirmed
        .iter()
        .flat_map(|confirmed| waiting(confirmed, now));
    let messages: Vec<_> = messages.map(|waiting| waiting.message(now)).collect();
    if messages.is_empty() {
        return;
    }
    if let Err(error) = confirmed(&outlet.publish_all(messages).await) {
        published
            .confirmed
            .retain(|confirmed| confirmed.unreachable.is_empty());
        published
            .lane_over
            .get_or_insert(BusError::Unavailable(error.to_string()));
    }
}

/// When what is put off now is due.
pub(super) fn due(now: DateTime<Utc>) -> DateTime<Utc> {
    now + UNDELIVERED_PAUSE
}

fn waiting(confirmed: &Confirmed, now: DateTime<Utc>) -> impl Iterator<Item = Waiting> {
    confirmed.unreachable.iter().map(move |(adapter, _)| Waiting {
        adapter: adapter.clone(),
        event: to_wait(&confirmed.routed, adapter),
        progress: Progress::starting_with(2),
        due: due(now),
        redrive: false,
    })
}

/// What the target gets. When the hub received it would be lost on the way, so the hub's own copy says it itself.
fn to_wait(routed: &Routed, target: &str) -> Event {
    let mut event = routed.for_target(target).clone();
    if names::is_own_target(target) {
        state::date_by_receipt(&mut event, routed.accepted.received);
    }
    event
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;

    use crossdock_bus::{
        PublishError,
        message::{Outgoing, decode_event},
    };
    use serde_json::json;

    use super::*;
    use crate::{
        gate::route::Routed,
        testing::{accepted, event, now},
    };

    struct Paper(bool, Mutex<Vec<Outgoing>>);

    impl Outlet for Paper {
        async fn publish_all(&self, messages: Vec<Outgoing>) -> Vec<Result<(), PublishError>> {
            let results = messages
                .iter()
                .map(|_| if self.0 { Ok(()) } else { Err(PublishError::Nacked) });
            let results = results.collect();
            self.1.lock().unwrap().extend(messages);
            results
        }
    }

    fn published() -> Published {
        let plain = event(json!({ "id": "plain" }));
        let transformed = event(json!({ "id": "plain", "data": { "short": true } }));
        let lost = |name: &str| (name.to_owned(), "its queue refused it".to_owned());
        let routed = |event, transformed| Routed {
            accepted: accepted(event, &["erp", "wms"]),
            transformed,
            failed: Vec::new(),
            makes_state: false,
            span: Default::default(),
        };
        Published {
            confirmed: vec![
                Confirmed {
                    routed: routed(plain, vec![("wms".to_owned(), transformed)]),
                    unreachable: vec![lost("erp"), lost("wms")],
                },
                Confirmed {
                    routed: routed(event(json!({ "id": "fine" })), Vec::new()),
                    unreachable: Vec::new(),
                },
            ],
            lane_over: None,
        }
    }

    #[tokio::test]
    async fn each_target_waits_for_what_it_would_have_got() {
        let paper = Paper(true, Mutex::default());
        let mut published = published();
        put_off(&paper, &mut published, now()).await;
        assert!(published.lane_over.is_none());
        let messages = paper.1.into_inner().unwrap();
        let told: Vec<_> = messages
            .iter()
            .map(|message| {
                let adapter = message.properties.headers["crossdock-adapter"].as_text().unwrap();
                (adapter, message.routing_key.as_str(), message.body.len())
            })
            .collect();
        let delay = "crossdock.delay.30s";
        assert_eq!(
            told,
            [("erp", delay, 0), ("wms", delay, r#"{"short":true}"#.len())]
        );
        assert_eq!(
            messages[0].properties.headers["crossdock-attempt"].as_int(),
            Some(2)
        );
    }

    #[tokio::test]
    async fn the_hubs_own_copy_knows_when_it_was_received_and_nobody_elses_does() {
        let untimed = event(json!({ "time": null }));
        assert_eq!(untimed.time, None);
        let received = "2026-01-02T03:04:05.123456789Z".parse::<DateTime<Utc>>().unwrap();
        let lost = |name: &str| (name.to_owned(), "its queue is gone".to_owned());
        let mut accepted = accepted(untimed, &["erp"]);
        accepted.received = received;
        let mut published = Published {
            confirmed: vec![Confirmed {
                routed: Routed {
                    accepted,
                    transformed: Vec::new(),
                    failed: Vec::new(),
                    makes_state: true,
                    span: Default::default(),
                },
                unreachable: vec![lost("erp"), lost(names::STATE)],
            }],
            lane_over: None,
        };
        let paper = Paper(true, Mutex::default());
        put_off(&paper, &mut published, now()).await;
        let messages = paper.1.into_inner().unwrap();
        let times = messages.iter().map(|message| {
            let event = decode_event(&message.properties, &message.body).unwrap();
            event.time.map(|time| time.to_rfc3339())
        });
        // As exactly as the note in a message that takes the straight way.
        let exact = "2026-01-02T03:04:05.123456+00:00".to_owned();
        assert_eq!(times.collect::<Vec<_>>(), [None, Some(exact)]);
    }

    #[tokio::test]
    async fn what_cannot_wait_comes_again() {
        let mut published = published();
        put_off(&Paper(false, Mutex::default()), &mut published, now()).await;
        assert!(published.lane_over.is_some());
        let left: Vec<_> = published
            .confirmed
            .iter()
            .map(|one| one.routed.accepted.event.id.as_str())
            .collect();
        assert_eq!(left, ["fine"]);
    }
}
