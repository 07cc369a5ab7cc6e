//! The one HTTP client with which the hub calls servers that others name: webhook endpoints, and whatever else an
//! address in the configuration leads to. It knows nothing of events or adapters.
//!
//! A server that somebody names may be a trap: an address inside the hub's own network, a name that leads there a
//! moment later, a redirect, an answer without an end. So the client looks up names itself, connects only to an
//! address that it has judged ([`addresses`]), follows no redirect, keeps no cookie, uses no proxy of the
//! environment, and bounds every exchange in time and size.

mod addresses;
mod error;
mod resolver;
#[cfg(test)]
mod tests;

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use crossdock_config::IpRange;
pub use reqwest::{Method, StatusCode, Url, header};
use tokio::time::{Instant, timeout_at};
use url::Host;

pub use error::OutboundError;
use resolver::{Guard, GuardedResolver};
pub use resolver::{Lookup, SystemLookup};

/// The largest body of a request: an event of 1 MiB whose text is written in JSON's escapes.
pub const REQUEST_MAX_BYTES: usize = 8 * 1024 * 1024;
/// From the lookup to the end of the TLS handshake.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long a beginning of the body is waited for that the caller can do without.
const PREFIX_PATIENCE: Duration = Duration::from_secs(1);
/// Connections kept open to one host.
const IDLE_PER_HOST_MAX: usize = 32;
/// For how long.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Lines of a response's head.
const HEADERS_MAX: usize = 100;

const USER_AGENT: &str = concat!("Crossdock/", env!("CARGO_PKG_VERSION"));

/// The client. Clones share connections.
#[derive(Clone)]
pub struct Outbound {
    secure: Door,
    plaintext: Door,
}

/// A way out, for one scheme.
#[derive(Clone)]
struct Door {
    client: reqwest::Client,
    guard: Guard,
}

/// What is sent.
pub struct Request {
    /// The method.
    pub method: Method,
    /// `https`, or `http` where the operator allows the address. Without user and password.
    pub url: Url,
    /// Headers beside those that the client sets.
    pub headers: header::HeaderMap,
    /// The body.
    pub body: Bytes,
    /// How long the exchange may take, from the lookup to the end of what is wanted of the response.
    pub timeout: Duration,
    /// What is wanted of the response's body.
    pub wanted: Wanted,
}

/// What is wanted of a response's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// So many bytes at most, as far as they come at once. The status counts without them.
    Beginning(usize),
    /// All of it; more bytes than these are an error, and so is an end that does not come in time.
    Whole(usize),
}

/// What came back.
pub struct Response {
    /// Any status, redirects too.
    pub status: StatusCode,
    /// The headers.
    pub headers: header::HeaderMap,
    /// The body, or its beginning.
    pub body: Bytes,
}

impl Outbound {
    /// A client that calls the public Internet over TLS, and the addresses in `allow` also without.
    ///
    /// TLS trusts the platform's roots, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR` where these are set.
    ///
    /// # Errors
    /// `Tls` when no roots can be found.
    pub fn new(allow: Vec<IpRange>) -> Result<Self, OutboundError> {
        Self::with_lookup(allow, Arc::new(SystemLookup))
    }

    /// The same, asking somebody else for the addresses of names.
    ///
    /// # Errors
    /// As [`Outbound::new`].
    pub fn with_lookup(allow: Vec<IpRange>, lookup: Arc<dyn Lookup>) -> Result<Self, OutboundError> {
        let allow: Arc<[IpRange]> = allow.into();
        let door = |plaintext| {
            let guard = Guard {
                allow: allow.clone(),
                plaintext,
            };
            Door::new(lookup.clone(), guard)
        };
        Ok(Self {
            secure: door(false)?,
            plaintext: door(true)?,
        })
    }

    /// One exchange. Whatever it says, the request may have been carried out, unless it is `Url`, `Refused`,
    /// `Plaintext`, `Dns` or `RequestTooLarge`.
    ///
    /// # Errors
    /// See [`OutboundError`]; a response of any status is none.
    pub async fn send(&self, request: Request) -> Result<Response, OutboundError> {
        let door = match request.url.scheme() {
            "https" => &self.secure,
            "http" => &self.plaintext,
            _ => return Err(OutboundError::Url("expected https:// or http://")),
        };
        check_url(&request.url)?;
        if let Some(address) = literal(&request.url) {
            door.guard.check(address)?;
        }
        if request.body.len() > REQUEST_MAX_BYTES {
            return Err(OutboundError::RequestTooLarge {
                limit: REQUEST_MAX_BYTES,
                actual: request.body.len(),
            });
        }
        door.send(request).await
    }
}

impl Door {
    fn new(lookup: Arc<dyn Lookup>, guard: Guard) -> Result<Self, OutboundError> {
        let resolver = GuardedResolver {
            lookup,
            guard: guard.clone(),
        };
        let client = reqwest::Client::builder()
            .dns_resolver(resolver)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .referer(false)
            .user_agent(USER_AGENT)
            .http1_max_headers(HEADERS_MAX)
            .connect_timeout(CONNECT_MAX)
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
            .build()
            .map_err(|error| OutboundError::Tls(error.without_url().to_string()))?;
        Ok(Self { client, guard })
    }

    async fn send(&self, request: Request) -> Result<Response, OutboundError> {
        let Request {
            method,
            url,
            headers,
            body,
            timeout,
            wanted,
        } = request;
        let deadline = Instant::now() + timeout;
        let sending = self
            .client
            .request(method, url)
            .headers(headers)
            .body(body)
            .send();
        let mut response = timeout_at(deadline, sending)
            .await
            .map_err(|_| OutboundError::TimedOut(timeout))?
            .map_err(|error| OutboundError::of(&error))?;
        let body = match wanted {
            Wanted::Beginning(max_bytes) => {
                let patience = deadline.min(Instant::now() + PREFIX_PATIENCE);
                beginning(&mut response, max_bytes, patience).await
            }
            Wanted::Whole(max_bytes) => timeout_at(deadline, whole(&mut response, max_bytes))
                .await
                .map_err(|_| OutboundError::TimedOut(timeout))??,
        };
        Ok(Response {
            status: response.status(),
            headers: response.headers().clone(),
            body,
        })
    }
}

fn check_url(url: &Url) -> Result<(), OutboundError> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err(OutboundError::Url("expected no user or password in it"));
    }
    if url.host().is_none() {
        return Err(OutboundError::Url("expected a host in it"));
    }
    Ok(())
}

/// The address that a URL names as its host, in whatever notation: the client would not look it up.
fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

/// What comes of the body until `patience` ends, cut at `max_bytes`. The rest is never read.
async fn beginning(response: &mut reqwest::Response, max_bytes: usize, patience: Instant) -> Bytes {
    let mut body = BytesMut::new();
    while body.len() < max_bytes {
        match timeout_at(patience, response.chunk()).await {
            Ok(Ok(Some(chunk))) => {
                let room = max_bytes - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            }
            _ => break,
        }
    }
    body.freeze()
}

async fn whole(response: &mut reqwest::Response, max_bytes: usize) -> Result<Bytes, OutboundError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| OutboundError::of(&error))?
    {
        if body.len() + chunk.len() > max_bytes {
            return Err(OutboundError::ResponseTooLarge(max_bytes));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Names the request without what may be secret: path, query, headers and body.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("host", &self.url.host_str())
            .field("body_bytes", &self.body.len())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
