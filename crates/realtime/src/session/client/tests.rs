use bytes::Bytes;

use super::*;
use crate::wire::{MessageProperties, ReasonString};
use crossdock_model::topic::TopicFilter;

const LIMITS: Limits = Limits {
    messages: 10,
    bytes: 10_000,
    in_flight: 10,
};

/// May do all that lies under one filter.
struct Under(TopicFilter);

impl Rights for Under {
    fn principal(&self) -> &'static str {
        "me"
    }

    fn readable(&self) -> &[TopicFilter] {
        std::slice::from_ref(&self.0)
    }

    fn may(&self, action: Action<'_>, _now_ms: u64) -> bool {
        match action {
            Action::Publish(topic) | Action::Receive(topic) => self.0.matches(topic),
            Action::Subscribe(filter) => self.0.covers(filter),
        }
    }
}

fn rights() -> Under {
    Under(TopicFilter::new("mine/#").unwrap())
}

fn terms(version: Version) -> Terms {
    Terms {
        version,
        session_expiry_s: 0,
        will: Some(Will {
            message: message_of("mine/will"),
            delay_s: 0,
        }),
        in_flight: LIMITS.in_flight,
    }
}

fn client(version: Version) -> Client {
    Client::new(terms(version), 1, LIMITS)
}

fn message_of(topic: &str) -> Message {
    let Incoming::Publish(publish) = publish(topic, QoS::AtMostOnce, 0) else {
        panic!("a PUBLISH")
    };
    message(TopicName::new(topic).unwrap(), publish)
}

fn publish(topic: &str, qos: QoS, id: u16) -> Incoming {
    Incoming::Publish(Publish {
        topic: Some(TopicName::new(topic).unwrap()),
        alias: None,
        id,
        dup: false,
        qos,
        retain: false,
        payload: Bytes::from_static(b"x"),
        properties: MessageProperties::default(),
    })
}

fn filter(text: &str) -> SubscribeFilter {
    SubscribeFilter {
        text: text.to_owned(),
        qos: QoS::AtLeastOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::IfNew,
    }
}

#[test]
fn a_publish_is_answered_by_its_rights() {
    for (version, topic, qos, expected) in [
        (Version::V4, "mine/a", QoS::AtMostOnce, "publish"),
        (Version::V4, "other/a", QoS::AtMostOnce, "denied"),
        (Version::V4, "other/a", QoS::AtLeastOnce, "end"),
        (Version::V5, "mine/a", QoS::AtLeastOnce, "publish"),
        (Version::V5, "other/a", QoS::AtLeastOnce, "send"),
        (Version::V5, "other/a", QoS::ExactlyOnce, "send"),
        (Version::V4, "other/a", QoS::ExactlyOnce, "end"),
    ] {
        let effects = client(version).handle(publish(topic, qos, 1), &rights(), 0);
        let done = match &effects[..] {
            [Effect::Publish { then, .. }] if then.is_some() == (qos != QoS::AtMostOnce) => "publish",
            [Effect::Denied] => "denied",
            [Effect::Send(Outgoing::PubAck { reason, .. } | Outgoing::PubRec { reason, .. })]
                if *reason == Reason::NotAuthorized =>
            {
                "send"
            }
            [
                Effect::End {
                    why: Why::PublishDenied(Some(_)),
                    will: Some(_),
                },
            ] => "end",
            other => panic!("{other:?}"),
        };
        assert_eq!(done, expected, "{version:?} {topic} {qos:?}");
    }
}

#[test]
fn a_refused_publish_says_which_topic_it_was() {
    let long = format!("other/{}", "x".repeat(100));
    let shown = format!("this token may not publish to \"other/{}…\"", "x".repeat(71));
    for (topic, expected) in [
        ("other/a", "this token may not publish to \"other/a\""),
        (&long, &shown),
    ] {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let effects = client(Version::V5).handle(publish(topic, qos, 1), &rights(), 0);
            let [Effect::Send(Outgoing::PubAck { said, .. } | Outgoing::PubRec { said, .. })] = &effects[..]
            else {
                panic!("{effects:?}")
            };
            assert_eq!(said.as_ref().map(ReasonString::as_str), Some(expected));
        }
    }
}

#[test]
fn qos_2_is_published_once() {
    let mut client = client(Version::V4);
    let first = client.handle(publish("mine/a", QoS::ExactlyOnce, 7), &rights(), 0);
    assert!(matches!(first[..], [Effect::Publish { .. }]));
    let again = client.handle(publish("mine/a", QoS::ExactlyOnce, 7), &rights(), 0);
    assert_eq!(
        again,
        [Effect::Send(Outgoing::PubRec {
            id: 7,
            reason: Reason::Success,
            said: None,
        })]
    );
    let more = client.handle(publish("mine/a", QoS::ExactlyOnce, 8), &rights(), 0);
    assert!(matches!(
        more[..],
        [Effect::End {
            why: Why::TooManyOpen(1),
            ..
        }]
    ));
    let released = client.handle(Incoming::PubRel { id: 7 }, &rights(), 0);
    assert_eq!(
        released,
        [Effect::Send(Outgoing::PubComp {
            id: 7,
            reason: Reason::Success
        })]
    );
}

#[test]
fn a_shared_subscription_without_ones_own_messages_breaks_the_protocol() {
    let mut client = client(Version::V5);
    let without_own = SubscribeFilter {
        no_local: true,
        ..filter("$share/g/mine/a")
    };
    let effects = client.handle(
        Incoming::Subscribe {
            id: 3,
            filters: vec![filter("mine/a"), without_own],
            subscription_id: None,
        },
        &rights(),
        0,
    );
    let ended = matches!(
        effects[..],
        [Effect::End {
            why: Why::SharedNoLocal,
            ..
        }]
    );
    assert!(ended, "{effects:?}");
    assert_eq!(client.subscriptions().count(), 0);
}

#[test]
fn each_filter_is_answered_by_itself() {
    let mut client = client(Version::V5);
    let filters = ["mine/+", "#", "a#", "$share/g/mine/a"].map(filter).to_vec();
    let effects = client.handle(
        Incoming::Subscribe {
            id: 3,
            filters,
            subscription_id: None,
        },
        &rights(),
        0,
    );
    let granted = vec![
        Ok(QoS::AtLeastOnce),
        Err(Reason::NotAuthorized),
        Err(Reason::TopicFilterInvalid),
        Err(Reason::SharedSubscriptionsNotSupported),
    ];
    let said = Some(ReasonString::of(
        &"\"#\" is not within what this token may read: \"mine/#\"",
    ));
    assert_eq!(
        effects[0],
        Effect::Send(Outgoing::SubAck { id: 3, granted, said })
    );
    assert!(matches!(
        effects[1..],
        [Effect::Subscribed { retained: true, .. }]
    ));
    let again = Incoming::Subscribe {
        id: 4,
        filters: vec![filter("mine/+")],
        subscription_id: None,
    };
    assert!(matches!(
        client.handle(again, &rights(), 0)[1..],
        [Effect::Subscribed { retained: false, .. }]
    ));
    let filters = vec!["mine/+".to_owned(), "mine/+".to_owned(), "a#".to_owned()];
    let effects = client.handle(Incoming::Unsubscribe { id: 5, filters }, &rights(), 0);
    let reasons = vec![
        Reason::Success,
        Reason::NoSubscriptionExisted,
        Reason::TopicFilterInvalid,
    ];
    assert_eq!(effects[1], Effect::Send(Outgoing::UnsubAck { id: 5, reasons }));
    assert_eq!(client.subscriptions().count(), 0);
}

#[test]
fn what_is_retained_is_due_where_it_was_for_any_of_the_same_filters() {
    use RetainHandling::{Always, IfNew, Never};
    for (handling, expected) in [
        ([IfNew, IfNew], true),
        ([IfNew, Never], true),
        ([Always, IfNew], true),
        ([Never, IfNew], false),
        ([Never, Never], false),
    ] {
        let filters = handling.map(|retain_handling| SubscribeFilter {
            retain_handling,
            ..filter("mine/a")
        });
        let subscribe = Incoming::Subscribe {
            id: 1,
            filters: filters.into(),
            subscription_id: None,
        };
        let effects = client(Version::V5).handle(subscribe, &rights(), 0);
        let [_, Effect::Subscribed { retained, .. }] = effects[..] else {
            panic!("{effects:?}")
        };
        assert_eq!(retained, expected, "{handling:?}");
    }
}

#[test]
fn a_goodbye_takes_the_will_back() {
    let rights = rights();
    let goodbye = Incoming::Disconnect {
        with_will: false,
        session_expiry_s: None,
    };
    let ended = client(Version::V4).handle(goodbye, &rights, 0);
    assert_eq!(
        ended,
        [Effect::End {
            why: Why::Goodbye,
            will: None
        }]
    );
    let with_will = Incoming::Disconnect {
        with_will: true,
        session_expiry_s: None,
    };
    let ended = client(Version::V5).handle(with_will, &rights, 0);
    assert!(matches!(
        ended[..],
        [Effect::End {
            why: Why::Goodbye,
            will: Some(_)
        }]
    ));
    let longer = Incoming::Disconnect {
        with_will: false,
        session_expiry_s: Some(9),
    };
    let ended = client(Version::V5).handle(longer, &rights, 0);
    assert!(matches!(
        ended[..],
        [Effect::End {
            why: Why::ExpiryTooLate,
            will: Some(_)
        }]
    ));
}

#[test]
fn an_alias_stands_for_the_topic_that_set_it_until_the_connection_ends() {
    let mut client = client(Version::V5);
    let aliased = |topic: Option<&str>, alias| {
        let Incoming::Publish(mut publish) = publish("mine/x", QoS::AtMostOnce, 0) else {
            unreachable!()
        };
        publish.topic = topic.map(|topic| TopicName::new(topic).unwrap());
        publish.alias = Some(alias);
        Incoming::Publish(publish)
    };
    let topic_of = |effects: Vec<Effect>| match effects.into_iter().next() {
        Some(Effect::Publish { message, .. }) => message.topic.as_str().to_owned(),
        Some(Effect::Denied) => "denied".to_owned(),
        Some(Effect::End { why, .. }) => why.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        topic_of(client.handle(aliased(None, 1), &rights(), 0)),
        "topic alias 1 stands for no topic: name it with the first message"
    );
    assert_eq!(
        topic_of(client.handle(aliased(Some("mine/a"), 1), &rights(), 0)),
        "mine/a"
    );
    assert_eq!(topic_of(client.handle(aliased(None, 1), &rights(), 0)), "mine/a");
    assert_eq!(
        topic_of(client.handle(aliased(Some("theirs/a"), 1), &rights(), 0)),
        "denied"
    );
    assert_eq!(topic_of(client.handle(aliased(None, 1), &rights(), 0)), "denied");
    let too_high = aliased(Some("mine/a"), TOPIC_ALIAS_MAX + 1);
    assert_eq!(
        topic_of(client.handle(too_high, &rights(), 0)),
        "topic alias 33, expected at most 32"
    );
    client.resume(terms(Version::V5));
    assert_eq!(
        topic_of(client.handle(aliased(None, 1), &rights(), 0)),
        "topic alias 1 stands for no topic: name it with the first message"
    );
}

#[test]
fn an_alias_of_a_topic_that_is_denied_holds_nothing_and_stays_denied() {
    let mut client = client(Version::V5);
    let mut denied = |topic: Option<&str>| {
        let Incoming::Publish(publish) = publish("x", QoS::AtMostOnce, 0) else {
            panic!("a PUBLISH")
        };
        let publish = Publish {
            topic: topic.map(|topic| TopicName::new(topic).unwrap()),
            alias: Some(1),
            ..publish
        };
        let effects = client.handle(Incoming::Publish(publish), &rights(), 0);
        (effects, client.aliases.get(&1).cloned())
    };
    assert_eq!(denied(Some("theirs/a")), (vec![Effect::Denied], Some(None)));
    assert_eq!(denied(None).0, [Effect::Denied]);
    let long = format!("mine/{}", "x".repeat(ALIASED_BYTES_MAX));
    assert!(matches!(
        denied(Some(&long)).0[..],
        [Effect::End {
            why: Why::AliasedTopicTooLong(_),
            ..
        }]
    ));
}

#[test]
fn no_goodbye_makes_a_session_last_longer_than_any_may() {
    let mut client = Client::new(
        Terms {
            session_expiry_s: 1,
            ..terms(Version::V5)
        },
        1,
        LIMITS,
    );
    let goodbye = Incoming::Disconnect {
        with_will: false,
        session_expiry_s: Some(u32::MAX),
    };
    client.handle(goodbye, &rights(), 0);
    assert_eq!(client.session_expiry_s(), SESSION_EXPIRY_MAX_S);
}

#[test]
fn a_filter_that_comes_often_counts_once_and_deep_ones_count_by_their_levels() {
    let mut client = client(Version::V5);
    let mut subscribe = |filters: Vec<SubscribeFilter>| {
        let effects = client.handle(
            Incoming::Subscribe {
                id: 1,
                filters,
                subscription_id: None,
            },
            &rights(),
            0,
        );
        let Some(Effect::Send(Outgoing::SubAck { granted, .. })) = effects.first() else {
            panic!("{effects:?}")
        };
        let granted = granted.iter().filter(|granted| granted.is_ok()).count();
        (granted, effects.len() - 1)
    };
    assert_eq!(subscribe(vec![filter("mine/a"); 1_000]), (1_000, 1));
    let deep = |number: usize| filter(&format!("mine/{number}{}", "/x".repeat(62)));
    let fit = MAX_SUBSCRIPTION_LEVELS / 64;
    assert_eq!(subscribe((0..fit + 5).map(deep).collect()), (fit, fit));
}
