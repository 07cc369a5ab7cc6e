//! Why an exchange with a stranger's server did not come about, sorted by what can be done about it. No sentence
//! holds more of the URL than its host: path and query may hold a key.

use std::{error::Error, io, net::IpAddr, time::Duration};

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// The URL is none that the hub calls, whatever it leads to.
    #[error("this address cannot be called: {0}")]
    Url(&'static str),
    /// It leads to an address that is not of the public Internet, and the operator does not allow it.
    #[error("{address} is not called: it is {kind}, and no range under `allow` in [outbound] covers it")]
    Refused {
        /// The address.
        address: IpAddr,
        /// What it is.
        kind: &'static str,
    },
    /// It would go in clear over the public Internet.
    #[error(
        "{address} is not called over plain http://, expected https://, or a range under `allow` in [outbound] \
         that covers it"
    )]
    Plaintext {
        /// The address.
        address: IpAddr,
    },
    /// The name of the host has no address.
    #[error("no address is known for the host: {0}")]
    Dns(String),
    /// No connection came about, or it broke.
    #[error("no connection: {0}")]
    Connect(String),
    /// The server's certificate is not to be trusted, or the two do not understand each other.
    #[error("TLS: {0}")]
    Tls(String),
    /// The whole exchange took too long.
    #[error("no answer within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    /// The request is larger than any that is sent.
    #[error("a request of {actual} bytes, where {limit} are allowed")]
    RequestTooLarge {
        /// In bytes.
        limit: usize,
        /// In bytes.
        actual: usize,
    },
    /// The response is larger than the caller wants it.
    #[error("a response of more than {0} bytes")]
    ResponseTooLarge(usize),
    /// What came is no HTTP response, or only a part of one.
    #[error("no proper answer: {0}")]
    Protocol(String),
}

impl OutboundError {
    /// What an error of the client means. A refusal of ours is found again inside it.
    pub(super) fn of(error: &reqwest::Error) -> Self {
        let causes = || std::iter::successors(Error::source(error), |cause| (*cause).source());
        if let Some(ours) = causes().find_map(|cause| cause.downcast_ref::<Self>()) {
            return ours.clone();
        }
        if let Some(tls) = causes().find_map(tls) {
            return Self::Tls(tls.to_string());
        }
        let root = causes().last().map_or_else(
            || "the connection ended".to_owned(),
            |root| {
                let refused = root.downcast_ref::<io::Error>().map(io::Error::kind);
                match refused {
                    Some(io::ErrorKind::ConnectionRefused) => "connection refused".to_owned(),
                    _ => root.to_string(),
                }
            },
        );
        if error.is_connect() && error.is_timeout() {
            Self::Connect("it took too long".to_owned())
        } else if error.is_connect() || is_broken(causes()) {
            Self::Connect(root)
        } else {
            Self::Protocol(root)
        }
    }
}

/// An error of TLS, which may be wrapped into errors of input and output.
fn tls<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    match cause.downcast_ref::<io::Error>() {
        Some(wrapper) => tls(wrapper.get_ref()?),
        None => cause.downcast_ref(),
    }
}

/// Whether the connection itself failed; an end that came too early is the server's fault.
fn is_broken<'a>(mut causes: impl Iterator<Item = &'a (dyn Error + 'static)>) -> bool {
    causes.any(|cause| {
        let failed = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        failed.is_some_and(|kind| kind != io::ErrorKind::UnexpectedEof)
    })
}
