//! What watchers are told, as text: written once, whoever reads it.

use std::sync::Arc;

use crossdock_engine::{EngineError, EventNews, Hub};
use serde::Serialize;

/// Events of one message.
const EVENTS_MAX: u32 = 50;
/// How long a message about events may be, in bytes; one event may be longer by itself.
const EVENTS_BYTES_MAX: usize = 512 * 1024;

pub(super) fn json(value: &impl Serialize) -> Arc<str> {
    let text = serde_json::to_string(value).expect("a view is plain data with text keys");
    text.into()
}

/// What followed an offset, if anything did, and up to which offset that is.
pub(super) async fn news(hub: &Hub, after: i64) -> Result<(Option<Arc<str>>, i64), EngineError> {
    let (news, newest) = hub.news_after(after, EVENTS_MAX).await?;
    let text = (!news.events.is_empty()).then(|| json(&within(news, EVENTS_BYTES_MAX)));
    Ok((text, newest))
}

/// Leaves out the older ones of very long events.
fn within(mut news: EventNews, bytes_max: usize) -> EventNews {
    let mut bytes = 0;
    let newest = news.events.iter().rev().take_while(|event| {
        let is_first = bytes == 0;
        bytes += json(event).len();
        is_first || bytes <= bytes_max
    });
    let left_out = news.events.len() - newest.count();
    news.events.drain(..left_out);
    news.skipped += left_out as u64;
    news
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use crossdock_engine::EventView;
    use serde_json::json;

    use super::*;

    fn event(offset: i64, bytes: usize) -> EventView {
        EventView {
            offset,
            received: DateTime::UNIX_EPOCH,
            producer: "shop".into(),
            event: serde_json::value::to_raw_value(&json!({ "data": "x".repeat(bytes) }))
                .expect("plain JSON"),
            data_left_out: None,
            deliveries: Vec::new(),
        }
    }

    #[test]
    fn long_events_push_out_older_ones_and_are_counted() {
        let shown = |sizes: &[usize]| {
            let events = (1..).zip(sizes).map(|(offset, bytes)| event(offset, *bytes));
            let news = EventNews {
                events: events.collect(),
                skipped: 3,
            };
            let news = within(news, 1_000);
            let offsets: Vec<_> = news.events.iter().map(|event| event.offset).collect();
            (offsets, news.skipped)
        };
        assert_eq!(shown(&[10, 10, 10]), (vec![1, 2, 3], 3));
        assert_eq!(shown(&[10, 900, 10]), (vec![3], 5));
        assert_eq!(shown(&[10, 10, 2_000]), (vec![3], 5));
        assert_eq!(shown(&[2_000, 10, 10]), (vec![2, 3], 4));
    }
}
