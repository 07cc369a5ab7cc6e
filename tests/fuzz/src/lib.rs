//! What every target asks of what it got: that a refusal can be understood, and that an event is the
//! same in every encoding.

use std::sync::LazyLock;

use crossdock_bus::message::{Outgoing, decode_event, encode_event};
use crossdock_model::event::{Event, POINTER_MAX_BYTES};
use crossdock_model::fault::{Fault, Faults};
use crossdock_model::schema::SchemaSet;

/// Faults named of one document, with room for what several checks find.
const FAULTS_MAX: usize = 1_000;
/// Words about one fault. Some quote a member's name, which is as long as its sender likes.
const MESSAGE_MAX_BYTES: usize = 2_000;

static SCHEMAS: LazyLock<SchemaSet> = LazyLock::new(SchemaSet::builtin);

/// A refusal names at least one fault, and each has a pointer (RFC 6901) and words.
pub fn assert_refused(Faults(faults): &Faults) {
    assert!(!faults.is_empty());
    assert_sound(faults);
}

/// Faults that a person can read and find.
pub fn assert_sound(faults: &[Fault]) {
    assert!(faults.len() <= FAULTS_MAX, "{} faults", faults.len());
    for Fault { pointer, message } in faults {
        assert!(pointer.is_empty() || pointer.starts_with('/'), "{pointer:?}");
        let mut escapes = pointer.split('~').skip(1);
        assert!(escapes.all(|rest| rest.starts_with(['0', '1'])), "{pointer:?}");
        assert!(pointer.len() <= 2 * POINTER_MAX_BYTES, "{} bytes", pointer.len());
        assert!(!message.is_empty() && message.len() <= MESSAGE_MAX_BYTES, "{message:?}");
    }
}

/// An event that was accepted is valid, fits into a message, and comes out of every encoding as it
/// went in; of JSON data all but the blanks around it.
pub fn assert_goes_round(event: &Event) {
    assert_eq!(event.validate(), []);
    let mut trimmed = event.clone();
    if trimmed.is_json() {
        trimmed.data = trimmed.data.map(|data| {
            let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
            let start = data.iter().position(|byte| !blank(byte)).unwrap_or_default();
            let end = data.iter().rposition(|byte| !blank(byte)).map_or(0, |last| last + 1);
            data.slice(start..end)
        });
    }
    let structured = event.to_structured();
    assert_eq!(Event::from_structured(&structured).as_ref(), Ok(&trimmed));
    let batch = [b"[", structured.as_slice(), b"]"].concat();
    assert_eq!(Event::batch_from_json(&batch).as_deref(), Ok([trimmed].as_slice()));

    let binary = Event::from_attributes(
        event.attributes(),
        event.data_content_type.as_deref(),
        event.data.clone(),
    );
    assert_eq!(binary.as_ref(), Ok(event));
    let (properties, body) = encode_event(event);
    assert_eq!(decode_event(&properties, &body).as_ref(), Ok(event));
    let message = Outgoing {
        routing_key: event.partition_key().into_owned(),
        properties,
        body,
        ..Outgoing::default()
    };
    assert_eq!(message.check_size(), Ok(()));

    if let Err(faults) = SCHEMAS.validate(event) {
        assert_refused(&Faults(faults));
    }
}
