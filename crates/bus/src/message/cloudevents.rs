//! CloudEvents over AMQP 0-9-1. The CloudEvents binding is for AMQP 1.0, whose application
//! properties RabbitMQ maps from and to the headers of 0-9-1: hence headers `cloudEvents_<name>`,
//! and `cloudEvents:<name>`, which the binding allows as well.
//!
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/amqp-protocol-binding.md>

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::SecondsFormat;
use crossdock_model::{AttributeValue, Event, Fault, Faults};

use super::{HeaderValue, Properties, SHORT_STRING_MAX_BYTES};

const PREFIX: &str = "cloudEvents_";
const ACCEPTED_PREFIXES: [&str; 2] = [PREFIX, "cloudEvents:"];
const STRUCTURED: &str = "application/cloudevents+json";
const ANY_STRUCTURED: &str = "application/cloudevents";
const BATCH: &str = "application/cloudevents-batch";

/// The event in binary mode: the data is the body, every attribute a header. Nothing else of the
/// message that it may have come with survives.
pub fn encode_event(event: &Event) -> (Properties, Bytes) {
    let headers = event
        .attributes()
        .into_iter()
        .map(|(name, value)| (format!("{PREFIX}{name}"), header(value)))
        .collect();
    let properties = Properties {
        content_type: short(event.data_content_type.as_deref()),
        message_id: short(Some(&event.id)),
        headers,
        ..Properties::default()
    };
    (properties, event.data.clone().unwrap_or_default())
}

/// The event in a message, in binary or structured mode.
///
/// # Errors
/// Every fault of the event, by its pointer into the structured form.
pub fn decode_event(properties: &Properties, body: &Bytes) -> Result<Event, Faults> {
    if let Some(encoding) = &properties.content_encoding
        && !encoding.is_empty()
        && !["identity", "utf-8", "utf8"]
            .iter()
            .any(|plain| encoding.eq_ignore_ascii_case(plain))
    {
        return Err(Fault::new("", "content_encoding is set: send the body unencoded").into());
    }
    match properties.content_type.as_deref().map(media_type) {
        Some(media) if media == STRUCTURED => Event::from_structured(body),
        Some(media) if media.starts_with(BATCH) => Err(Fault::new(
            "",
            "a batch is not accepted over AMQP: send each event as its own message",
        )
        .into()),
        Some(media) if media.starts_with(ANY_STRUCTURED) => {
            Err(Fault::new("", format!("the only structured format accepted is {STRUCTURED}")).into())
        }
        _ => decode_binary(properties, body),
    }
}

fn decode_binary(properties: &Properties, body: &Bytes) -> Result<Event, Faults> {
    let mut attributes = BTreeMap::new();
    let mut faults = Vec::new();
    for (header, value) in &properties.headers {
        let Some(name) = ACCEPTED_PREFIXES
            .iter()
            .find_map(|prefix| header.strip_prefix(prefix))
        else {
            continue;
        };
        match attribute(value) {
            Ok(None) => {}
            Ok(Some(value)) => {
                if attributes.insert(name.to_owned(), value).is_some() {
                    faults.push(Fault::new(
                        pointer(name),
                        "is given twice, once under each header prefix",
                    ));
                }
            }
            Err(expected) => faults.push(Fault::new(pointer(name), expected)),
        }
    }
    if attributes.is_empty() && faults.is_empty() {
        return Err(Fault::new(
            "",
            format!("the message has no {PREFIX}… headers and its content type is not {STRUCTURED}"),
        )
        .into());
    }
    let data = (!body.is_empty()).then(|| body.clone());
    match Event::from_attributes(attributes, properties.content_type.as_deref(), data) {
        Ok(event) => Faults::none_in(faults).map(|()| event),
        Err(Faults(more)) => {
            let known: Vec<String> = faults.iter().map(|fault| fault.pointer.clone()).collect();
            faults.extend(more.into_iter().filter(|fault| !known.contains(&fault.pointer)));
            Err(Faults(faults))
        }
    }
}

fn header(value: AttributeValue) -> HeaderValue {
    match value {
        AttributeValue::Boolean(value) => HeaderValue::Bool(value),
        AttributeValue::Integer(value) => HeaderValue::Int(value.into()),
        AttributeValue::String(value) => HeaderValue::Text(value),
    }
}

/// The attribute in a header; none in a null, which the binding treats as absent.
fn attribute(value: &HeaderValue) -> Result<Option<AttributeValue>, &'static str> {
    Ok(Some(match value {
        HeaderValue::Bool(value) => AttributeValue::Boolean(*value),
        HeaderValue::Int(value) => AttributeValue::Integer(
            i32::try_from(*value).map_err(|_| "is beyond the 32 bits of an integer attribute")?,
        ),
        HeaderValue::Text(value) => AttributeValue::String(value.clone()),
        HeaderValue::Time(value) => {
            AttributeValue::String(value.to_rfc3339_opts(SecondsFormat::AutoSi, true))
        }
        HeaderValue::Bytes(_) => return Err("is a string that is not UTF-8"),
        HeaderValue::Null => return Ok(None),
        HeaderValue::Float(_) | HeaderValue::List(_) | HeaderValue::Table(_) => {
            return Err("must be a string, an integer, a boolean or a timestamp");
        }
    }))
}

fn pointer(name: &str) -> String {
    let mut pointer = String::new();
    crossdock_model::fault::push_token(&mut pointer, name);
    pointer
}

/// The media type without its parameters, in lower case.
fn media_type(content_type: &str) -> String {
    content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

fn short(text: Option<&str>) -> Option<String> {
    text.filter(|text| text.len() <= SHORT_STRING_MAX_BYTES)
        .map(str::to_owned)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PLACED: &[u8] = br#"{
        "specversion": "1.0", "id": "e-1", "source": "/shop", "type": "order.placed.v1",
        "subject": "order-7", "time": "2024-05-01T10:00:00.25Z", "datacontenttype": "application/json",
        "correlationid": "order-7", "sequence": 4, "urgent": true, "data": {"total": 12.50}
    }"#;

    fn placed() -> Event {
        Event::from_structured(PLACED).unwrap()
    }

    fn only_fault(result: Result<Event, Faults>) -> Fault {
        let Faults(mut faults) = result.unwrap_err();
        assert_eq!(faults.len(), 1, "{faults:?}");
        faults.remove(0)
    }

    #[test]
    fn binary_mode_carries_every_attribute_and_the_data_as_it_came() {
        let event = placed();
        let (properties, body) = encode_event(&event);
        assert_eq!(properties.message_id.as_deref(), Some("e-1"));
        assert_eq!(properties.content_type.as_deref(), Some("application/json"));
        assert_eq!(properties.headers["cloudEvents_type"], "order.placed.v1".into());
        assert_eq!(properties.headers["cloudEvents_sequence"], HeaderValue::Int(4));
        assert!(!properties.headers.contains_key("cloudEvents_datacontenttype"));
        assert_eq!(&body[..], br#"{"total": 12.50}"#);
        assert_eq!(decode_event(&properties, &body).unwrap(), event);
    }

    #[test]
    fn both_prefixes_are_read() {
        let (mut properties, body) = encode_event(&placed());
        properties.headers = properties
            .headers
            .into_iter()
            .map(|(name, value)| (name.replace("cloudEvents_", "cloudEvents:"), value))
            .collect();
        assert_eq!(decode_event(&properties, &body).unwrap(), placed());
        properties.headers.insert("cloudEvents_id".into(), "e-2".into());
        assert_eq!(only_fault(decode_event(&properties, &body)).pointer, "/id");
    }

    #[test]
    fn structured_mode_is_told_by_the_content_type() {
        let mut properties = Properties {
            content_type: Some("Application/CloudEvents+JSON; charset=utf-8".into()),
            ..Properties::default()
        };
        assert_eq!(
            decode_event(&properties, &Bytes::from_static(PLACED)).unwrap(),
            placed()
        );
        for refused in [
            "application/cloudevents-batch+json",
            "application/cloudevents+avro",
        ] {
            properties.content_type = Some(refused.into());
            assert_eq!(
                only_fault(decode_event(&properties, &Bytes::from_static(PLACED))).pointer,
                ""
            );
        }
    }

    #[test]
    fn a_timestamp_header_is_a_time_and_a_null_is_absent() {
        let (mut properties, body) = encode_event(&placed());
        let time = "2024-05-01T10:00:00Z".parse().unwrap();
        properties
            .headers
            .insert("cloudEvents_time".into(), HeaderValue::Time(time));
        properties
            .headers
            .insert("cloudEvents_subject".into(), HeaderValue::Null);
        let event = decode_event(&properties, &body).unwrap();
        assert_eq!(event.time, Some(time));
        assert_eq!(event.subject, None);
    }

    #[test]
    fn values_that_no_attribute_can_have_are_faults_at_their_place() {
        let (mut properties, body) = encode_event(&placed());
        properties
            .headers
            .insert("cloudEvents_id".into(), HeaderValue::List(vec![]));
        assert_eq!(only_fault(decode_event(&properties, &body)).pointer, "/id");
        properties.headers.insert("cloudEvents_id".into(), "e-1".into());
        properties
            .headers
            .insert("cloudEvents_sequence".into(), HeaderValue::Int(1 << 40));
        assert_eq!(only_fault(decode_event(&properties, &body)).pointer, "/sequence");
    }

    #[test]
    fn a_message_that_is_no_event_says_so_once() {
        let fault = only_fault(decode_event(&Properties::default(), &Bytes::from_static(b"{}")));
        assert!(fault.message.contains("cloudEvents_"), "{fault}");
        let encoded = Properties {
            content_encoding: Some("gzip".into()),
            ..encode_event(&placed()).0
        };
        assert!(
            only_fault(decode_event(&encoded, &Bytes::new()))
                .message
                .contains("content_encoding")
        );
    }
}
