//! The CloudEvents encodings: structured and batch as JSON
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>), and
//! binary as a list of attributes beside the data, which AMQP and HTTP write as headers. JSON data
//! is never parsed and written again, so its numbers keep every digit.

use std::collections::{BTreeMap, HashSet};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use chrono::SecondsFormat;
use serde::de::Error as _;
use serde::ser::{Error as _, SerializeMap};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::json::check_envelope;
use super::validate::{too_large, too_many_extensions};
use super::{AttributeValue, CORE_ATTRIBUTES, DATA_MAX_BYTES, EXTENSIONS_MAX, Event, SPEC_VERSION, syntax};
use crate::fault::{Fault, Faults};

/// Levels that enclose the data of a structured event.
const EVENT_LEVELS: usize = 1;
/// Levels that enclose the data of an event in a batch.
const BATCH_LEVELS: usize = 2;

impl Event {
    /// Reads one event in structured mode: `application/cloudevents+json`.
    ///
    /// # Errors
    /// Every fault found.
    pub fn from_structured(json: &[u8]) -> Result<Event, Faults> {
        check_envelope(json, EVENT_LEVELS).map_err(Faults)?;
        parse_member(json)
    }

    /// Reads a batch: `application/cloudevents-batch+json`. An empty batch is valid.
    ///
    /// # Errors
    /// Every fault of every member, each pointer beginning with the member's index.
    pub fn batch_from_json(json: &[u8]) -> Result<Vec<Event>, Faults> {
        check_envelope(json, BATCH_LEVELS).map_err(Faults)?;
        let members: Vec<&RawValue> = serde_json::from_slice(json)
            .map_err(|_| Fault::new("", "must be an array of structured CloudEvents"))?;
        let mut events = Vec::with_capacity(members.len());
        let mut faults = Vec::new();
        for (index, member) in members.iter().enumerate() {
            match parse_member(member.get().as_bytes()) {
                Ok(event) => events.push(event),
                Err(Faults(found)) => {
                    let prefix = format!("/{index}");
                    faults.extend(found.into_iter().map(|fault| fault.within(&prefix)));
                }
            }
        }
        Faults::none_in(faults).map(|()| events)
    }

    /// Writes the event in structured mode. JSON data stands there as it came, text in UTF-8 as a
    /// JSON string, anything else in base64, and so does text of which escapes would make more.
    pub fn to_structured(&self) -> Vec<u8> {
        serde_json::to_vec(self)
            .expect("strings and JSON that was checked when the event was made can be written")
    }

    /// What a filter or a transform is given: the structured form, in which any data that is not JSON
    /// but UTF-8 is a string, such as XML and CSV.
    pub fn to_mapping_input(&self) -> String {
        serde_json::to_string(&ForMappings(self))
            .expect("strings and JSON that was checked when the event was made can be written")
    }

    /// The same event with other data, which is JSON. What said of the old data what it was is gone:
    /// `dataschema`, and any other content type.
    ///
    /// # Errors
    /// When that makes the event larger than one may be.
    pub fn with_json_data(&self, json: String) -> Result<Event, Faults> {
        let event = Event {
            data: Some(Bytes::from(json)),
            data_content_type: Some("application/json".to_owned()),
            data_schema: None,
            ..self.clone()
        };
        Faults::none_in(event.validate()).map(|()| event)
    }

    /// Reads an event in binary mode: its attributes by their bare names (`id`, `source`, …,
    /// `specversion` among them), the content type and the body.
    ///
    /// # Errors
    /// Every fault found.
    pub fn from_attributes(
        attributes: impl IntoIterator<Item = (String, AttributeValue)>,
        content_type: Option<&str>,
        data: Option<Bytes>,
    ) -> Result<Event, Faults> {
        let mut draft = Draft::default();
        for (name, value) in attributes {
            draft.set(name, value);
        }
        if let Some(content_type) = content_type {
            let other = draft
                .texts
                .insert("datacontenttype".to_owned(), content_type.to_owned());
            if other.is_some_and(|other| other != content_type) {
                draft.fault("datacontenttype", "differs from the content type of the message");
            }
        }
        draft.data = data.filter(|data| !data.is_empty());
        draft.finish(true)
    }

    /// The attributes of the event in binary mode, `specversion` included. The content type is not
    /// among them: every transport has its own place for it.
    pub fn attributes(&self) -> Vec<(String, AttributeValue)> {
        let core = [
            ("specversion", Some(SPEC_VERSION.to_owned())),
            ("id", Some(self.id.clone())),
            ("source", Some(self.source.clone())),
            ("type", Some(self.event_type.clone())),
            ("subject", self.subject.clone()),
            ("time", self.time_text()),
            ("dataschema", self.data_schema.clone()),
        ];
        let core = core
            .into_iter()
            .filter_map(|(name, text)| Some((name.to_owned(), AttributeValue::String(text?))));
        let extensions = self
            .extensions
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()));
        core.chain(extensions).collect()
    }

    fn time_text(&self) -> Option<String> {
        self.time
            .map(|time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

/// The structured form.
impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        structured(self, self.is_best_as_text(), serializer)
    }
}

/// An event as mappings are given it.
struct ForMappings<'a>(&'a Event);

impl Serialize for ForMappings<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        structured(self.0, true, serializer)
    }
}

/// Writes the structured form. Data that is not JSON is a string if it may be `text` and is UTF-8.
fn structured<S: Serializer>(event: &Event, text: bool, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    for (name, value) in event.attributes() {
        map.serialize_entry(&name, &value)?;
    }
    if let Some(content_type) = &event.data_content_type {
        map.serialize_entry("datacontenttype", content_type)?;
    }
    match &event.data {
        None => {}
        Some(data) if event.is_json() => {
            let raw: &RawValue = serde_json::from_slice(data).map_err(S::Error::custom)?;
            map.serialize_entry("data", raw)?;
        }
        Some(data) => match std::str::from_utf8(data) {
            Ok(data) if text => map.serialize_entry("data", data)?,
            _ => map.serialize_entry("data_base64", &BASE64_STANDARD.encode(data))?,
        },
    }
    map.end()
}

impl Event {
    /// Whether the data is text that a string takes no more room for than base64 does.
    fn is_best_as_text(&self) -> bool {
        let content_type = self.data_content_type.as_deref();
        let text = self.data.as_deref().map(std::str::from_utf8);
        match text {
            Some(Ok(text)) => {
                content_type.is_some_and(syntax::is_utf8_text_media_type)
                    && escaped_bytes(text) <= base64_bytes(text)
            }
            _ => false,
        }
    }
}

/// The length of `text` inside a JSON string.
fn escaped_bytes(text: &str) -> usize {
    let escaped = text.bytes().map(|byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => r"\n".len(),
        0..=0x1f => r"\u0000".len(),
        _ => 1,
    });
    escaped.sum()
}

fn base64_bytes(text: &str) -> usize {
    text.len().div_ceil(3) * 4
}

/// Reads the structured form out of a JSON document, with all its checks.
impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Event::from_structured(raw.get().as_bytes()).map_err(D::Error::custom)
    }
}

fn is_core(name: &str) -> bool {
    CORE_ATTRIBUTES.contains(&name)
}

/// Reads a structured event whose JSON has been checked already.
fn parse_member(json: &[u8]) -> Result<Event, Faults> {
    let members: BTreeMap<String, &RawValue> =
        serde_json::from_slice(json).map_err(|_| Fault::new("", "must be a CloudEvent as a JSON object"))?;
    let is_extension = |(name, raw): &(&String, &&RawValue)| {
        raw.get() != "null" && !is_core(name) && !matches!(name.as_str(), "data" | "data_base64")
    };
    let extensions = members.iter().filter(is_extension).count();
    if extensions > EXTENSIONS_MAX {
        return Err(too_many_extensions(extensions).into());
    }
    let mut draft = Draft::default();
    let mut data = None;
    let mut data_base64 = None;
    for (name, raw) in members {
        match name.as_str() {
            "data" => data = Some(raw),
            "data_base64" if raw.get() != "null" => data_base64 = Some(raw),
            _ if raw.get() == "null" => {}
            _ => match serde_json::from_str(raw.get()) {
                Ok(value) => draft.set(name, value),
                Err(_) => draft.fault(&name, "must be a string, a boolean or a whole number of 32 bits"),
            },
        }
    }
    let mut unchecked = false;
    match (data, data_base64) {
        (Some(_), Some(_)) => draft.fault("data_base64", "cannot stand beside data"),
        (Some(raw), None) => draft.inline_data(raw),
        (None, Some(raw)) => {
            unchecked = true;
            draft.base64_data(raw);
        }
        (None, None) => {}
    }
    draft.finish(unchecked)
}

/// An event on its way in: what has been read and what was wrong with it.
#[derive(Default)]
struct Draft {
    texts: BTreeMap<String, String>,
    extensions: BTreeMap<String, AttributeValue>,
    data: Option<Bytes>,
    faults: Vec<Fault>,
    named: HashSet<String>,
}

impl Draft {
    fn fault(&mut self, attribute: &str, message: &str) {
        self.faults.push(Fault::of_attribute(attribute, message));
    }

    fn set(&mut self, name: String, value: AttributeValue) {
        if !self.named.insert(name.clone()) {
            self.fault(&name, "is given twice");
        } else if is_core(&name) {
            match value {
                AttributeValue::String(text) => {
                    self.texts.insert(name, text);
                }
                _ => self.fault(&name, "must be a string"),
            }
        } else {
            self.extensions.insert(name, value);
        }
    }

    fn inline_data(&mut self, raw: &RawValue) {
        let content_type = self.texts.get("datacontenttype");
        let text = raw.get();
        let data = if content_type.is_none_or(|content_type| syntax::is_json_media_type(content_type)) {
            Some(text.to_owned())
        } else {
            serde_json::from_str::<String>(text).ok()
        };
        match data {
            Some(data) => self.data = Some(Bytes::from(data)).filter(|data| !data.is_empty()),
            None => self.fault(
                "data",
                "must be a JSON string, because datacontenttype is not JSON",
            ),
        }
    }

    fn base64_data(&mut self, raw: &RawValue) {
        let bytes = serde_json::from_str::<String>(raw.get())
            .ok()
            .and_then(|text| BASE64_STANDARD.decode(text).ok());
        match bytes {
            Some(bytes) => self.data = Some(Bytes::from(bytes)).filter(|data| !data.is_empty()),
            None => self.fault("data_base64", "must be a string in base64 (RFC 4648, section 4)"),
        }
    }

    fn required(&mut self, name: &str) -> String {
        self.texts.remove(name).unwrap_or_else(|| {
            if !self.named.contains(name) {
                self.fault(name, "is missing");
            }
            String::new()
        })
    }

    /// Data that was part of a checked JSON document needs no second look inside.
    fn finish(mut self, data_unchecked: bool) -> Result<Event, Faults> {
        let version = self.required("specversion");
        if !version.is_empty() && version != SPEC_VERSION {
            self.fault("specversion", "must be \"1.0\"");
        }
        let time = self.texts.remove("time").and_then(|text| {
            let time = syntax::timestamp(&text);
            if time.is_none() {
                self.fault("time", "must be an RFC 3339 time, such as 2026-01-31T12:00:00Z");
            }
            time
        });
        let event = Event {
            id: self.required("id"),
            source: self.required("source"),
            event_type: self.required("type"),
            subject: self.texts.remove("subject"),
            time,
            data_content_type: self.texts.remove("datacontenttype"),
            data_schema: self.texts.remove("dataschema"),
            extensions: self.extensions,
            data: self.data,
        };
        let mut faults = self.faults;
        let reported: HashSet<String> = faults.iter().map(|fault| fault.pointer.clone()).collect();
        let context = event.context_faults().into_iter();
        faults.extend(context.filter(|fault| !reported.contains(&fault.pointer)));
        if data_unchecked {
            faults.extend(event.data_faults());
        } else if event
            .data
            .as_ref()
            .is_some_and(|data| data.len() > DATA_MAX_BYTES)
        {
            faults.push(too_large());
        }
        Faults::none_in(faults).map(|()| event)
    }
}
