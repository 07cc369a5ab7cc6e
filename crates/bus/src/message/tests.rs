//! Whatever comes in, what goes out: of a message that an adapter made nothing passes but the event, and every event
//! that is accepted fits into a message for the most targets that one can have.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use bytes::Bytes;
use chrono::DateTime;
use crossdock_model::event::{
    ATTRIBUTES_MAX_BYTES, EXTENSION_NAME_MAX_BYTES, EXTENSIONS_MAX, Event, IDENTIFIER_MAX_BYTES,
    REFERENCE_MAX_BYTES,
};
use crossdock_model::{AttributeValue, name::ADAPTER_NAME_MAX_BYTES};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use proptest::prelude::*;

use super::wire::received;
use super::*;
use crate::names;

/// How often a test of large events runs.
const LARGE_CASES: u32 = 12;
/// Adapters that one message of the gate goes to at most.
const TARGETS: usize = 200;

const ATTRIBUTES: [&str; 16] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "dataschema",
    "datacontenttype",
    "correlationid",
    "causationid",
    "partitionkey",
    "traceparent",
    "expirytime",
    "aliases",
    "sequence",
    "x",
];

/// Headers that steer RabbitMQ or the hub, or would if somebody let them.
const HOSTILE: [&str; 14] = [
    "CC",
    "BCC",
    "cc",
    "Bcc",
    "x-death",
    "X-Death",
    "x-delay",
    "x-first-death-queue",
    "x-expires",
    "x-opt-rabbitmq-cc",
    "crossdock-attempt",
    "crossdock-producer",
    "crossdock-publish",
    "crossdock-due",
];

fn value() -> impl Strategy<Value = AMQPValue> {
    let long = |text: String| AMQPValue::LongString(text.into());
    let leaf = prop_oneof![
        6 => "[a-z0-9/:.-]{1,12}".prop_map(long),
        2 => any::<String>().prop_map(long),
        1 => any::<Vec<u8>>().prop_map(|bytes| AMQPValue::LongString(bytes.into())),
        1 => any::<Vec<u8>>().prop_map(|bytes| AMQPValue::ByteArray(bytes.into())),
        1 => any::<bool>().prop_map(AMQPValue::Boolean),
        1 => any::<i32>().prop_map(AMQPValue::LongInt),
        1 => any::<i64>().prop_map(AMQPValue::LongLongInt),
        1 => any::<u64>().prop_map(AMQPValue::Timestamp),
        1 => any::<f64>().prop_map(AMQPValue::Double),
        1 => Just(AMQPValue::Void),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| AMQPValue::FieldArray(items.into())),
            prop::collection::btree_map("[a-z]{1,5}", inner, 0..4)
                .prop_map(|members| AMQPValue::FieldTable(table(members))),
        ]
    })
}

fn table(members: impl IntoIterator<Item = (String, AMQPValue)>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in members {
        table.insert(name.into(), value);
    }
    table
}

prop_compose! {
    /// An adapter's message as it comes from the network: an event as a rule, with anything beside it.
    fn sent()(
        attributes in prop::collection::btree_map(prop::sample::select(ATTRIBUTES.to_vec()), value(), 0..4),
        hostile in prop::collection::btree_map(prop::sample::select(HOSTILE.to_vec()), value(), 0..6),
        others in prop::collection::btree_map("[a-zA-Z_:-]{1,12}", value(), 0..3),
        colon in any::<bool>(),
        whole in prop::bool::weighted(0.9),
        content_type in prop::option::of(prop::sample::select(vec!["text/plain", "application/json", "x"])),
        texts in prop::array::uniform6(prop::option::of("[a-z0-9.]{0,12}")),
        numbers in any::<(u8, u8, u64)>(),
        encoding in prop::option::weighted(0.1, "[a-z]{0,4}"),
    ) -> BasicProperties {
        let prefix = if colon { "cloudEvents:" } else { "cloudEvents_" };
        let text = |text: &str| AMQPValue::LongString(text.into());
        let required = [("specversion", "1.0"), ("id", "1"), ("source", "/shop"), ("type", "t")];
        let required = required.into_iter().filter(|_| whole).map(|(name, value)| (format!("{prefix}{name}"), text(value)));
        let attributes = attributes.into_iter().map(|(name, value)| (format!("{prefix}{name}"), value));
        let hostile = hostile.into_iter().map(|(name, value)| (name.to_owned(), value));
        let headers = table(required.chain(attributes).chain(hostile).chain(others));
        let [correlation, reply_to, expiration, kind, user, app] = texts.map(|text| text.unwrap_or_default());
        let mut properties = BasicProperties::default()
            .with_headers(headers)
            .with_delivery_mode(numbers.0)
            .with_priority(numbers.1)
            .with_timestamp(numbers.2)
            .with_correlation_id(correlation.into())
            .with_reply_to(reply_to.into())
            .with_expiration(expiration.into())
            .with_type(kind.into())
            .with_user_id(user.into())
            .with_app_id(app.into())
            .with_cluster_id("elsewhere".into())
            .with_message_id("another".into());
        if let Some(content_type) = content_type {
            properties = properties.with_content_type(content_type.into());
        }
        if let Some(encoding) = encoding {
            properties = properties.with_content_encoding(encoding.into());
        }
        properties
    }
}

/// The event's way out, to two adapters.
fn delivered(event: &Event) -> BasicProperties {
    let (properties, body) = encode_event(event);
    let message = Outgoing {
        exchange: names::DELIVER.to_owned(),
        bcc: vec!["erp".to_owned(), "shop".to_owned()],
        mandatory: true,
        properties,
        body,
        ..Outgoing::default()
    };
    prepare(message).unwrap().properties(7)
}

fn header_names(properties: &BasicProperties) -> BTreeSet<String> {
    let headers = properties.headers().as_ref().unwrap();
    headers
        .inner()
        .keys()
        .map(|name| name.as_str().to_owned())
        .collect()
}

proptest! {
    #[test]
    fn nothing_passes_but_the_event(properties in sent(), body in "[a-z0-9\"]{0,9}") {
        let body = Bytes::from(body);
        let Ok(event) = decode_event(&received(&properties), &body) else { return Ok(()) };
        let sent = delivered(&event);

        let mut expected: BTreeSet<String> =
            event.attributes().into_iter().map(|(name, _)| format!("cloudEvents_{name}")).collect();
        expected.extend(["BCC".to_owned(), "crossdock-publish".to_owned()]);
        prop_assert_eq!(header_names(&sent), expected);
        prop_assert_eq!(sent.delivery_mode(), &Some(2));
        prop_assert_eq!(sent.message_id().as_ref().map(|id| id.as_str()), Some(event.id.as_str()));
        prop_assert_eq!(sent.content_type().as_ref().map(|text| text.as_str()), event.data_content_type.as_deref());
        for property in [
            sent.content_encoding(), sent.correlation_id(), sent.reply_to(), sent.expiration(), sent.kind(),
            sent.user_id(), sent.app_id(), sent.cluster_id(),
        ] {
            prop_assert_eq!(property, &None);
        }
        prop_assert_eq!(sent.priority(), &None);
        prop_assert_eq!(sent.timestamp(), &None);

        let mut arrived = received(&sent);
        arrived.headers.retain(|name, _| name != "BCC");
        prop_assert_eq!(decode_event(&arrived, &body).unwrap(), event);
    }

    #[test]
    fn a_message_is_decoded_without_a_panic_and_refused_with_a_reason(properties in sent(), body in any::<Vec<u8>>()) {
        let structured = BasicProperties::default().with_content_type("application/cloudevents+json".into());
        for properties in [received(&properties), received(&structured)] {
            if let Err(faults) = decode_event(&properties, &Bytes::from(body.clone())) {
                prop_assert!(!faults.0.is_empty());
                prop_assert!(faults.0.iter().all(|fault| fault.pointer.is_empty() || fault.pointer.starts_with('/')));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(LARGE_CASES))]

    #[test]
    fn the_largest_event_fits_into_a_message_for_the_most_targets(
        extensions in 1..=EXTENSIONS_MAX,
        name_bytes in 4..=EXTENSION_NAME_MAX_BYTES,
        integers in any::<bool>(),
    ) {
        let event = largest(extensions, name_bytes, integers);
        let (mut properties, body) = encode_event(&event);
        let producer = "p".repeat(IDENTIFIER_MAX_BYTES);
        properties.headers.insert("crossdock-producer".into(), producer.as_str().into());
        properties.headers.insert("crossdock-attempt".into(), 1.into());
        let target = names::adapter_queue(&"a".repeat(ADAPTER_NAME_MAX_BYTES));
        let message = Outgoing { bcc: vec![target; TARGETS], properties, body, ..Outgoing::default() };
        prop_assert!(message.check_size().is_ok());
    }
}

/// An event whose attributes are as large as they may be.
fn largest(extensions: usize, name_bytes: usize, integers: bool) -> Event {
    let filler = |room: usize| {
        let mut event = serde_json::json!({
            "specversion": "1.0", "id": "i".repeat(IDENTIFIER_MAX_BYTES), "source": "/s",
            "type": "t".repeat(IDENTIFIER_MAX_BYTES), "subject": "s".repeat(REFERENCE_MAX_BYTES),
            "time": DateTime::UNIX_EPOCH.to_rfc3339(), "datacontenttype": "a/b", "dataschema": "urn:x",
        });
        for number in 0..extensions {
            let name = format!("x{number:0>width$}", width = name_bytes - 1);
            event[name] = match (number, integers) {
                (0, _) => "v".repeat(room).into(),
                (_, true) => i32::MIN.into(),
                (_, false) => "".into(),
            };
        }
        Event::from_structured(event.to_string().as_bytes())
    };
    let (mut fits, mut too_large) = (0, ATTRIBUTES_MAX_BYTES + 1);
    while fits + 1 < too_large {
        let middle = (fits + too_large) / 2;
        *(if filler(middle).is_ok() {
            &mut fits
        } else {
            &mut too_large
        }) = middle;
    }
    let event = filler(fits).unwrap();
    assert!(matches!(
        event.extensions.values().next(),
        Some(AttributeValue::String(_))
    ));
    event
}
