//! Where RabbitMQ is and how to reach it: the `amqp://` or `amqps://` URL, taken apart once, and
//! connections made from it. It knows nothing of exchanges and queues.
//!
//! The URL follows <https://www.rabbitmq.com/docs/uri-spec> and
//! <https://www.rabbitmq.com/docs/uri-query-parameters>.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use url::{Host, Url};

use crate::error::BusError;
use crate::message::SHORT_STRING_MAX_BYTES;

const HEARTBEAT_S: u16 = 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const AMQP_PORT: u16 = 5672;
const AMQPS_PORT: u16 = 5671;

/// One RabbitMQ, one vhost and one user. Cheap to clone; connects only when asked to.
///
/// `amqps` trusts the platform's roots, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR` where these
/// are set, and the certificates in the PEM file that the parameter `cacertfile` names.
#[derive(Clone, PartialEq, Eq)]
pub struct Broker {
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) vhost: String,
    pub(crate) heartbeat_s: u16,
    pub(crate) connect_timeout: Duration,
    pub(crate) ca_file: Option<PathBuf>,
}

impl Broker {
    /// Takes `url` apart: `amqp[s]://[user[:password]@]host[:port][/vhost]`, with the parameters
    /// `heartbeat` (seconds), `connection_timeout` (milliseconds) and `cacertfile` (a path). No
    /// vhost, or an empty one, means `/`.
    ///
    /// # Errors
    /// [`BusError::Url`], which never repeats the password.
    pub fn new(url: &str) -> Result<Self, BusError> {
        let parsed = Url::parse(url).map_err(|error| BusError::Url(error.to_string()))?;
        let tls = match parsed.scheme() {
            "amqp" => false,
            "amqps" => true,
            _ => return Err(BusError::Url("it must begin with amqp:// or amqps://".into())),
        };
        let host = match parsed.host() {
            Some(Host::Domain(name)) => decoded(name)?,
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return Err(BusError::Url("it names no host".into())),
        };
        let vhost = decoded(parsed.path().strip_prefix('/').unwrap_or_default())?;
        if vhost.len() > SHORT_STRING_MAX_BYTES {
            return Err(BusError::Url(format!(
                "the vhost is longer than {SHORT_STRING_MAX_BYTES} bytes"
            )));
        }
        let mut broker = Self {
            tls,
            host,
            port: parsed.port().unwrap_or(if tls { AMQPS_PORT } else { AMQP_PORT }),
            user: non_empty(decoded(parsed.username())?, "guest"),
            password: decoded(parsed.password().unwrap_or("guest"))?,
            vhost: non_empty(vhost, "/"),
            heartbeat_s: HEARTBEAT_S,
            connect_timeout: CONNECT_TIMEOUT,
            ca_file: None,
        };
        for (name, value) in parsed.query_pairs() {
            match name.as_ref() {
                "heartbeat" => broker.heartbeat_s = number(&name, &value)?,
                "connection_timeout" => {
                    broker.connect_timeout = Duration::from_millis(number(&name, &value)?);
                }
                "cacertfile" => broker.ca_file = Some(value.as_ref().into()),
                _ => {
                    return Err(BusError::Url(format!(
                        "the parameter {name} is not known; known are heartbeat, connection_timeout and cacertfile"
                    )));
                }
            }
        }
        Ok(broker)
    }

    /// `host:port`, an IPv6 address in brackets.
    pub fn host_port(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The RabbitMQ user.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The vhost.
    pub fn vhost(&self) -> &str {
        &self.vhost
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("tls", &self.tls)
            .field("host_port", &self.host_port())
            .field("user", &self.user)
            .field("vhost", &self.vhost)
            .finish_non_exhaustive()
    }
}

fn decoded(text: &str) -> Result<String, BusError> {
    let text = percent_decode_str(text).decode_utf8();
    Ok(text
        .map_err(|_| BusError::Url("a percent-encoded part is not UTF-8".into()))?
        .into_owned())
}

fn non_empty(text: String, default: &str) -> String {
    if text.is_empty() { default.to_owned() } else { text }
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, BusError> {
    value
        .parse()
        .map_err(|_| BusError::Url(format!("{name} must be a whole number that fits, not {value:?}")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let broker = Broker::new(
            "amqps://erp.1:p%40ss%2F@broker.example:5555/my%2Fshop?heartbeat=5&cacertfile=/etc/ca.pem",
        )
        .unwrap();
        assert!(broker.tls);
        assert_eq!(broker.host_port(), "broker.example:5555");
        assert_eq!(broker.user(), "erp.1");
        assert_eq!(broker.password, "p@ss/");
        assert_eq!(broker.vhost(), "my/shop");
        assert_eq!(broker.heartbeat_s, 5);
        assert_eq!(broker.ca_file, Some("/etc/ca.pem".into()));
    }

    #[test]
    fn what_is_left_out_has_the_usual_values() {
        for url in [
            "amqp://localhost",
            "amqp://localhost/",
            "amqp://localhost/%2F",
            "amqp://guest:guest@localhost:5672",
        ] {
            let broker = Broker::new(url).unwrap();
            assert_eq!(
                broker,
                Broker::new("amqp://guest:guest@localhost:5672/%2f").unwrap(),
                "{url}"
            );
        }
        assert_eq!(Broker::new("amqps://[::1]/").unwrap().host_port(), "[::1]:5671");
    }

    #[test]
    fn a_url_that_cannot_be_used_is_refused_without_its_password() {
        for url in [
            "http://u:secret@localhost",
            "amqp:/u:secret@",
            "amqp://u:secret@localhost/?verify=verify_none",
            "amqp://u:secret@localhost/?heartbeat=-1",
            "amqp://u:secret%ff@localhost/",
            "u:secret@localhost",
        ] {
            let refusal = Broker::new(url).unwrap_err().to_string();
            assert!(!refusal.contains("secret"), "{refusal}");
        }
        assert!(!format!("{:?}", Broker::new("amqp://u:secret@localhost").unwrap()).contains("secret"));
    }
}
