//! The CloudEvents 1.0 envelope as Crossdock accepts it. Every way to make an [`Event`] validates
//! it, so that an event in hand is one that every part of the hub, the broker and the database can
//! carry. It knows nothing of what the data means: that is for [`crate::schema`].

mod attribute;
mod codec;
mod json;
mod syntax;
mod validate;

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{fault::Fault, traceparent::Traceparent};

pub use attribute::AttributeValue;
pub use json::{JSON_MAX_DEPTH, POINTER_MAX_BYTES, REPEATED_KEYS_MAX, check_json};

/// All context attributes of an event together, names and values in their string form.
pub const ATTRIBUTES_MAX_BYTES: usize = 32 * 1024;
/// The data of one event, as bytes after base64 is undone.
pub const DATA_MAX_BYTES: usize = 1024 * 1024;
/// `id`, `type`, `datacontenttype`, `partitionkey`, `correlationid`, `causationid` and each alias:
/// what AMQP 0-9-1 can carry as a short string.
pub const IDENTIFIER_MAX_BYTES: usize = 255;
/// `source` and `subject`: what a database index can hold.
pub const REFERENCE_MAX_BYTES: usize = 1024;
/// Extension attributes of one event, by number: an event goes into the header table of AMQP and
/// into the header section of HTTP whatever encoding it came in.
pub const EXTENSIONS_MAX: usize = 100;
/// The name of an extension attribute. CloudEvents advises 20.
pub const EXTENSION_NAME_MAX_BYTES: usize = 64;
/// Aliases of one event, by number: each can be searched for.
pub const ALIASES_MAX: usize = 100;

/// The source of the events that the hub itself sends. No adapter and no key may use it.
pub const HUB_SOURCE: &str = "/crossdock";

/// The only CloudEvents version there is a mapping for.
const SPEC_VERSION: &str = "1.0";
/// The attributes that the specification names; every other one is an extension.
const CORE_ATTRIBUTES: [&str; 8] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
];

/// One event: its context attributes and its data.
///
/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>
#[derive(Clone, PartialEq)]
pub struct Event {
    /// Unique within `source`.
    pub id: String,
    /// Who speaks: a URI reference.
    pub source: String,
    /// What happened: `type` on the wire.
    pub event_type: String,
    /// What it happened to.
    pub subject: Option<String>,
    /// When it happened, within the years 0 to 9999 of UTC. Sub-second digits beyond the ninth are cut.
    pub time: Option<DateTime<Utc>>,
    /// The media type of the data. Absent means JSON.
    pub data_content_type: Option<String>,
    /// An absolute URI of the data's schema.
    pub data_schema: Option<String>,
    /// Every other attribute by its name: lower-case letters and digits.
    pub extensions: BTreeMap<String, AttributeValue>,
    /// The bytes as they came, base64 undone. Never empty: no bytes are no data.
    pub data: Option<Bytes>,
}

impl Event {
    /// The business process that the event is part of, such as an order: `correlationid`.
    pub fn correlation_id(&self) -> Option<&str> {
        self.text_extension("correlationid")
    }

    /// The id of the event that caused this one: `causationid`.
    pub fn causation_id(&self) -> Option<&str> {
        self.text_extension("causationid")
    }

    /// Other systems' names of the same thing, each `system:id`: `aliases`.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        self.text_extension("aliases")
            .unwrap_or_default()
            .split_ascii_whitespace()
    }

    /// The extension attribute `name` in its canonical string form.
    pub fn extension(&self, name: &str) -> Option<Cow<'_, str>> {
        self.extensions.get(name).map(|value| match value {
            AttributeValue::String(text) => Cow::Borrowed(text.as_str()),
            other => Cow::Owned(other.to_string()),
        })
    }

    /// What must stay in order together: `partitionkey`, else the subject, else the id. A subject
    /// too long for a routing key is cut to its first 255 bytes.
    pub fn partition_key(&self) -> Cow<'_, str> {
        self.extension("partitionkey").unwrap_or_else(|| {
            let key = self.subject.as_deref().unwrap_or(&self.id);
            Cow::Borrowed(&key[..key.floor_char_boundary(IDENTIFIER_MAX_BYTES)])
        })
    }

    /// When the event is no longer worth delivering: `expirytime`.
    pub fn expiry(&self) -> Option<DateTime<Utc>> {
        self.text_extension("expirytime").and_then(syntax::timestamp)
    }

    /// The trace that the event is part of: `traceparent`.
    pub fn traceparent(&self) -> Option<Traceparent> {
        self.text_extension("traceparent")?.parse().ok()
    }

    /// Makes the event part of a trace, unless it is part of one already or has no room for one more attribute.
    pub fn join_trace(&mut self, traceparent: Traceparent) {
        const NAME: &str = "traceparent";
        if self.extensions.contains_key(NAME) || self.extensions.len() >= EXTENSIONS_MAX {
            return;
        }
        let value = traceparent.to_string();
        if self.attribute_bytes() + NAME.len() + value.len() <= ATTRIBUTES_MAX_BYTES {
            self.extensions
                .insert(NAME.to_owned(), AttributeValue::String(value));
        }
    }

    /// Makes what follows from the event follow from this step of its trace, whatever it was part of before.
    pub fn go_on_in(&mut self, traceparent: Traceparent) {
        self.extensions.remove("traceparent");
        self.join_trace(traceparent);
    }

    /// Whether the data is JSON: the content type says so, or there is none.
    pub fn is_json(&self) -> bool {
        self.data_content_type
            .as_deref()
            .is_none_or(syntax::is_json_media_type)
    }

    /// The data parsed. Numbers beyond 64 bits become floating-point.
    ///
    /// # Errors
    /// At `/data`, when there is no data or it is not JSON.
    pub fn json(&self) -> Result<Value, Fault> {
        if !self.is_json() {
            return Err(Fault::new("/data", "is not JSON according to datacontenttype"));
        }
        let data = self
            .data
            .as_deref()
            .ok_or_else(|| Fault::new("/data", "is missing"))?;
        serde_json::from_slice(data).map_err(|_| Fault::new("/data", "is not well-formed JSON"))
    }

    fn text_extension(&self, name: &str) -> Option<&str> {
        match self.extensions.get(name)? {
            AttributeValue::String(text) => Some(text),
            _ => None,
        }
    }
}

/// Names the event without its data, its subject or its extensions, which may be personal.
impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Event")
            .field("id", &self.id)
            .field("source", &self.source)
            .field("type", &self.event_type)
            .field("time", &self.time)
            .field("data_bytes", &self.data.as_ref().map(Bytes::len))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
