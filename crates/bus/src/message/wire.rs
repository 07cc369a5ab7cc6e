//! Between our messages and those of the AMQP client. Sizes are checked here, because the client
//! does not: RabbitMQ answers a frame too large by closing the connection for everyone on it.

use bytes::Bytes;
use chrono::DateTime;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, ByteArray, FieldArray, FieldTable, LongString, ShortString};

use super::{
    BODY_MAX_BYTES, Delivery, HEADERS_MAX_BYTES, HeaderValue, Headers, Outgoing, Properties,
    SHORT_STRING_MAX_BYTES,
};
use crate::error::PublishError;

const PERSISTENT: u8 = 2;
const BCC: &str = "BCC";
/// Tells returned messages apart: the number of the publish on its channel. Only messages that can
/// be returned (`mandatory`) carry it.
const PUBLISH_TAG: &str = "crossdock-publish";
/// Type byte and length prefix that the largest kinds of value have, in bytes.
const VALUE_OVERHEAD: usize = 9;

/// A message that has passed every check on sizes.
pub(crate) struct Prepared {
    pub(crate) exchange: ShortString,
    pub(crate) routing_key: ShortString,
    pub(crate) mandatory: bool,
    pub(crate) body: Bytes,
    properties: BasicProperties,
    headers: FieldTable,
}

impl Prepared {
    /// The properties to publish with, `tag` among the headers if the message can be returned.
    pub(crate) fn properties(&mut self, tag: u64) -> BasicProperties {
        let mut headers = std::mem::take(&mut self.headers);
        if self.mandatory {
            let tag = i64::try_from(tag).expect("publishes on one channel do not reach 2^63");
            headers.insert(PUBLISH_TAG.into(), AMQPValue::LongLongInt(tag));
        }
        std::mem::take(&mut self.properties).with_headers(headers)
    }
}

/// The publish tag of a returned message.
pub(crate) fn returned_tag(properties: &BasicProperties) -> Option<u64> {
    match properties.headers().as_ref()?.inner().get(PUBLISH_TAG)? {
        AMQPValue::LongLongInt(tag) => u64::try_from(*tag).ok(),
        _ => None,
    }
}

/// Checks the message and puts it into the client's terms.
pub(crate) fn prepare(message: Outgoing) -> Result<Prepared, PublishError> {
    within(BODY_MAX_BYTES, message.body.len())?;
    let Properties {
        content_type,
        content_encoding,
        message_id,
        correlation_id,
        user_id,
        timestamp,
        message_type,
        app_id,
        mut headers,
    } = message.properties;
    headers.retain(|name, _| !steers_the_broker(name));
    if !message.bcc.is_empty() {
        let targets = message.bcc.into_iter().map(HeaderValue::Text).collect();
        headers.insert(BCC.into(), HeaderValue::List(targets));
    }
    within(HEADERS_MAX_BYTES, table_bytes(&headers))?;

    let mut properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    if let Some(value) = content_type {
        properties = properties.with_content_type(short(value)?);
    }
    if let Some(value) = content_encoding {
        properties = properties.with_content_encoding(short(value)?);
    }
    if let Some(value) = message_id {
        properties = properties.with_message_id(short(value)?);
    }
    if let Some(value) = correlation_id {
        properties = properties.with_correlation_id(short(value)?);
    }
    if let Some(value) = user_id {
        properties = properties.with_user_id(short(value)?);
    }
    if let Some(seconds) = timestamp.and_then(|time| u64::try_from(time.timestamp()).ok()) {
        properties = properties.with_timestamp(seconds);
    }
    if let Some(value) = message_type {
        properties = properties.with_type(short(value)?);
    }
    if let Some(value) = app_id {
        properties = properties.with_app_id(short(value)?);
    }
    Ok(Prepared {
        exchange: short(message.exchange)?,
        routing_key: short(message.routing_key)?,
        mandatory: message.mandatory,
        body: message.body,
        properties,
        headers: field_table(&headers)?,
    })
}

/// Our form of a delivery.
pub(crate) fn delivery(delivery: lapin::message::Delivery) -> Delivery {
    Delivery {
        tag: delivery.delivery_tag,
        exchange: delivery.exchange.into(),
        routing_key: delivery.routing_key.into(),
        redelivered: delivery.redelivered,
        properties: received(&delivery.properties),
        body: delivery.data.into(),
    }
}

/// The client's form of a table, for headers and for arguments of queues.
pub(crate) fn field_table(headers: &Headers) -> Result<FieldTable, PublishError> {
    let mut table = FieldTable::default();
    for (name, value) in headers {
        table.insert(short(name.clone())?, sent_value(value)?);
    }
    Ok(table)
}

/// The properties as the sender set them: the publish's tag is between publisher and broker.
pub(super) fn received(properties: &BasicProperties) -> Properties {
    let text = |value: &Option<ShortString>| value.as_ref().map(|text| text.as_str().to_owned());
    let mut headers = properties
        .headers()
        .as_ref()
        .map(received_table)
        .unwrap_or_default();
    headers.remove(PUBLISH_TAG);
    Properties {
        content_type: text(properties.content_type()),
        content_encoding: text(properties.content_encoding()),
        message_id: text(properties.message_id()),
        correlation_id: text(properties.correlation_id()),
        user_id: text(properties.user_id()),
        timestamp: properties.timestamp().and_then(|seconds| time(&seconds)),
        message_type: text(properties.kind()),
        app_id: text(properties.app_id()),
        headers,
    }
}

fn received_table(table: &FieldTable) -> Headers {
    table
        .inner()
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), received_value(value)))
        .collect()
}

fn received_value(value: &AMQPValue) -> HeaderValue {
    match value {
        AMQPValue::Boolean(value) => HeaderValue::Bool(*value),
        AMQPValue::ShortShortInt(value) => HeaderValue::Int((*value).into()),
        AMQPValue::ShortShortUInt(value) => HeaderValue::Int((*value).into()),
        AMQPValue::ShortInt(value) => HeaderValue::Int((*value).into()),
        AMQPValue::ShortUInt(value) => HeaderValue::Int((*value).into()),
        AMQPValue::LongInt(value) => HeaderValue::Int((*value).into()),
        AMQPValue::LongUInt(value) => HeaderValue::Int((*value).into()),
        AMQPValue::LongLongInt(value) => HeaderValue::Int(*value),
        AMQPValue::Float(value) => HeaderValue::Float((*value).into()),
        AMQPValue::Double(value) => HeaderValue::Float(*value),
        AMQPValue::DecimalValue(value) => HeaderValue::Text(decimal(value.value, value.scale)),
        AMQPValue::ShortString(value) => HeaderValue::Text(value.as_str().to_owned()),
        AMQPValue::LongString(value) => match std::str::from_utf8(value.as_bytes()) {
            Ok(text) => HeaderValue::Text(text.to_owned()),
            Err(_) => HeaderValue::Bytes(Bytes::copy_from_slice(value.as_bytes())),
        },
        AMQPValue::FieldArray(values) => {
            HeaderValue::List(values.as_slice().iter().map(received_value).collect())
        }
        AMQPValue::Timestamp(seconds) => time(seconds).map_or(HeaderValue::Null, HeaderValue::Time),
        AMQPValue::FieldTable(table) => HeaderValue::Table(received_table(table)),
        AMQPValue::ByteArray(bytes) => HeaderValue::Bytes(Bytes::copy_from_slice(bytes.as_slice())),
        AMQPValue::Void => HeaderValue::Null,
    }
}

fn sent_value(value: &HeaderValue) -> Result<AMQPValue, PublishError> {
    Ok(match value {
        HeaderValue::Bool(value) => AMQPValue::Boolean(*value),
        HeaderValue::Int(value) => AMQPValue::LongLongInt(*value),
        HeaderValue::Float(value) => AMQPValue::Double(*value),
        HeaderValue::Text(text) => AMQPValue::LongString(LongString::from(text.as_str())),
        HeaderValue::Bytes(bytes) => AMQPValue::ByteArray(ByteArray::from(bytes.to_vec())),
        HeaderValue::Time(time) => {
            u64::try_from(time.timestamp()).map_or(AMQPValue::Void, AMQPValue::Timestamp)
        }
        HeaderValue::List(values) => AMQPValue::FieldArray(FieldArray::from(
            values.iter().map(sent_value).collect::<Result<Vec<_>, _>>()?,
        )),
        HeaderValue::Table(headers) => AMQPValue::FieldTable(field_table(headers)?),
        HeaderValue::Null => AMQPValue::Void,
    })
}

/// An upper bound of the table's size on the wire, in bytes.
fn table_bytes(headers: &Headers) -> usize {
    headers
        .iter()
        .map(|(name, value)| 1 + name.len() + value_bytes(value))
        .sum()
}

fn value_bytes(value: &HeaderValue) -> usize {
    VALUE_OVERHEAD
        + match value {
            HeaderValue::Text(text) => text.len(),
            HeaderValue::Bytes(bytes) => bytes.len(),
            HeaderValue::List(values) => values.iter().map(value_bytes).sum(),
            HeaderValue::Table(headers) => table_bytes(headers),
            HeaderValue::Bool(_)
            | HeaderValue::Int(_)
            | HeaderValue::Float(_)
            | HeaderValue::Time(_)
            | HeaderValue::Null => 0,
        }
}

fn steers_the_broker(header: &str) -> bool {
    header.eq_ignore_ascii_case("CC") || header.eq_ignore_ascii_case(BCC) || header.starts_with("x-")
}

fn short(text: String) -> Result<ShortString, PublishError> {
    within(SHORT_STRING_MAX_BYTES, text.len())?;
    Ok(text.into())
}

fn within(limit: usize, actual: usize) -> Result<(), PublishError> {
    if actual > limit {
        Err(PublishError::TooLarge { limit, actual })
    } else {
        Ok(())
    }
}

fn time(seconds: &u64) -> Option<DateTime<chrono::Utc>> {
    DateTime::from_timestamp(i64::try_from(*seconds).ok()?, 0)
}

fn decimal(value: u32, scale: u8) -> String {
    let scale = usize::from(scale);
    let digits = format!("{value:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    if fraction.is_empty() {
        whole.to_owned()
    } else {
        format!("{whole}.{fraction}")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn with_header(name: &str, value: HeaderValue) -> Outgoing {
        Outgoing {
            properties: Properties {
                headers: [(name.to_owned(), value)].into(),
                ..Properties::default()
            },
            ..Outgoing::default()
        }
    }

    fn refusal(message: Outgoing) -> PublishError {
        prepare(message).err().unwrap()
    }

    #[test]
    fn headers_survive_the_way_out_and_in() {
        let headers: Headers = [
            ("bool".to_owned(), HeaderValue::Bool(true)),
            ("int".to_owned(), HeaderValue::Int(i64::MIN)),
            ("float".to_owned(), HeaderValue::Float(0.25)),
            ("text".to_owned(), HeaderValue::Text("grüße".into())),
            (
                "bytes".to_owned(),
                HeaderValue::Bytes(Bytes::from_static(&[0, 255])),
            ),
            (
                "time".to_owned(),
                HeaderValue::Time(DateTime::from_timestamp(1_700_000_000, 0).unwrap()),
            ),
            (
                "list".to_owned(),
                HeaderValue::List(vec![HeaderValue::Null, HeaderValue::Int(1)]),
            ),
            (
                "table".to_owned(),
                HeaderValue::Table([("a".to_owned(), HeaderValue::Bool(false))].into()),
            ),
        ]
        .into();
        let sent = Properties {
            message_id: Some("m".into()),
            message_type: Some("t".into()),
            timestamp: DateTime::from_timestamp(1, 0),
            headers,
            ..Properties::default()
        };
        let mut prepared = prepare(Outgoing {
            properties: sent.clone(),
            ..Outgoing::default()
        })
        .unwrap();
        let wire = prepared.properties(7);
        assert_eq!(wire.delivery_mode(), &Some(PERSISTENT));
        assert_eq!(returned_tag(&wire), None);
        assert_eq!(received(&wire), sent);
    }

    #[test]
    fn only_a_message_that_can_be_returned_carries_its_number() {
        let mut prepared = prepare(Outgoing {
            mandatory: true,
            ..Outgoing::default()
        })
        .unwrap();
        assert_eq!(returned_tag(&prepared.properties(42)), Some(42));
    }

    #[test]
    fn headers_that_steer_the_broker_are_left_out_and_targets_put_in() {
        let mut message = with_header("cc", "elsewhere".into());
        message.properties.headers.insert("x-delay".into(), 1.into());
        message
            .properties
            .headers
            .insert("BCC".into(), "elsewhere".into());
        message.bcc = vec!["queue".into()];
        let headers = received(&prepare(message).unwrap().properties(0)).headers;
        assert_eq!(
            headers,
            [("BCC".to_owned(), HeaderValue::List(vec!["queue".into()]))].into()
        );
    }

    #[test]
    fn what_would_close_the_connection_is_refused() {
        let large = "x".repeat(HEADERS_MAX_BYTES);
        assert!(matches!(
            refusal(with_header("h", large.into())),
            PublishError::TooLarge {
                limit: HEADERS_MAX_BYTES,
                ..
            }
        ));
        let many = vec![HeaderValue::Null; HEADERS_MAX_BYTES];
        assert!(matches!(
            refusal(with_header("h", HeaderValue::List(many))),
            PublishError::TooLarge { .. }
        ));
        assert_eq!(
            refusal(with_header(&"n".repeat(256), true.into())),
            PublishError::TooLarge {
                limit: SHORT_STRING_MAX_BYTES,
                actual: 256
            }
        );
        assert_eq!(
            refusal(Outgoing {
                routing_key: "k".repeat(300),
                ..Outgoing::default()
            }),
            PublishError::TooLarge {
                limit: SHORT_STRING_MAX_BYTES,
                actual: 300
            }
        );
        let body = Bytes::from(vec![0; BODY_MAX_BYTES + 1]);
        assert_eq!(
            refusal(Outgoing {
                body,
                ..Outgoing::default()
            }),
            PublishError::TooLarge {
                limit: BODY_MAX_BYTES,
                actual: BODY_MAX_BYTES + 1
            }
        );
        let targets = (0..2_000)
            .map(|n| format!("crossdock.adapter.number-{n}"))
            .collect();
        assert!(matches!(
            refusal(Outgoing {
                bcc: targets,
                ..Outgoing::default()
            }),
            PublishError::TooLarge { .. }
        ));
    }

    #[test]
    fn decimals_keep_their_digits() {
        assert_eq!(decimal(1250, 2), "12.50");
        assert_eq!(decimal(5, 3), "0.005");
        assert_eq!(decimal(7, 0), "7");
    }
}
