//! The operator's way to the hub: its HTTP API with the operator's key. Knows routes' shapes by the views
//! of the engine and nothing of how they come about.

mod problem;
mod sse;

use std::{
    env, fs, io,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use reqwest::{Method, Response, StatusCode, Url, header};
use serde::{Serialize, de::DeserializeOwned};

pub(crate) use problem::Problem;
pub(crate) use sse::{Message, Parser};

use crate::configuration::{Configuration, reachable};

const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// How long the hub may take for an answer: longer than it waits for RabbitMQ's confirms.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);
/// How often an event that is not in the record yet is asked for.
const RECORD_INTERVAL: Duration = Duration::from_millis(100);
/// How long an event that was just accepted usually needs at most until it is in the record.
pub(crate) const RECORD_PATIENCE: Duration = Duration::from_secs(3);
/// A stream that is silent for longer than this is dead: the hub sends a comment every few seconds.
const STREAM_SILENCE_DEADLINE: Duration = Duration::from_secs(45);

const URL_VARIABLE: &str = "CROSSDOCK_URL";
const KEY_VARIABLE: &str = "CROSSDOCK_API_KEY";

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nobody answers there.
    #[error("no hub answers at {url} ({reason}). Start it with: crossdock up")]
    Unreachable {
        /// The hub's address.
        url: Url,
        /// What the network said.
        reason: String,
    },
    /// The hub did not answer in time or in full.
    #[error("the connection to the hub at {url} broke: {reason}")]
    Broken {
        /// The hub's address.
        url: Url,
        /// What the network said.
        reason: String,
    },
    /// The key was not accepted.
    #[error("the hub at {url} does not accept the key from {origin}: {problem}")]
    Unauthorized {
        /// The hub's address.
        url: Url,
        /// Where the key was taken from.
        origin: String,
        /// What the hub said.
        problem: Box<Problem>,
    },
    /// The hub refuses.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// What answers is not a hub of this version.
    #[error("{url} gave an answer that this version of crossdock does not understand: {reason}")]
    Unexpected {
        /// The hub's address.
        url: Url,
        /// What does not fit.
        reason: String,
    },
}

/// A connection to one hub with one key.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: Url,
    key: Key,
}

#[derive(Clone)]
struct Key {
    text: String,
    origin: String,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key(from {})", self.origin)
    }
}

impl Client {
    /// The hub and the key that the environment names, else those of the local configuration.
    pub(crate) fn from_environment(config: Option<&Path>) -> anyhow::Result<Self> {
        let named_url = variable(URL_VARIABLE);
        let named_key = variable(KEY_VARIABLE);
        let settings = if named_url.is_some() && named_key.is_some() {
            None
        } else {
            Some(Configuration::read(config)?.settings()?.0)
        };
        let url = match (named_url, &settings) {
            (Some(text), _) => parse_url(&text)?,
            (None, Some(settings)) => local_url(settings.http.listen)?,
            (None, None) => bail!("{URL_VARIABLE} is not set"),
        };
        let key = match (named_key, &settings) {
            (Some(text), _) => Key {
                text,
                origin: KEY_VARIABLE.to_owned(),
            },
            (None, Some(settings)) => read_key(&settings.data_dir.join(crate::ADMIN_KEY_FILE))?,
            (None, None) => bail!("{KEY_VARIABLE} is not set"),
        };
        Self::new(url, key)
    }

    fn new(url: Url, key: Key) -> anyhow::Result<Self> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_DEADLINE)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("crossdock/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&url) {
            builder = builder.no_proxy();
        }
        Ok(Self {
            http: builder.build().context("cannot set up TLS")?,
            url,
            key,
        })
    }

    /// `GET` of the route made of `segments`.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        query: &[(&str, String)],
    ) -> Result<T, ClientError> {
        let request = self
            .request(Method::GET, segments)
            .query(query)
            .timeout(ANSWER_DEADLINE);
        self.answer(self.send(request).await?).await
    }

    /// As [`Client::get`], for an event or a journey that may have been sent a moment ago: it is accepted before
    /// it is in the record, so what is not there is asked for again until `patience` is over.
    pub(crate) async fn get_recorded<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        query: &[(&str, String)],
        patience: Duration,
    ) -> Result<T, ClientError> {
        let deadline = Instant::now() + patience;
        loop {
            match self.get(segments, query).await {
                Err(ClientError::Refused(problem))
                    if problem.status == StatusCode::NOT_FOUND && Instant::now() < deadline =>
                {
                    tokio::time::sleep(RECORD_INTERVAL).await;
                }
                answer => return answer,
            }
        }
    }

    /// `POST` of a JSON body.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let request = self
            .request(Method::POST, segments)
            .json(body)
            .timeout(ANSWER_DEADLINE);
        self.answer(self.send(request).await?).await
    }

    /// `PATCH` of a JSON body.
    pub(crate) async fn patch<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let request = self
            .request(Method::PATCH, segments)
            .json(body)
            .timeout(ANSWER_DEADLINE);
        self.answer(self.send(request).await?).await
    }

    /// `POST` without a body.
    pub(crate) async fn post_empty<T: DeserializeOwned>(&self, segments: &[&str]) -> Result<T, ClientError> {
        let request = self.request(Method::POST, segments).timeout(ANSWER_DEADLINE);
        self.answer(self.send(request).await?).await
    }

    /// `DELETE`.
    pub(crate) async fn delete(&self, segments: &[&str]) -> Result<(), ClientError> {
        let request = self.request(Method::DELETE, segments).timeout(ANSWER_DEADLINE);
        self.send(request).await.map(drop)
    }

    /// `DELETE` of what the query names.
    pub(crate) async fn delete_matching(
        &self,
        segments: &[&str],
        query: &[(&str, &str)],
    ) -> Result<(), ClientError> {
        let request = self
            .request(Method::DELETE, segments)
            .query(query)
            .timeout(ANSWER_DEADLINE);
        self.send(request).await.map(drop)
    }

    /// `POST` of a JSON body that is answered with nothing.
    pub(crate) async fn tell(&self, segments: &[&str], body: &impl Serialize) -> Result<(), ClientError> {
        let request = self
            .request(Method::POST, segments)
            .json(body)
            .timeout(ANSWER_DEADLINE);
        self.send(request).await.map(drop)
    }

    /// Sends a batch of structured events, the JSON array `batch`, once.
    pub(crate) async fn post_batch(&self, batch: Bytes) -> Result<(), ClientError> {
        let request = self
            .request(Method::POST, &["v1", "events"])
            .header(header::CONTENT_TYPE, "application/cloudevents-batch+json")
            .body(batch)
            .timeout(ANSWER_DEADLINE);
        self.send(request).await.map(drop)
    }

    /// Opens the stream of accepted events, after the message `last_id` if there is one.
    pub(crate) async fn stream(
        &self,
        query: &[(&str, String)],
        last_id: Option<&str>,
    ) -> Result<Response, ClientError> {
        let mut request = self
            .request(Method::GET, &["v1", "stream"])
            .query(query)
            .header(header::ACCEPT, "text/event-stream");
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        self.begun_within(ANSWER_DEADLINE, request).await
    }

    /// The response to `request` once its head is there; its body may take as long as it likes.
    async fn begun_within(
        &self,
        deadline: Duration,
        request: reqwest::RequestBuilder,
    ) -> Result<Response, ClientError> {
        match tokio::time::timeout(deadline, self.send(request)).await {
            Ok(response) => response,
            Err(_) => Err(self.silent()),
        }
    }

    /// The next bytes of a stream; none when it has ended.
    pub(crate) async fn chunk(&self, stream: &mut Response) -> Result<Option<Bytes>, ClientError> {
        match tokio::time::timeout(STREAM_SILENCE_DEADLINE, stream.chunk()).await {
            Ok(chunk) => chunk.map_err(|error| self.broken(&error)),
            Err(_) => Err(self.silent()),
        }
    }

    fn silent(&self) -> ClientError {
        ClientError::Broken {
            url: self.url.clone(),
            reason: "it fell silent".to_owned(),
        }
    }

    fn request(&self, method: Method, segments: &[&str]) -> reqwest::RequestBuilder {
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        self.http.request(method, url).bearer_auth(&self.key.text)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(|error| {
            if error.is_connect() {
                ClientError::Unreachable {
                    url: self.url.clone(),
                    reason: innermost(&error),
                }
            } else {
                self.broken(&error)
            }
        })?;
        match response.status() {
            status if status.is_success() => Ok(response),
            StatusCode::UNAUTHORIZED => Err(ClientError::Unauthorized {
                url: self.url.clone(),
                origin: self.key.origin.clone(),
                problem: Box::new(Problem::read(response).await),
            }),
            status if status.is_redirection() => Err(ClientError::Unexpected {
                url: self.url.clone(),
                reason: format!("{status}"),
            }),
            _ => Err(ClientError::Refused(Box::new(Problem::read(response).await))),
        }
    }

    async fn answer<T: DeserializeOwned>(&self, response: Response) -> Result<T, ClientError> {
        let body = response.bytes().await.map_err(|error| self.broken(&error))?;
        serde_json::from_slice(&body).map_err(|error| ClientError::Unexpected {
            url: self.url.clone(),
            reason: error.to_string(),
        })
    }

    fn broken(&self, error: &reqwest::Error) -> ClientError {
        ClientError::Broken {
            url: self.url.clone(),
            reason: innermost(error),
        }
    }
}

/// What lies at the bottom of an error: "connection refused" rather than "error sending request".
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    match cause.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => "connection refused".to_owned(),
        _ => cause.to_string(),
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name)
        .ok()
        .map(|value| value.trim().to_owned())
        .filter(|value| !value.is_empty())
}

fn parse_url(text: &str) -> anyhow::Result<Url> {
    let url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.ok_or_else(|| anyhow!("{URL_VARIABLE} is not an address such as http://127.0.0.1:8080"))?;
    // The address is shown in messages.
    if !url.username().is_empty() || url.password().is_some() {
        bail!(
            "{URL_VARIABLE} holds a user or password, which the hub does not know: the key goes into {KEY_VARIABLE}"
        );
    }
    Ok(url)
}

/// Where a hub that listens on `listen` is reached from its own machine.
fn local_url(listen: std::net::SocketAddr) -> anyhow::Result<Url> {
    Ok(Url::parse(&format!("http://{}", reachable(listen)))?)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn read_key(path: &Path) -> anyhow::Result<Key> {
    let origin = path.display().to_string();
    let hint = format!("set {KEY_VARIABLE}, or run this where the hub runs");
    match fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Err(anyhow!("{origin} is empty; {hint}")),
        Ok(text) => Ok(Key {
            text: text.trim().to_owned(),
            origin,
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(anyhow!(
            "no API key: {origin} does not exist. The hub writes it once its first start is through (crossdock up); \
             otherwise {hint}"
        )),
        Err(error) => Err(anyhow!("no API key: cannot read {origin}: {error}; {hint}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn client(url: &str) -> Client {
        Client::new(
            parse_url(url).unwrap(),
            Key {
                text: "cdk_a_b".into(),
                origin: "a test".into(),
            },
        )
        .unwrap()
    }

    #[test]
    fn routes_are_joined_and_escaped() {
        for (base, expected) in [
            ("http://hub:1", "http://hub:1/v1/events/a%2Fb%20c"),
            ("https://hub/shop/", "https://hub/shop/v1/events/a%2Fb%20c"),
        ] {
            let request = client(base)
                .request(Method::GET, &["v1", "events", "a/b c"])
                .build()
                .unwrap();
            assert_eq!(request.url().as_str(), expected);
        }
    }

    #[test]
    fn a_key_is_never_shown() {
        assert!(!format!("{:?}", client("http://hub:1")).contains("cdk_"));
    }

    #[test]
    fn an_address_is_http() {
        for wrong in ["hub:8080", "ftp://hub", "", "http://", "http://me:hunter2@hub"] {
            let error = parse_url(wrong).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(is_loopback(&parse_url("http://[::1]:8080").unwrap()));
        assert!(!is_loopback(&parse_url("http://hub:8080").unwrap()));
    }

    #[tokio::test]
    async fn a_hub_that_takes_a_request_and_says_nothing_is_not_waited_for() {
        let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = client(&format!("http://{}", mute.local_addr().unwrap()));
        let request = client.request(Method::GET, &["v1", "stream"]);
        let error = client
            .begun_within(Duration::from_millis(100), request)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("fell silent"), "{error}");
    }

    #[tokio::test]
    async fn says_plainly_that_no_hub_is_there() {
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let error = client(&format!("http://{free}"))
            .get::<serde_json::Value>(&["v1", "status"], &[])
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("no hub answers at http://{free}/ (connection refused). Start it with: crossdock up")
        );
    }
}
