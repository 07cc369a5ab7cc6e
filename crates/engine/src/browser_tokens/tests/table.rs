//! Every row of tests/e2e/mqtt_rights.json, which the end-to-end test tries with a real client; and what no table can
//! go through.

use std::collections::HashMap;

use crossdock_model::topic::{Subscription, TopicName};
use proptest::{prelude::*, test_runner::TestRunner};
use serde::Deserialize;

use super::*;

const TABLE: &str = include_str!("../../../../../tests/e2e/mqtt_rights.json");

#[derive(Deserialize)]
struct Table {
    tokens: HashMap<String, Token>,
    cases: Vec<(String, String, String, bool)>,
}

#[derive(Deserialize)]
struct Token {
    topics: Vec<String>,
    #[serde(default)]
    is: String,
}

/// What somebody with such a token holds in the end, and when it is looked at.
async fn held(hub: &BrowserTokens, token: &Token) -> Option<(Grants, DateTime<Utc>)> {
    if token.is == "none" {
        return None;
    }
    let mut grantor = grantor(&["#"]);
    if token.is == "key revoked" {
        grantor.id = "fedcbafedcba".into();
    }
    let asked = NewBrowserToken {
        topics: token.topics.clone(),
        subject: format!("subject of {}", token.is),
        expires_in_s: Some(60),
    };
    let minted = hub.mint(asked, &grantor, now()).await.unwrap();
    let early = hub.admit(&minted.token, Keys::All, now()).await.unwrap();
    let revoke = async |kind, name: &str| {
        let revoked = hub.revocations.add(Revoker::Administrators, kind, name, now());
        revoked.await.unwrap();
    };
    match token.is.as_str() {
        "" => return Some((early, at(59))),
        "expires meanwhile" => return Some((early, at(60))),
        "expired" => return admitted(hub, &minted.token, at(60)).await,
        "garbled" => {
            let garbled = minted.token.replacen('.', ".A", 1);
            return admitted(hub, &garbled, now()).await;
        }
        "subject revoked" => revoke(RevokedKind::Subject, "subject of subject revoked").await,
        "key revoked" => revoke(RevokedKind::ApiKey, &grantor.id).await,
        "revoked" => revoke(RevokedKind::Token, &minted.id).await,
        "revoked meanwhile" => {
            revoke(RevokedKind::Token, &minted.id).await;
            return Some((early, now()));
        }
        other => panic!("a token cannot be {other}"),
    }
    admitted(hub, &minted.token, now()).await
}

async fn admitted(hub: &BrowserTokens, token: &str, at: DateTime<Utc>) -> Option<(Grants, DateTime<Utc>)> {
    hub.admit(token, Keys::All, at)
        .await
        .ok()
        .map(|grants| (grants, at))
}

fn may(grants: &Grants, does: &str, what: &str) -> bool {
    let name = || TopicName::new(what).unwrap();
    match does {
        "subscribe" => grants.may_subscribe(&Subscription::new(what).unwrap().filter),
        "receive" | "retained" | "read" => grants.may_receive(&name()),
        "publish" | "alias" | "will" => grants.may_publish(&name()),
        other => panic!("nobody can {other}"),
    }
}

#[tokio::test]
async fn each_token_opens_what_the_table_says() {
    let table: Table = serde_json::from_str(TABLE).unwrap();
    assert!(table.cases.len() >= 60);
    let (place, mut all) = (Place::new().await, HashMap::new());
    let hub = place.hub();
    for (name, token) in &table.tokens {
        all.insert(name.as_str(), held(&hub, token).await);
    }
    let mut seen = HashSet::new();
    for case in &table.cases {
        let (token, does, what, expected) = case;
        let found = all[token.as_str()]
            .as_ref()
            .is_some_and(|(grants, at)| grants.hold(*at) && may(grants, does, what));
        assert_eq!(found, *expected, "{token:?} {does} {what:?}");
        assert!(seen.insert((token, does, what)), "twice: {case:?}");
    }
    let idle = table
        .tokens
        .keys()
        .find(|name| !seen.iter().any(|(token, ..)| token == name));
    assert_eq!(idle, None, "a token that no case is about");
}

/// Names and filters of few words and levels, so that they meet.
fn topic(levels: &'static str) -> impl Strategy<Value = String> {
    proptest::collection::vec(levels, 1..5).prop_map(|levels| levels.join("/"))
}

/// Whether a filter matches a name, told by the letter of the standard in another way than the code does.
fn matches(filter: &[&str], name: &[&str]) -> bool {
    match (filter, name) {
        (["#"], _) | ([], []) => true,
        ([first, rest @ ..], [level, others @ ..]) => {
            (*first == "+" || first == level) && matches(rest, others)
        }
        _ => false,
    }
}

#[tokio::test]
async fn no_topic_comes_through_that_no_filter_matches() {
    let revocations = Arc::new(Revocations::new(Place::new().await.store));
    let marks = Marks {
        ahead: TimeDelta::zero(),
        issued: now(),
        subject: "a".into(),
        principal: "key:a/a".into(),
        token: None,
        api_key: None,
        signing_key: None,
    };
    let levels = "[+#ab]|\\$?s|";
    let anything = (
        proptest::collection::vec(topic(levels), 1..4),
        topic(levels),
        topic("[ab]|\\$?s|"),
    );
    let tried = |(filters, wanted, name): (Vec<String>, String, String)| {
        let filters: Vec<_> = filters
            .iter()
            .filter_map(|text| TopicFilter::new(text).ok())
            .collect();
        let Ok(name) = TopicName::new(&name) else {
            return Ok(());
        };
        let grants = Grants::new(filters.clone(), at(60), marks.clone(), revocations.clone());
        let levels: Vec<_> = name.levels().collect();
        let mut filters = filters.iter().map(|filter| filter.levels().collect::<Vec<_>>());
        let is_granted = !name.as_str().starts_with('$') && filters.any(|filter| matches(&filter, &levels));
        prop_assert_eq!(grants.may_receive(&name), is_granted);
        prop_assert!(!grants.may_publish(&name));
        if let Ok(wanted) = TopicFilter::new(&wanted)
            && grants.may_subscribe(&wanted)
            && wanted.matches(&name)
        {
            prop_assert!(grants.may_receive(&name), "{} lets {} through", wanted, name);
        }
        Ok(())
    };
    let mut runner = TestRunner::new(ProptestConfig::with_cases(3_000));
    runner.run(&anything, tried).unwrap();
}
