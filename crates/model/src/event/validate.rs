//! The rules of the context attributes: CloudEvents 1.0, the limits that broker and database set,
//! and the formats of the extensions that Crossdock gives a meaning.

use super::{
    ALIASES_MAX, ATTRIBUTES_MAX_BYTES, AttributeValue, CORE_ATTRIBUTES, DATA_MAX_BYTES,
    EXTENSION_NAME_MAX_BYTES, EXTENSIONS_MAX, Event, IDENTIFIER_MAX_BYTES, REFERENCE_MAX_BYTES, check_json,
    syntax,
};
use crate::{fault::Fault, traceparent::Traceparent};

impl Event {
    /// Everything that is wrong with the event, context and data; empty if it is valid. The type
    /// may be any text: who may send which types is for the hub to say.
    pub fn validate(&self) -> Vec<Fault> {
        let mut faults = self.context_faults();
        faults.extend(self.data_faults());
        faults
    }

    pub(super) fn context_faults(&self) -> Vec<Fault> {
        let mut faults = Checks::default();
        faults.required("id", &self.id, IDENTIFIER_MAX_BYTES);
        faults.required("source", &self.source, REFERENCE_MAX_BYTES);
        faults.must(
            "source",
            syntax::is_uri_reference(&self.source),
            "must be a URI reference, such as /erp",
        );
        faults.required("type", &self.event_type, IDENTIFIER_MAX_BYTES);
        if let Some(subject) = &self.subject {
            faults.required("subject", subject, REFERENCE_MAX_BYTES);
        }
        if self.time.is_some_and(|time| !syntax::is_writable(&time)) {
            faults.add("time", "must lie within the years 0 to 9999 of UTC");
        }
        if let Some(media_type) = &self.data_content_type {
            let valid = syntax::is_media_type(media_type);
            faults.must(
                "datacontenttype",
                valid,
                "must be a media type, such as application/json",
            );
            faults.must(
                "datacontenttype",
                !syntax::is_cloudevents_media_type(media_type),
                "must not be an encoding of CloudEvents: in binary mode the data would be taken for the event itself",
            );
            let short = media_type.len() <= IDENTIFIER_MAX_BYTES;
            faults.must("datacontenttype", short, "is longer than 255 bytes");
        }
        if let Some(schema) = &self.data_schema {
            faults.must(
                "dataschema",
                syntax::is_absolute_uri(schema),
                "must be an absolute URI",
            );
        }
        if self.extensions.len() > EXTENSIONS_MAX {
            faults.0.push(too_many_extensions(self.extensions.len()));
        }
        for (name, value) in self.extensions.iter().take(EXTENSIONS_MAX) {
            faults.extension(name, value);
        }
        if self.attribute_bytes() > ATTRIBUTES_MAX_BYTES {
            let message = format!("has more than {ATTRIBUTES_MAX_BYTES} bytes of context attributes");
            faults.0.push(Fault::new("", message));
        }
        faults.0
    }

    pub(super) fn attribute_bytes(&self) -> usize {
        const TIME_BYTES: usize = "2026-01-31T12:00:00.123456789Z".len();
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let core = [
            self.id.len(),
            self.source.len(),
            self.event_type.len(),
            length(&self.subject),
            self.time.map_or(0, |_| TIME_BYTES),
            length(&self.data_content_type),
            length(&self.data_schema),
        ];
        let names: usize = CORE_ATTRIBUTES.iter().map(|name| name.len()).sum();
        let extensions = self
            .extensions
            .iter()
            .map(|(name, value)| name.len() + value.string_length());
        names + core.iter().sum::<usize>() + extensions.sum::<usize>()
    }

    pub(super) fn data_faults(&self) -> Vec<Fault> {
        match self.data.as_deref() {
            None => Vec::new(),
            Some(data) if data.len() > DATA_MAX_BYTES => vec![too_large()],
            Some([]) => vec![Fault::new("/data", "must not be empty: leave it out instead")],
            Some(data) if self.is_json() => check_json(data, "/data").err().unwrap_or_default(),
            Some(_) => Vec::new(),
        }
    }
}

pub(super) fn too_large() -> Fault {
    Fault::new("/data", format!("is larger than {DATA_MAX_BYTES} bytes"))
}

pub(super) fn too_many_extensions(number: usize) -> Fault {
    Fault::new(
        "",
        format!("has {number} extension attributes, expected at most {EXTENSIONS_MAX}"),
    )
}

#[derive(Default)]
struct Checks(Vec<Fault>);

impl Checks {
    fn add(&mut self, attribute: &str, message: impl Into<String>) {
        self.0.push(Fault::of_attribute(attribute, message));
    }

    fn must(&mut self, attribute: &str, holds: bool, message: &str) {
        let told = |fault: &Fault| fault.pointer.strip_prefix('/') == Some(attribute);
        let known = self.0.last().is_some_and(told);
        if !holds && !known {
            self.add(attribute, message);
        }
    }

    fn required(&mut self, attribute: &str, text: &str, max_bytes: usize) {
        if text.is_empty() {
            self.add(attribute, "must not be empty");
        } else if text.len() > max_bytes {
            self.add(attribute, format!("is longer than {max_bytes} bytes"));
        } else {
            self.clean(attribute, text);
        }
    }

    fn clean(&mut self, attribute: &str, text: &str) {
        let clean = syntax::is_clean_text(text);
        self.must(
            attribute,
            clean,
            "must not contain control characters or Unicode noncharacters",
        );
    }

    fn extension(&mut self, name: &str, value: &AttributeValue) {
        if CORE_ATTRIBUTES.contains(&name) || name == "data" {
            self.add(
                name,
                "is a name that CloudEvents keeps for itself: it cannot be an extension",
            );
        } else if !syntax::is_attribute_name(name) || name.len() > EXTENSION_NAME_MAX_BYTES {
            self.add(
                name,
                "is not an attribute name: expected 1 to 64 lower-case letters and digits",
            );
        }
        let formatted = matches!(
            name,
            "correlationid" | "causationid" | "partitionkey" | "traceparent" | "expirytime" | "aliases"
        );
        let AttributeValue::String(text) = value else {
            self.must(name, !formatted, "must be a string");
            return;
        };
        self.clean(name, text);
        match name {
            "correlationid" | "causationid" | "partitionkey" => {
                self.required(name, text, IDENTIFIER_MAX_BYTES)
            }
            "traceparent" => {
                if let Err(none) = text.parse::<Traceparent>() {
                    self.must(name, false, &none.to_string());
                }
            }
            "expirytime" => {
                let expected = "must be an RFC 3339 time, such as 2026-01-31T12:00:00Z";
                self.must(name, syntax::timestamp(text).is_some(), expected);
            }
            "aliases" => self.aliases(text),
            _ => {}
        }
    }

    fn aliases(&mut self, text: &str) {
        let valid = text
            .split(' ')
            .all(|alias| syntax::is_alias(alias) && alias.len() <= IDENTIFIER_MAX_BYTES);
        let few = text.split(' ').count() <= ALIASES_MAX;
        let expected = "must be 1 to 100 system:id, each of at most 255 bytes, with single spaces between";
        self.must("aliases", valid && few, expected);
    }
}
