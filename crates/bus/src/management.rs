//! RabbitMQ's management API: what queues hold and who consumes them, users
//! and their rights, connections, alarms. It speaks HTTP to one broker about
//! one vhost; what the queues and users mean to the hub is not known here.
//!
//! The API is described by RabbitMQ itself at `<management url>/api/`.

use std::fmt;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use url::Url;

use crate::error::BusError;

mod answers;
mod statistics;

pub use answers::{
    Alarm, BindingInfo, ConsumerInfo, ExchangeInfo, FeatureFlag, Overview, Permissions, QueueInfo, QueueKind,
    UserInfo,
};
use answers::{ErrorAnswer, NodeAnswer, OverviewAnswer, QueueAnswer};
pub use statistics::{Depth, Rates};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Everything but the characters that RFC 3986 leaves unreserved.
const PATH_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

const QUEUE_COLUMNS: &str = "name,type,durable,messages_ready,messages_unacknowledged,consumers,\
     arguments,policy,effective_policy_definition,consumer_details";

/// What is asked for beside it where statistics are wanted, and over which time in seconds.
const STATISTICS_COLUMNS: &str = ",message_stats.publish_details.rate,message_stats.deliver_get_details.rate,\
     message_stats.ack_details.rate,messages_details.samples\
     &lengths_age=600&lengths_incr=10&msg_rates_age=60&msg_rates_incr=5";

/// A client of one broker's management API, for one vhost and as one user.
#[derive(Clone)]
pub struct Management {
    client: reqwest::Client,
    base: String,
    vhost: String,
    user: String,
    password: String,
}

impl fmt::Debug for Management {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Management")
            .field("base", &self.base)
            .field("vhost", &self.vhost)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Management {
    /// A client for the API at `url` (`http` or `https`, a path prefix is kept),
    /// asking about `vhost` as `user`. Connects with the first request.
    ///
    /// # Errors
    /// [`BusError::Url`] when `url` is not an HTTP address.
    pub fn new(url: &str, vhost: &str, user: &str, password: &str) -> Result<Self, BusError> {
        let mut base = http_url(url)?;
        // Both fail only for addresses without a host, which `http_url` refuses.
        let _ = base.set_username("");
        let _ = base.set_password(None);
        base.set_query(None);
        base.set_fragment(None);
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| BusError::Url(describe(error)))?;
        Ok(Self {
            client,
            base: base.as_str().trim_end_matches('/').to_owned(),
            vhost: vhost.to_owned(),
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }

    /// A client for the API at `management_url`, asking about the vhost that
    /// `broker_url` (`amqp` or `amqps`) names. User and password are those of
    /// `management_url` where it has some, else those of `broker_url`, else guest's.
    ///
    /// # Errors
    /// [`BusError::Url`] when either is not such an address.
    pub fn for_broker(management_url: &str, broker_url: &str) -> Result<Self, BusError> {
        let broker = Url::parse(broker_url)
            .ok()
            .filter(|url| matches!(url.scheme(), "amqp" | "amqps"))
            .ok_or_else(|| BusError::Url("the broker's address must be amqp:// or amqps://".into()))?;
        let vhost = match broker.path() {
            "" | "/" => "/".to_owned(),
            path => decoded(&path[1..]),
        };
        let management = http_url(management_url)?;
        let (user, password) = user_info(&management)
            .or_else(|| user_info(&broker))
            .unwrap_or_else(|| ("guest".into(), "guest".into()));
        Self::new(management_url, &vhost, &user, &password)
    }

    /// The vhost asked about.
    #[must_use]
    pub fn vhost(&self) -> &str {
        &self.vhost
    }

    /// The user asking.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The broker's version, name and alarms.
    ///
    /// # Errors
    /// See [`BusError`]; the user needs the tag `monitoring` or `administrator`.
    pub async fn overview(&self) -> Result<Overview, BusError> {
        let overview: OverviewAnswer = self.get("/overview").await?;
        let nodes: Vec<NodeAnswer> = self.get("/nodes").await?;
        Ok(Overview::of(overview, nodes))
    }

    /// Every queue of the vhost. Counts are as old as the broker's statistics
    /// interval, five seconds unless it is configured otherwise.
    ///
    /// # Errors
    /// See [`BusError`].
    pub async fn queues(&self) -> Result<Vec<QueueInfo>, BusError> {
        self.queues_with("").await
    }

    /// The same with their rates, and their depths over the last ten minutes, as far as the broker keeps
    /// statistics of them. That makes the answer several times as long.
    ///
    /// # Errors
    /// See [`BusError`].
    pub async fn queues_with_statistics(&self) -> Result<Vec<QueueInfo>, BusError> {
        self.queues_with(STATISTICS_COLUMNS).await
    }

    async fn queues_with(&self, more_columns: &str) -> Result<Vec<QueueInfo>, BusError> {
        let vhost = encoded(&self.vhost);
        let path = format!("/queues/{vhost}?columns={QUEUE_COLUMNS}{more_columns}");
        let queues: Vec<QueueAnswer> = self.get(&path).await?;
        let consumers: Vec<ConsumerInfo> = self.get(&format!("/consumers/{vhost}")).await?;
        let mut queues: Vec<QueueInfo> = queues.into_iter().map(QueueInfo::from).collect();
        for consumer in consumers.iter().filter(|consumer| !consumer.ack_required) {
            if let Some(queue) = queues.iter_mut().find(|queue| queue.name == consumer.queue) {
                queue.auto_ack_consumers.push(consumer.tag.clone());
            }
        }
        Ok(queues)
    }

    /// One queue, or `None` when the vhost has none of that name.
    ///
    /// # Errors
    /// See [`BusError`].
    pub async fn queue(&self, name: &str) -> Result<Option<QueueInfo>, BusError> {
        let path = format!("/queues/{}/{}", encoded(&self.vhost), encoded(name));
        let queue: Option<QueueAnswer> = found(self.get(&path).await)?;
        Ok(queue.map(QueueInfo::from))
    }

    /// One exchange, or `None` when the vhost has none of that name.
    ///
    /// # Errors
    /// See [`BusError`].
    pub async fn exchange(&self, name: &str) -> Result<Option<ExchangeInfo>, BusError> {
        let path = format!("/exchanges/{}/{}", encoded(&self.vhost), encoded(name));
        found(self.get(&path).await)
    }

    /// Every binding of the vhost, the default exchange's among them.
    ///
    /// # Errors
    /// See [`BusError`].
    pub async fn bindings(&self) -> Result<Vec<BindingInfo>, BusError> {
        self.get(&format!("/bindings/{}", encoded(&self.vhost))).await
    }

    /// Every user of the broker, whatever the vhost.
    ///
    /// # Errors
    /// See [`BusError`].
    pub async fn users(&self) -> Result<Vec<UserInfo>, BusError> {
        self.get("/users").await
    }

    /// Makes the user, or gives it this password and these tags. Connections it has stay open.
    ///
    /// # Errors
    /// See [`BusError`].
    pub async fn put_user(&self, name: &str, password: &str, tags: &[&str]) -> Result<(), BusError> {
        let body = json!({ "password": password, "tags": tags.join(",") });
        self.send(Method::PUT, &format!("/users/{}", encoded(name)), Some(&body))
            .await
    }

    /// Deletes the user; RabbitMQ closes its connections. No such user: nothing to do.
    ///
    /// # Errors
    /// See [`BusError`].
    pub async fn delete_user(&self, name: &str) -> Result<(), BusError> {
        self.delete(&format!("/users/{}", encoded(name))).await
    }

    /// What the user may do in the vhost, or `None` when it may not enter.
    ///
    /// # Errors
    /// See [`BusError`].
    pub async fn permissions(&self, user: &str) -> Result<Option<Permissions>, BusError> {
        found(self.get(&self.permissions_path(user)).await)
    }

    /// Lets the user into the vhost with exactly these rights.
    ///
    /// # Errors
    /// See [`BusError`]; an unknown user is refused with 400.
    pub async fn set_permissions(&self, user: &str, permissions: &Permissions) -> Result<(), BusError> {
        self.send(Method::PUT, &self.permissions_path(user), Some(permissions))
            .await
    }

    /// Closes every connection the user has; `reason` is told to its clients.
    ///
    /// # Errors
    /// See [`BusError`].
    pub async fn close_connections(&self, user: &str, reason: &str) -> Result<(), BusError> {
        let path = format!("/connections/username/{}", encoded(user));
        let request = self.request(Method::DELETE, &path).header("X-Reason", reason);
        found(exchange(request).await).map(drop)
    }

    /// Every vhost of the broker.
    ///
    /// # Errors
    /// See [`BusError`].
    pub async fn vhosts(&self) -> Result<Vec<String>, BusError> {
        let vhosts: Vec<answers::Named> = self.get("/vhosts?columns=name").await?;
        Ok(vhosts.into_iter().map(|vhost| vhost.name).collect())
    }

    /// Makes the vhost asked about, if there is none yet.
    ///
    /// # Errors
    /// See [`BusError`].
    pub async fn put_vhost(&self) -> Result<(), BusError> {
        self.send(Method::PUT, &self.vhost_path(), Some(&json!({}))).await
    }

    /// Deletes the vhost asked about with all that is in it. No such vhost: nothing to do.
    ///
    /// # Errors
    /// See [`BusError`].
    pub async fn delete_vhost(&self) -> Result<(), BusError> {
        self.delete(&self.vhost_path()).await
    }

    /// The same broker and user, asking about another vhost.
    #[must_use]
    pub fn with_vhost(&self, vhost: &str) -> Self {
        Self {
            vhost: vhost.to_owned(),
            ..self.clone()
        }
    }

    /// The broker's feature flags (<https://www.rabbitmq.com/docs/feature-flags>).
    ///
    /// # Errors
    /// See [`BusError`].
    pub async fn feature_flags(&self) -> Result<Vec<FeatureFlag>, BusError> {
        self.get("/feature-flags").await
    }

    /// Enables a feature flag, for good: RabbitMQ cannot disable one.
    ///
    /// # Errors
    /// See [`BusError`].
    pub async fn enable_feature_flag(&self, name: &str) -> Result<(), BusError> {
        let path = format!("/feature-flags/{}/enable", encoded(name));
        self.send(Method::PUT, &path, Some(&json!({ "name": name })))
            .await
    }

    fn permissions_path(&self, user: &str) -> String {
        format!("/permissions/{}/{}", encoded(&self.vhost), encoded(user))
    }

    fn vhost_path(&self) -> String {
        format!("/vhosts/{}", encoded(&self.vhost))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("{}/api{path}", self.base))
            .basic_auth(&self.user, Some(&self.password))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, BusError> {
        let body = exchange(self.request(Method::GET, path)).await?;
        serde_json::from_slice(&body)
            .map_err(|error| BusError::Unavailable(format!("its answer to {path} makes no sense: {error}")))
    }

    async fn send(&self, method: Method, path: &str, body: Option<&impl Serialize>) -> Result<(), BusError> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(body);
        }
        exchange(request).await.map(drop)
    }

    async fn delete(&self, path: &str) -> Result<(), BusError> {
        found(exchange(self.request(Method::DELETE, path)).await).map(drop)
    }
}

async fn exchange(request: RequestBuilder) -> Result<Vec<u8>, BusError> {
    let unavailable = |error| BusError::Unavailable(describe(error));
    let response = request.send().await.map_err(unavailable)?;
    let status = response.status();
    let body = response.bytes().await.map_err(unavailable)?;
    if status.is_success() {
        return Ok(body.to_vec());
    }
    let reason = serde_json::from_slice::<ErrorAnswer>(&body)
        .map(|answer| answer.to_string())
        .unwrap_or_else(|_| status.canonical_reason().unwrap_or("no reason given").into());
    if status.is_server_error() {
        return Err(BusError::Unavailable(format!("{status}: {reason}")));
    }
    Err(BusError::Refused {
        code: status.as_u16(),
        reason,
    })
}

fn is_not_found(error: &BusError) -> bool {
    matches!(error, BusError::Refused { code, .. } if *code == StatusCode::NOT_FOUND)
}

fn found<T>(answer: Result<T, BusError>) -> Result<Option<T>, BusError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The error and its causes in one line, without the address, which may hold a password.
fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn http_url(url: &str) -> Result<Url, BusError> {
    Url::parse(url)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| {
            BusError::Url("the management API's address must be http:// or https:// and a host".into())
        })
}

fn user_info(url: &Url) -> Option<(String, String)> {
    let user = Some(url.username()).filter(|user| !user.is_empty())?;
    Some((decoded(user), decoded(url.password().unwrap_or_default())))
}

fn encoded(segment: &str) -> String {
    utf8_percent_encode(segment, PATH_SEGMENT).to_string()
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn takes_vhost_and_user_from_the_brokers_address() {
        let client = Management::for_broker(
            "http://127.0.0.1:15672/",
            "amqp://hub:p%40ss@127.0.0.1:5672/%2fshop",
        )
        .unwrap();
        assert_eq!(client.vhost(), "/shop");
        assert_eq!(client.user(), "hub");
        assert_eq!(client.password, "p@ss");
        assert_eq!(client.base, "http://127.0.0.1:15672");
        assert_eq!(client.vhost_path(), "/vhosts/%2Fshop");
    }

    #[test]
    fn a_broker_address_without_path_means_the_default_vhost() {
        for broker in ["amqp://localhost", "amqp://localhost/", "amqp://localhost/%2F"] {
            let client = Management::for_broker("http://localhost:15672", broker).unwrap();
            assert_eq!(client.vhost(), "/", "{broker}");
            assert_eq!(client.user(), "guest");
        }
    }

    #[test]
    fn the_management_addresss_own_user_wins_and_a_path_prefix_stays() {
        let client = Management::for_broker(
            "https://ops:secret@broker.example/rabbit/",
            "amqps://hub:other@broker.example/v",
        )
        .unwrap();
        assert_eq!(client.user(), "ops");
        assert_eq!(client.password, "secret");
        assert_eq!(client.base, "https://broker.example/rabbit");
    }

    #[test]
    fn debug_output_keeps_the_password_to_itself() {
        let client = Management::new("http://localhost", "/", "hub", "hunter2").unwrap();
        assert!(!format!("{client:?}").contains("hunter2"));
    }

    #[test]
    fn other_addresses_are_refused() {
        assert!(Management::new("ftp://localhost", "/", "u", "p").is_err());
        assert!(Management::for_broker("http://localhost", "http://localhost").is_err());
    }

    #[tokio::test]
    async fn nobody_listening_is_unavailable() {
        let client = Management::new("http://127.0.0.1:1", "/", "u", "p").unwrap();
        let error = client.users().await.unwrap_err();
        assert!(matches!(error, BusError::Unavailable(_)), "{error}");
    }
}
