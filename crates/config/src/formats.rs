//! The formats of texts that the schemas name under `format`, and what is said of a text that is
//! not of its format.

use std::net::SocketAddr;

use crossdock_model::name::{ADAPTER_NAME_MAX_BYTES, is_adapter_name};
use crossdock_model::types::is_valid_type;
use crossdock_model::{AttributeValue, Event, TypePattern};
use url::Url;

use crate::delay;
use crate::network::IpRange;
use crate::topic::TopicTemplate;
use crate::topics::{self, ClaimTemplate};

/// Judges a text; the error says what is wrong and what was expected.
pub(crate) type Judge = fn(&str) -> Result<(), String>;

/// Every format that the schemas use. The URLs may hold passwords, so their judges repeat nothing.
pub(crate) const FORMATS: [(&str, Judge); 17] = [
    ("adapter-name", adapter_name),
    ("amqp-url", amqp_url),
    ("database-url", database_url),
    ("delay", |text| delay::parse(text).map(drop)),
    ("event-source", event_source),
    ("event-type", event_type),
    ("event-type-pattern", |text| {
        text.parse::<TypePattern>()
            .map(drop)
            .map_err(|error| error.to_string())
    }),
    ("http-url", http_url),
    ("ip-range", |text| {
        text.parse::<IpRange>()
            .map(drop)
            .map_err(|error| error.to_string())
    }),
    ("issuer-name", issuer_name),
    ("topic-filter", |text| {
        topics::readable_filter(text).map(drop).map_err(|reason| {
            format!("{text:?} is not a topic filter, such as \"state/order/#\": it {reason}")
        })
    }),
    ("claim-template", |text| {
        text.parse::<ClaimTemplate>()
            .map(drop)
            .map_err(|error| error.to_string())
    }),
    ("lifetime", |text| delay::parse_lifetime(text).map(drop)),
    ("socket-address", socket_address),
    ("topic-template", |text| text.parse::<TopicTemplate>().map(drop)),
    ("origin", origin),
    ("webhook-url", webhook_url),
];

/// The judge of the format called `name`.
pub(crate) fn judge(name: &str) -> Option<Judge> {
    FORMATS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, judge)| *judge)
}

fn adapter_name(text: &str) -> Result<(), String> {
    expect(is_adapter_name(text), || {
        format!(
            "{text:?} is not an adapter name, expected 1 to {ADAPTER_NAME_MAX_BYTES} lower-case letters, digits and \
             hyphens, such as \"erp-2\""
        )
    })
}

fn issuer_name(text: &str) -> Result<(), String> {
    expect(is_adapter_name(text), || {
        format!(
            "{text:?} is not an issuer's name, expected 1 to {ADAPTER_NAME_MAX_BYTES} lower-case letters, digits and \
             hyphens, such as \"accounts\""
        )
    })
}

fn event_type(text: &str) -> Result<(), String> {
    expect(is_valid_type(text), || {
        format!(
            "{text:?} is not an event type, expected <family>.<past tense>.v<n>, such as \"order.placed.v1\""
        )
    })
}

/// What an event may carry as its `source`, by the rules of the events themselves.
fn event_source(text: &str) -> Result<(), String> {
    let attributes = [
        ("specversion", "1.0"),
        ("id", "1"),
        ("type", "order.placed.v1"),
        ("source", text),
    ];
    let attributes =
        attributes.map(|(name, value)| (name.to_owned(), AttributeValue::String(value.to_owned())));
    expect(Event::from_attributes(attributes, None, None).is_ok(), || {
        format!("{text:?} is not a CloudEvents source, expected a URI reference, such as \"/erp\"")
    })
}

fn socket_address(text: &str) -> Result<(), String> {
    expect(text.parse::<SocketAddr>().is_ok(), || {
        format!(
            "{text:?} is not a listening address, expected an IP address and a port, such as \"127.0.0.1:8080\""
        )
    })
}

fn amqp_url(text: &str) -> Result<(), String> {
    expect(is_url_of(text, &["amqp", "amqps"]), || {
        "this is not an AMQP URL, expected amqp://user:password@host:5672/vhost, or amqps:// with TLS"
            .to_owned()
    })
}

fn http_url(text: &str) -> Result<(), String> {
    expect(is_url_of(text, &["http", "https"]), || {
        "this is not a web address, expected http://host:port or https://host".to_owned()
    })
}

/// What a browser says of where a page is from: in small letters, and without the port that the scheme has anyway.
fn origin(text: &str) -> Result<(), String> {
    let url = Url::parse(text)
        .ok()
        .filter(|_| is_url_of(text, &["http", "https"]));
    let said = url.as_ref().map(|url| url.origin().ascii_serialization());
    if said.as_deref() == Some(text) {
        return Ok(());
    }
    match url.zip(said).filter(|(url, _)| is_bare(url, text)) {
        Some((_, said)) => Err(format!(
            "no browser says {text:?} of where its page is from, expected {said:?}"
        )),
        None => Err(format!(
            "{text:?} is not an origin, expected scheme, host and port alone, such as \"https://shop.example.com\""
        )),
    }
}

/// Whether it has scheme, host and port alone.
fn is_bare(url: &Url, text: &str) -> bool {
    let rest = text.split_once("://").map_or("", |(_, rest)| rest);
    url.username().is_empty() && url.password().is_none() && !rest.contains(['/', '?', '#', '\\', '@'])
}

/// An address to post to. What it asks for beside the path may be a key of the endpoint's; a user and password would
/// be sent nowhere.
fn webhook_url(text: &str) -> Result<(), String> {
    http_url(text)?;
    let plain = |url: Url| url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    expect(Url::parse(text).is_ok_and(plain), || {
        "this address holds a user, a password or a fragment, expected none of these".to_owned()
    })
}

fn is_url_of(text: &str, schemes: &[&str]) -> bool {
    Url::parse(text).is_ok_and(|url| schemes.contains(&url.scheme()) && url.has_host())
}

fn database_url(text: &str) -> Result<(), String> {
    let known = match text.split_once("://") {
        Some(("sqlite", path)) => !path.is_empty(),
        // The server may also be named by a parameter: postgres:///name?host=/run/postgresql
        Some(("postgres" | "postgresql", _)) => Url::parse(text).is_ok(),
        _ => false,
    };
    expect(known, || {
        "this is not a database URL, expected sqlite://<path of the file> or \
         postgres://user:password@host:5432/database"
            .to_owned()
    })
}

fn expect(holds: bool, fault: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(fault()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_messages_are_right() {
        for (name, example) in [
            ("adapter-name", "erp-2"),
            ("amqp-url", "amqp://user:password@host:5672/vhost"),
            ("database-url", "sqlite://var/crossdock.db"),
            ("database-url", "postgres://user:password@host:5432/database"),
            ("database-url", "postgresql:///crossdock?host=/run/postgresql"),
            ("delay", "1h30m"),
            ("event-source", "/erp"),
            ("event-source", "urn:example:erp"),
            ("event-type", "order.placed.v1"),
            ("event-type-pattern", "order.*.v1"),
            ("issuer-name", "accounts"),
            ("topic-filter", "state/order/#"),
            ("claim-template", "state/customer/{sub}/#"),
            ("http-url", "http://host:15672"),
            ("ip-range", "10.0.0.0/8"),
            ("lifetime", "30d"),
            ("origin", "https://shop.example.com"),
            ("socket-address", "127.0.0.1:8080"),
            ("topic-template", "state/order/{.data.order}"),
            ("webhook-url", "https://erp.example.com/events?tenant=7"),
        ] {
            assert_eq!(judge(name).map(|judge| judge(example)), Some(Ok(())), "{name}");
        }
    }

    #[test]
    fn a_source_is_what_events_accept() {
        for text in ["", " ", "/a b", "/%zz", "/a#b#c", "1:2", "/é"] {
            assert!(event_source(text).is_err(), "{text:?}");
        }
        assert!(event_source(&format!("/{}", "a".repeat(2_000))).is_err());
    }
}
