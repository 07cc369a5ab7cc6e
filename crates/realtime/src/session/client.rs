//! One session as a state machine: a packet of its client goes in, what has to happen comes out. The
//! CONNECT and the choice of the session are the gateway's; so are routing, and the order that an
//! acknowledgement is sent only once its message is taken.

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::collections::HashMap;

use bytes::Bytes;

use super::{Action, Inbox, Limits, Outbox, Received, Rights};
use crate::why::{NotGranted, Why};
use crate::wire::{
    Incoming, Message, Outgoing, Publish, QoS, Reason, RetainHandling, SubscribeFilter, Version, Will,
};
use crossdock_model::topic::{SEPARATOR, Subscription, TopicName};

/// The most subscriptions of one session.
pub const MAX_SUBSCRIPTIONS: usize = 1_000;
/// The most bytes of all filters of one session.
pub(crate) const MAX_SUBSCRIPTION_BYTES: usize = 256 * 1024;
/// The most levels of all filters of one session: each costs more in the index than its bytes.
pub(crate) const MAX_SUBSCRIPTION_LEVELS: usize = 4_000;
/// The highest topic alias that a client may set (MQTT 5.0, section 3.3.2.3.4).
pub const TOPIC_ALIAS_MAX: u16 = 32;
/// The longest topic that an alias may stand for, in bytes.
pub(crate) const ALIASED_BYTES_MAX: usize = 1_024;
/// Seconds that a session is kept without its client, at most: it is in memory.
pub const SESSION_EXPIRY_MAX_S: u32 = 24 * 60 * 60;

/// What the gateway has to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Write a packet.
    Send(Outgoing),
    /// Route a message, and write `then` once it is taken.
    Publish {
        /// What was published.
        message: Message,
        /// Its acknowledgement.
        then: Option<Outgoing>,
    },
    /// Count a message of QoS 0 that was denied; nobody waits for an answer.
    Denied,
    /// Add to the index, or replace there; `retained`: the states that match are sent.
    Subscribed {
        /// What is subscribed to.
        subscription: Subscription,
        /// How.
        options: Options,
        /// Whether retained messages are due.
        retained: bool,
    },
    /// Remove from the index.
    Unsubscribed(Subscription),
    /// End the connection, after a DISCONNECT where its code is an error.
    End {
        /// Why.
        why: Why,
        /// What is published now, or after its delay.
        will: Option<Will>,
    },
}

/// What a session holds of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The most that is wanted.
    pub qos: QoS,
    /// Whether the client's own messages are left out.
    pub no_local: bool,
    /// Whether the retain flag is passed on as published.
    pub retain_as_published: bool,
    /// What the client calls it.
    pub subscription_id: Option<u32>,
}

/// What holds for one connection of a session.
#[derive(Debug, Clone)]
pub struct Terms {
    /// What is spoken.
    pub version: Version,
    /// Seconds that the session is kept after the connection.
    pub session_expiry_s: u32,
    /// What is published when it ends without a word.
    pub will: Option<Will>,
    /// The most messages of QoS 1 and 2 on their way to the client.
    pub in_flight: u16,
}

/// A session: what it subscribed to, what it sent and what waits for it. Outlives connections.
#[derive(Debug)]
pub struct Client {
    version: Version,
    will: Option<Will>,
    session_expiry_s: u32,
    /// None stands for a topic that was denied.
    aliases: HashMap<u16, Option<TopicName>>,
    inbox: Inbox,
    subscriptions: HashMap<String, Options>,
    filter_bytes: usize,
    filter_levels: usize,
    /// What waits for it and is on its way.
    pub outbox: Outbox,
}

impl Client {
    /// A new session. `receive_maximum` is what the server tells the client.
    #[must_use]
    pub fn new(terms: Terms, receive_maximum: u16, limits: Limits) -> Self {
        let limits = Limits {
            in_flight: terms.in_flight,
            ..limits
        };
        Self {
            version: terms.version,
            will: terms.will,
            session_expiry_s: terms.session_expiry_s.min(SESSION_EXPIRY_MAX_S),
            aliases: HashMap::new(),
            inbox: Inbox::new(receive_maximum),
            subscriptions: HashMap::new(),
            filter_bytes: 0,
            filter_levels: 0,
            outbox: Outbox::new(limits),
        }
    }

    /// A new connection takes the session up: gives what is to be sent first. Aliases and the will are the connection's
    /// (MQTT 5.0, sections 3.1.2.5 and 3.3.2.3.4).
    pub fn resume(&mut self, terms: Terms) -> Vec<Outgoing> {
        self.version = terms.version;
        self.will = terms.will;
        self.session_expiry_s = terms.session_expiry_s.min(SESSION_EXPIRY_MAX_S);
        self.aliases.clear();
        self.outbox.resume(terms.in_flight)
    }

    /// Its connection is over: keeps what the next one needs.
    pub fn suspend(&mut self) {
        self.aliases = HashMap::new();
        self.outbox.suspend();
    }

    /// What its connection speaks, or spoke.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Seconds that the session is kept after its connection, at most [`SESSION_EXPIRY_MAX_S`]; a DISCONNECT may have
    /// changed it.
    #[must_use]
    pub fn session_expiry_s(&self) -> u32 {
        self.session_expiry_s
    }

    /// What it subscribed to, by the text it used.
    pub fn subscriptions(&self) -> impl Iterator<Item = (&str, Options)> {
        self.subscriptions
            .iter()
            .map(|(text, options)| (text.as_str(), *options))
    }

    /// Takes a packet; all that follows from it comes back.
    pub fn handle(&mut self, packet: Incoming, rights: &dyn Rights, now_ms: u64) -> Vec<Effect> {
        match packet {
            Incoming::Connect(_) => vec![self.end(Why::SecondConnect)],
            Incoming::Publish(publish) => vec![self.publish(publish, rights, now_ms)],
            Incoming::PubAck { id } => {
                self.outbox.acknowledged(id, QoS::AtLeastOnce);
                Vec::new()
            }
            Incoming::PubRec { id, refused: true } | Incoming::PubComp { id } => {
                self.outbox.acknowledged(id, QoS::ExactlyOnce);
                Vec::new()
            }
            Incoming::PubRec { id, refused: false } => vec![Effect::Send(self.outbox.received(id))],
            Incoming::PubRel { id } => {
                let known = self.inbox.release(id);
                let reason = if known {
                    Reason::Success
                } else {
                    Reason::PacketIdNotFound
                };
                vec![Effect::Send(Outgoing::PubComp { id, reason })]
            }
            Incoming::Subscribe {
                id,
                filters,
                subscription_id,
            } => self.subscribe(id, filters, subscription_id, rights, now_ms),
            Incoming::Unsubscribe { id, filters } => self.unsubscribe(id, &filters),
            Incoming::PingReq => vec![Effect::Send(Outgoing::PingResp)],
            Incoming::Disconnect {
                with_will,
                session_expiry_s,
            } => {
                vec![self.disconnect(with_will, session_expiry_s)]
            }
        }
    }

    /// Ends the connection; the will is published whatever the reason, but for the client's own goodbye.
    fn end(&mut self, why: Why) -> Effect {
        Effect::End {
            why,
            will: self.take_will(),
        }
    }

    /// The will of a connection that ends.
    pub fn take_will(&mut self) -> Option<Will> {
        self.will.take()
    }

    /// The topic of a PUBLISH, which an alias may stand for or be set by; none where it is denied.
    fn topic_of(
        &mut self,
        publish: &Publish,
        rights: &dyn Rights,
        now_ms: u64,
    ) -> Result<Option<TopicName>, Why> {
        let allowed = |topic: &TopicName| {
            Some(topic.clone()).filter(|topic| rights.may(Action::Publish(topic), now_ms))
        };
        let named = publish.topic.as_ref().map(allowed);
        let Some(alias) = publish.alias else {
            return Ok(named.flatten());
        };
        if alias > TOPIC_ALIAS_MAX {
            return Err(Why::AliasTooHigh(alias));
        }
        if let Some(topic) = named {
            let bytes = topic.as_ref().map_or(0, |topic| topic.as_str().len());
            if bytes > ALIASED_BYTES_MAX {
                return Err(Why::AliasedTopicTooLong(bytes));
            }
            self.aliases.insert(alias, topic);
        }
        let topic = self.aliases.get(&alias).ok_or(Why::AliasUnknown(alias))?;
        Ok(topic.as_ref().and_then(allowed))
    }

    fn publish(&mut self, publish: Publish, rights: &dyn Rights, now_ms: u64) -> Effect {
        let topic = match self.topic_of(&publish, rights, now_ms) {
            Ok(topic) => topic,
            Err(why) => return self.end(why),
        };
        if publish.qos == QoS::ExactlyOnce {
            return self.publish_once(publish, topic);
        }
        let id = publish.id;
        match (publish.qos, topic) {
            (QoS::AtMostOnce, None) => Effect::Denied,
            (QoS::AtMostOnce, Some(topic)) => Effect::Publish {
                message: message(topic, publish),
                then: None,
            },
            (_, Some(topic)) => {
                let then = Some(Outgoing::PubAck {
                    id,
                    reason: Reason::Success,
                    said: None,
                });
                Effect::Publish {
                    message: message(topic, publish),
                    then,
                }
            }
            // 3.1.1 cannot say no, and must not say yes to what is not done.
            (_, None) if self.version == Version::V4 => self.end(Why::PublishDenied(publish.topic)),
            (_, None) => {
                let why = Why::PublishDenied(publish.topic);
                Effect::Send(Outgoing::PubAck {
                    id,
                    reason: why.reason(),
                    said: why.said(),
                })
            }
        }
    }

    fn publish_once(&mut self, publish: Publish, topic: Option<TopicName>) -> Effect {
        let id = publish.id;
        let received = Outgoing::PubRec {
            id,
            reason: Reason::Success,
            said: None,
        };
        match (self.inbox.publish(id), topic) {
            (Received::TooMany, _) => self.end(Why::TooManyOpen(self.inbox.maximum())),
            (Received::Repeated, _) => Effect::Send(received),
            (Received::Fresh, Some(topic)) => Effect::Publish {
                message: message(topic, publish),
                then: Some(received),
            },
            (Received::Fresh, None) => {
                self.inbox.release(id);
                let why = Why::PublishDenied(publish.topic);
                match self.version {
                    Version::V4 => self.end(why),
                    Version::V5 => Effect::Send(Outgoing::PubRec {
                        id,
                        reason: why.reason(),
                        said: why.said(),
                    }),
                }
            }
        }
    }

    fn subscribe(
        &mut self,
        id: u16,
        filters: Vec<SubscribeFilter>,
        subscription_id: Option<u32>,
        rights: &dyn Rights,
        now_ms: u64,
    ) -> Vec<Effect> {
        // MQTT 5.0, section 3.8.3.1; 3.1.1 knows neither.
        if filters
            .iter()
            .any(|filter| filter.no_local && filter.text.starts_with("$share/"))
        {
            return vec![self.end(Why::SharedNoLocal)];
        }
        // A filter that comes twice counts as it came last; what is retained is due where it was for any of them, as if
        // they had come one by one (MQTT 5.0, section 3.8.4).
        let mut subscribed = HashMap::new();
        let mut said = None;
        let mut granted = Vec::with_capacity(filters.len());
        for filter in filters {
            granted.push(match self.subscribable(&filter, rights, now_ms) {
                Err(not_granted) => {
                    said.get_or_insert_with(|| not_granted.said(&filter.text, rights.readable()));
                    Err(not_granted.reason())
                }
                Ok(subscription) => {
                    let qos = filter.qos;
                    let options = Options {
                        qos,
                        no_local: filter.no_local,
                        retain_as_published: filter.retain_as_published,
                        subscription_id,
                    };
                    let is_new = self.hold(&filter.text, options);
                    let was_due = matches!(
                        subscribed.get(&filter.text),
                        Some(Effect::Subscribed { retained: true, .. })
                    );
                    let retained = match filter.retain_handling {
                        RetainHandling::Always => true,
                        RetainHandling::IfNew => is_new || was_due,
                        RetainHandling::Never => was_due,
                    };
                    let effect = Effect::Subscribed {
                        subscription,
                        options,
                        retained,
                    };
                    subscribed.insert(filter.text, effect);
                    Ok(qos)
                }
            });
        }
        let answer = Effect::Send(Outgoing::SubAck { id, granted, said });
        [answer].into_iter().chain(subscribed.into_values()).collect()
    }

    /// Gives whether it is new.
    fn hold(&mut self, text: &str, options: Options) -> bool {
        let is_new = self.subscriptions.insert(text.to_owned(), options).is_none();
        if is_new {
            let (bytes, levels) = size(text);
            self.filter_bytes += bytes;
            self.filter_levels += levels;
        }
        is_new
    }

    /// Gives whether it was there.
    fn let_go(&mut self, text: &str) -> bool {
        let was_held = self.subscriptions.remove(text).is_some();
        if was_held {
            let (bytes, levels) = size(text);
            self.filter_bytes -= bytes;
            self.filter_levels -= levels;
        }
        was_held
    }

    fn subscribable(
        &self,
        filter: &SubscribeFilter,
        rights: &dyn Rights,
        now_ms: u64,
    ) -> Result<Subscription, NotGranted> {
        let subscription = Subscription::new(&filter.text).map_err(NotGranted::Invalid)?;
        if subscription.share.is_some() {
            return Err(NotGranted::Shared);
        }
        if !rights.may(Action::Subscribe(&subscription.filter), now_ms) {
            return Err(NotGranted::Denied);
        }
        let is_new = !self.subscriptions.contains_key(&filter.text);
        let (bytes, levels) = size(&filter.text);
        match is_new {
            true if self.subscriptions.len() >= MAX_SUBSCRIPTIONS => Err(NotGranted::TooMany),
            true if self.filter_bytes + bytes > MAX_SUBSCRIPTION_BYTES => Err(NotGranted::TooManyBytes),
            true if self.filter_levels + levels > MAX_SUBSCRIPTION_LEVELS => Err(NotGranted::TooManyLevels),
            _ => Ok(subscription),
        }
    }

    fn unsubscribe(&mut self, id: u16, filters: &[String]) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut reasons = Vec::with_capacity(filters.len());
        for text in filters {
            reasons.push(match (Subscription::new(text), self.let_go(text)) {
                (Err(_), _) => Reason::TopicFilterInvalid,
                (Ok(_), false) => Reason::NoSubscriptionExisted,
                (Ok(subscription), true) => {
                    effects.push(Effect::Unsubscribed(subscription));
                    Reason::Success
                }
            });
        }
        effects.push(Effect::Send(Outgoing::UnsubAck { id, reasons }));
        effects
    }

    /// A client may not make a session last that it began as one that ends (MQTT 5.0, section 3.14.2.2.2).
    fn disconnect(&mut self, with_will: bool, session_expiry_s: Option<u32>) -> Effect {
        if self.session_expiry_s == 0 && session_expiry_s.is_some_and(|seconds| seconds > 0) {
            return self.end(Why::ExpiryTooLate);
        }
        self.session_expiry_s =
            session_expiry_s.map_or(self.session_expiry_s, |s| s.min(SESSION_EXPIRY_MAX_S));
        if !with_will {
            self.will = None;
        }
        self.end(Why::Goodbye)
    }
}

/// What a filter takes of what a session may hold: bytes and levels.
fn size(filter: &str) -> (usize, usize) {
    (filter.len(), filter.split(SEPARATOR).count())
}

fn message(topic: TopicName, publish: Publish) -> Message {
    let Publish {
        payload,
        qos,
        retain,
        properties,
        ..
    } = publish;
    Message {
        topic,
        // Its own bytes: as a slice it would keep all that was read with it.
        payload: Bytes::copy_from_slice(&payload),
        qos,
        retain,
        properties,
    }
}
