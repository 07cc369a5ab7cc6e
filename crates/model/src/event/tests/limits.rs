//! Every limit is met exactly, in every encoding alike: an event that is accepted in one is accepted in all and is the
//! same, and one that is refused is refused by each at the same places.

use std::collections::BTreeSet;

use super::*;

/// How often a test of large events runs.
const LARGE_CASES: u32 = 8;

/// An event before anybody has looked at it.
#[derive(Clone, Debug)]
struct Raw {
    attributes: BTreeMap<String, AttributeValue>,
    content_type: Option<String>,
    data: Option<Bytes>,
}

/// What each encoding makes of it, the pointers of a batch without their index.
type Verdict = Result<Event, BTreeSet<String>>;

impl Raw {
    fn new() -> Self {
        let required = [
            ("specversion", "1.0"),
            ("id", "1"),
            ("source", "/shop"),
            ("type", "t"),
        ];
        Self {
            attributes: required
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.into()))
                .collect(),
            content_type: None,
            data: None,
        }
    }

    fn with(mut self, name: &str, value: impl Into<AttributeValue>) -> Self {
        self.attributes.insert(name.to_owned(), value.into());
        self
    }

    fn content_type(self, media_type: impl Into<String>) -> Self {
        Self {
            content_type: Some(media_type.into()),
            ..self
        }
    }

    fn data(self, data: impl Into<Bytes>) -> Self {
        Self {
            data: Some(data.into()),
            ..self
        }
    }

    fn structured(&self) -> Vec<u8> {
        let mut members = serde_json::Map::new();
        for (name, value) in &self.attributes {
            members.insert(name.clone(), serde_json::to_value(value).unwrap());
        }
        if let Some(media_type) = &self.content_type {
            members.insert("datacontenttype".to_owned(), media_type.as_str().into());
        }
        let is_json = self
            .content_type
            .as_deref()
            .is_none_or(syntax::is_json_media_type);
        let head = serde_json::to_string(&members).unwrap();
        match &self.data {
            // As it is: a parsed copy would hide repeated keys and the digits of numbers.
            Some(data) if is_json => {
                let data = std::str::from_utf8(data).unwrap();
                format!("{},\"data\":{data}}}", &head[..head.len() - 1]).into_bytes()
            }
            Some(data) => {
                use base64::{Engine as _, prelude::BASE64_STANDARD};
                members.insert("data_base64".to_owned(), BASE64_STANDARD.encode(data).into());
                serde_json::to_vec(&members).unwrap()
            }
            None => head.into_bytes(),
        }
    }

    fn verdicts(&self) -> [Verdict; 3] {
        let seen = |outcome: Result<Event, Faults>, index: &str| {
            outcome.map_err(|Faults(faults)| {
                let pointers = faults.into_iter().map(|fault| fault.pointer);
                pointers
                    .map(|pointer| pointer.strip_prefix(index).unwrap().to_owned())
                    .collect()
            })
        };
        let structured = self.structured();
        let batch = [b"[", structured.as_slice(), b"]"].concat();
        let batch = Event::batch_from_json(&batch).map(|mut events| events.remove(0));
        let binary = Event::from_attributes(
            self.attributes.clone(),
            self.content_type.as_deref(),
            self.data.clone(),
        );
        [
            seen(Event::from_structured(&structured), ""),
            seen(batch, "/0"),
            seen(binary, ""),
        ]
    }

    /// The one verdict of all encodings; an event goes round through each of them.
    #[track_caller]
    fn verdict(&self) -> Verdict {
        let [structured, batch, binary] = self.verdicts();
        assert_eq!(structured, batch);
        assert_eq!(structured, binary);
        if let Ok(event) = &structured {
            assert_eq!(event.validate(), []);
            let text = event.to_structured();
            assert_eq!(&Event::from_structured(&text).unwrap(), event);
            let again = Event::from_attributes(
                event.attributes(),
                event.data_content_type.as_deref(),
                event.data.clone(),
            );
            assert_eq!(&again.unwrap(), event);
        }
        structured
    }

    #[track_caller]
    fn refused(&self) -> Vec<String> {
        self.verdict()
            .expect_err("it is over a limit")
            .into_iter()
            .collect()
    }
}

/// A text of exactly `bytes` bytes of which most are `filler`.
fn text_of(bytes: usize, filler: char) -> String {
    let fillers = bytes / filler.len_utf8();
    let mut text = filler.to_string().repeat(fillers);
    text.push_str(&"a".repeat(bytes - text.len()));
    text
}

fn filler() -> impl Strategy<Value = char> {
    prop_oneof![
        Just('a'),
        Just('"'),
        Just('\\'),
        Just(' '),
        any::<char>().prop_filter("clean", |c| syntax::is_clean_text(&c.to_string())),
    ]
}

/// Texts with a limit of their own: attribute, limit, whether it may hold any character.
const TEXTS: [(&str, usize, bool); 7] = [
    ("id", IDENTIFIER_MAX_BYTES, true),
    ("type", IDENTIFIER_MAX_BYTES, true),
    ("source", REFERENCE_MAX_BYTES, false),
    ("subject", REFERENCE_MAX_BYTES, true),
    ("partitionkey", IDENTIFIER_MAX_BYTES, true),
    ("correlationid", IDENTIFIER_MAX_BYTES, true),
    ("causationid", IDENTIFIER_MAX_BYTES, true),
];

proptest! {
    #[test]
    fn a_text_at_its_limit_passes_and_one_byte_more_does_not(
        (name, limit, any_character) in proptest::sample::select(TEXTS.to_vec()),
        filler in filler(),
    ) {
        let filler = if any_character { filler } else { 'a' };
        let at = |bytes| Raw::new().with(name, text_of(bytes, filler));
        prop_assert!(at(limit).verdict().is_ok());
        prop_assert_eq!(at(limit + 1).refused(), [format!("/{name}")]);
        prop_assert_eq!(Raw::new().with(name, "").refused(), [format!("/{name}")]);
    }

    #[test]
    fn all_encodings_judge_alike(raw in raw()) {
        let _ = raw.verdict();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(LARGE_CASES))]

    #[test]
    fn all_attributes_together_are_met_exactly(filler in filler(), split in 1_usize..EXTENSIONS_MAX) {
        let empty = (0..split).fold(Raw::new(), |raw, number| raw.with(&format!("x{number}"), ""));
        let used = empty.verdict().unwrap().attribute_bytes();
        let at = |bytes: usize| empty.clone().with("x0", text_of(bytes - used, filler));
        prop_assert!(at(ATTRIBUTES_MAX_BYTES).verdict().is_ok());
        prop_assert_eq!(at(ATTRIBUTES_MAX_BYTES + 1).refused(), [""]);
    }

    #[test]
    fn data_at_its_limit_passes_as_any_type(filler in filler(), media_type in proptest::sample::select(vec![
        "text/plain", "text/csv; charset=latin1", "image/png",
    ])) {
        let at = |bytes| Raw::new().content_type(media_type).data(text_of(bytes, filler));
        prop_assert!(at(DATA_MAX_BYTES).verdict().is_ok());
        prop_assert_eq!(at(DATA_MAX_BYTES + 1).refused(), ["/data"]);
    }
}

#[test]
fn numbers_and_names_of_extensions_have_limits() {
    let extensions =
        |number| (0..number).fold(Raw::new(), |raw, index| raw.with(&format!("x{index}"), index));
    assert!(extensions(EXTENSIONS_MAX as i32).verdict().is_ok());
    assert_eq!(extensions(EXTENSIONS_MAX as i32 + 1).refused(), [""]);
    assert_eq!(extensions(5_000).refused(), [""]);
    let named = |bytes| Raw::new().with(&"x".repeat(bytes), 1);
    assert!(named(EXTENSION_NAME_MAX_BYTES).verdict().is_ok());
    let long = format!("/{}", "x".repeat(EXTENSION_NAME_MAX_BYTES + 1));
    assert_eq!(named(EXTENSION_NAME_MAX_BYTES + 1).refused(), [long]);
}

#[test]
fn aliases_have_limits() {
    let aliases = |number: usize| Raw::new().with("aliases", vec!["erp:1"; number].join(" "));
    assert!(aliases(ALIASES_MAX).verdict().is_ok());
    assert_eq!(aliases(ALIASES_MAX + 1).refused(), ["/aliases"]);
    let long = |bytes| Raw::new().with("aliases", text_of(bytes, 'a').replacen("aaaa", "erp:", 1));
    assert!(long(IDENTIFIER_MAX_BYTES).verdict().is_ok());
    assert_eq!(long(IDENTIFIER_MAX_BYTES + 1).refused(), ["/aliases"]);
}

#[test]
fn content_types_are_what_headers_can_carry() {
    let typed = |media_type: String| Raw::new().content_type(media_type).data("{}");
    let long = |bytes: usize| {
        format!(
            "application/json; v={}",
            "1".repeat(bytes - "application/json; v=".len())
        )
    };
    assert!(typed(long(IDENTIFIER_MAX_BYTES)).verdict().is_ok());
    for refused in [
        long(IDENTIFIER_MAX_BYTES + 1),
        "application/json; v=é".to_owned(),
        " application/json".to_owned(),
        "application/json ".to_owned(),
        "application/cloudevents+json".to_owned(),
        "Application/CloudEvents-Batch+JSON; charset=utf-8".to_owned(),
    ] {
        assert_eq!(
            typed(refused.clone()).refused(),
            ["/datacontenttype"],
            "{refused}"
        );
    }
}

#[test]
fn json_data_at_its_limits_passes() {
    let long = |bytes: usize| Raw::new().data(format!("\"{}\"", "x".repeat(bytes - 2)));
    assert!(long(DATA_MAX_BYTES).verdict().is_ok());
    assert_eq!(long(DATA_MAX_BYTES + 1).refused(), ["/data"]);
    let deep = |depth: usize| Raw::new().data("[".repeat(depth) + &"]".repeat(depth));
    assert!(deep(JSON_MAX_DEPTH).verdict().is_ok());
    let [structured, batch, binary] = deep(JSON_MAX_DEPTH + 1).verdicts();
    assert!(structured.is_err() && batch.is_err() && binary.is_err());
}

#[test]
fn times_that_cannot_be_written_in_utc_are_refused() {
    for refused in ["0000-01-01T00:00:00+00:01", "9999-12-31T23:59:00-00:01"] {
        assert_eq!(Raw::new().with("time", refused).refused(), ["/time"]);
        assert_eq!(Raw::new().with("expirytime", refused).refused(), ["/expirytime"]);
    }
    for taken in [
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999999Z",
        "2016-12-31T23:59:60Z",
    ] {
        assert!(Raw::new().with("time", taken).verdict().is_ok(), "{taken}");
    }
    let mut event = Raw::new().verdict().unwrap();
    event.time = Some(DateTime::<Utc>::MAX_UTC);
    assert_eq!(event.validate()[0].pointer, "/time");
}

#[test]
fn an_event_joins_a_trace_if_it_is_in_none_and_has_room() {
    let here = Traceparent::new(7, 8, true).unwrap();
    let plain = || structured(|_| {}).unwrap();
    let mut event = plain();
    event.join_trace(here);
    assert_eq!((event.traceparent(), event.validate()), (Some(here), Vec::new()));

    let there = Traceparent::new(7, 9, true).unwrap();
    event.join_trace(there);
    assert_eq!(event.traceparent(), Some(here));
    event.go_on_in(there);
    assert_eq!(event.traceparent(), Some(there));

    let mut full = plain();
    let room = ATTRIBUTES_MAX_BYTES
        - full.attribute_bytes()
        - "x".len()
        - "traceparent".len()
        - here.to_string().len();
    full.extensions
        .insert("x".to_owned(), "x".repeat(room).as_str().into());
    let mut fuller = full.clone();
    fuller
        .extensions
        .insert("x".to_owned(), "x".repeat(room + 1).as_str().into());
    let mut many = plain();
    many.extensions
        .extend((0..EXTENSIONS_MAX).map(|number| (format!("a{number}"), "1".into())));
    for (mut event, joins) in [(full, true), (fuller, false), (many, false)] {
        event.join_trace(here);
        assert_eq!(
            (event.traceparent().is_some(), event.validate()),
            (joins, Vec::new())
        );
    }
}

/// Attributes that are right as a rule, and sometimes are not.
fn raw() -> impl Strategy<Value = Raw> {
    let names = prop_oneof![
        9 => proptest::sample::select(vec![
            "id", "source", "type", "subject", "time", "dataschema", "correlationid", "causationid",
            "partitionkey", "traceparent", "expirytime", "aliases", "sequence", "x",
        ]).prop_map(str::to_owned),
        1 => "[a-zA-Z0-9 _.é-]{0,70}",
    ];
    let texts = prop_oneof![
        4 => clean_text(20),
        2 => "[a-z]{0,3}:[a-z0-9]{0,9}( [a-z0-9]{1,3}:é)?",
        1 => any::<String>(),
        1 => "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9](\\.[0-9]{1,12})?(Z|[+-][0-2][0-9]:[0-5][0-9])",
        1 => "00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]",
        1 => (250_usize..260, filler()).prop_map(|(bytes, filler)| text_of(bytes, filler)),
        1 => (1020_usize..1030, filler()).prop_map(|(bytes, filler)| text_of(bytes, filler)),
    ];
    let values = prop_oneof![
        8 => texts.prop_map(AttributeValue::String),
        1 => any::<bool>().prop_map(AttributeValue::Boolean),
        1 => any::<i32>().prop_map(AttributeValue::Integer),
    ];
    let attributes = proptest::collection::btree_map(names, values, 0..8);
    (attributes, payload()).prop_map(|(attributes, (content_type, data))| {
        // In structured mode these are not attributes, and in binary mode not of this place.
        let attributes = attributes
            .into_iter()
            .filter(|(name, _)| !matches!(name.as_str(), "data" | "data_base64" | "datacontenttype"));
        let raw = attributes.fold(Raw::new(), |raw, (name, value)| raw.with(&name, value));
        Raw {
            content_type,
            data,
            ..raw
        }
    })
}
