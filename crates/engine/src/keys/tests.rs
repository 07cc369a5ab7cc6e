#![allow(clippy::unwrap_used)]

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use tempfile::TempDir;

use super::*;
use crate::{
    principal::is_adapter,
    testing::{Moody, database, now},
};

/// Keys on a database that can be away.
struct Ring {
    keys: Keys,
    store: Store,
    away: Arc<AtomicBool>,
    asked: Arc<AtomicU32>,
    _folder: TempDir,
}

impl Ring {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let away = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicU32::new(0));
        let (is_away, count) = (away.clone(), asked.clone());
        let store: Store = Moody::store(database(&folder).await, move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            is_away
                .load(Ordering::SeqCst)
                .then(|| StoreError::Unavailable("away".into()))
        });
        Self {
            keys: Keys::new(store.clone()),
            store,
            away,
            asked,
            _folder: folder,
        }
    }

    async fn add(&self, scopes: &[Scope], adapter: Option<&str>, expires: Option<DateTime<Utc>>) -> String {
        let new = NewKey {
            name: "till".into(),
            scopes: scopes.to_vec(),
            topics: Vec::new(),
            adapter: adapter.map(str::to_owned),
            expires,
        };
        self.keys.add(new, now()).await.unwrap().1
    }

    async fn ask(&self, token: &str, after_s: i64) -> Result<Principal, AuthError> {
        self.keys
            .authenticate(token, now() + TimeDelta::seconds(after_s))
            .await
    }
}

#[test]
fn scopes_read_as_they_are_written() {
    for scope in Scope::ALL {
        assert_eq!(scope.to_string().parse(), Ok(scope));
        assert_eq!(
            serde_json::to_value(scope).unwrap(),
            serde_json::json!(scope.as_str())
        );
    }
    assert!("events".parse::<Scope>().is_err());
}

#[test]
fn a_key_of_another_form_is_no_key() {
    for token in ["", "cdk_", "cdk_abc_def", "Bearer x", "cdk_abcdefabcdef"] {
        assert_eq!(split(token), None, "{token}");
    }
    let (id, text) = new_text();
    assert_eq!(split(&text).unwrap().0, id);
}

#[tokio::test]
async fn the_whole_text_opens_what_its_scopes_say() {
    let ring = Ring::new().await;
    let token = ring.add(&[Scope::EventsRead], None, None).await;
    let who = ring.ask(&token, 0).await.unwrap();
    assert_eq!(
        (who.name().as_str(), who.producer().as_str()),
        ("till", "key:till")
    );
    assert!(who.may(Scope::EventsRead));
    assert!(!who.may(Scope::EventsWrite) && !who.may(Scope::Admin));

    let admin = ring.add(&[Scope::Admin], None, None).await;
    let admin = ring.ask(&admin, 0).await.unwrap();
    assert!(Scope::ALL.into_iter().all(|scope| admin.may(scope)));
}

#[tokio::test]
async fn an_adapters_key_sends_as_the_adapter_and_a_key_named_like_one_does_not() {
    let ring = Ring::new().await;
    let erp = ring.add(&[], Some("erp"), None).await;
    let erp = ring.ask(&erp, 0).await.unwrap();
    assert_eq!((erp.name().as_str(), erp.producer().as_str()), ("erp", "erp"));
    assert!(erp.may(Scope::EventsWrite) && !erp.may(Scope::EventsRead));

    let new = NewKey {
        name: "erp".into(),
        scopes: vec![Scope::EventsWrite],
        topics: Vec::new(),
        adapter: None,
        expires: None,
    };
    let (_, named) = ring.keys.add(new, now()).await.unwrap();
    let named = ring.ask(&named, 0).await.unwrap();
    assert_eq!(named.producer(), "key:erp");
    assert!(is_adapter(&erp.producer()) && !is_adapter(&named.producer()));
}

#[tokio::test]
async fn a_wrong_secret_is_as_unknown_as_a_wrong_id() {
    let ring = Ring::new().await;
    let token = ring.add(&[Scope::Admin], None, None).await;
    let other = ring.add(&[Scope::Admin], None, None).await;
    let (id, _) = split(&token).unwrap();
    let (_, secret) = split(&other).unwrap();
    let mixed = format!("cdk_{id}_{secret}");
    let unknown = new_text().1;
    for wrong in [
        mixed,
        unknown,
        String::new(),
        "cdk_x_y".into(),
        token.to_lowercase(),
    ] {
        assert_eq!(ring.ask(&wrong, 0).await.unwrap_err(), AuthError::Unknown);
    }
    // Wrong guesses do not shut the right one out.
    assert!(ring.ask(&token, 0).await.is_ok());
}

#[tokio::test]
async fn a_key_ends_at_its_hour() {
    let ring = Ring::new().await;
    let hour = now() + TimeDelta::hours(1);
    let token = ring.add(&[Scope::Admin], None, Some(hour)).await;
    assert!(ring.ask(&token, 3_599).await.is_ok());
    assert_eq!(ring.ask(&token, 3_600).await.unwrap_err(), AuthError::Expired);
    // Also while it is known by heart.
    ring.away.store(true, Ordering::SeqCst);
    assert_eq!(ring.ask(&token, 3_601).await.unwrap_err(), AuthError::Expired);
}

#[tokio::test]
async fn a_revoked_key_ends_here_at_once_and_elsewhere_soon() {
    let ring = Ring::new().await;
    let elsewhere = Keys::new(ring.store.clone());
    let token = ring.add(&[Scope::Admin], None, None).await;
    let (id, _) = split(&token).unwrap();
    ring.ask(&token, 0).await.unwrap();
    elsewhere.authenticate(&token, now()).await.unwrap();

    ring.keys.revoke(id, now()).await.unwrap();
    assert_eq!(ring.ask(&token, 0).await.unwrap_err(), AuthError::Revoked);
    let after = |seconds| now() + TimeDelta::seconds(seconds);
    assert!(elsewhere.authenticate(&token, after(4)).await.is_ok());
    let refused = elsewhere.authenticate(&token, after(5)).await.unwrap_err();
    assert_eq!(refused, AuthError::Revoked);
    assert!(matches!(
        ring.keys.revoke("nobody", now()).await,
        Err(EngineError::NotFound(_))
    ));
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_nothing_fresh() {
    let ring = Ring::new().await;
    let elsewhere = Keys::new(ring.store.clone());
    let token = ring.add(&[Scope::Admin], None, None).await;
    elsewhere.authenticate(&token, now()).await.unwrap();
    ring.keys.revoke(split(&token).unwrap().0, now()).await.unwrap();
    let set_back = now() - TimeDelta::hours(1);
    assert_eq!(
        elsewhere.authenticate(&token, set_back).await.unwrap_err(),
        AuthError::Revoked
    );
}

#[tokio::test]
async fn while_the_database_is_away_keys_seen_lately_are_known() {
    let ring = Ring::new().await;
    let seen = ring.add(&[Scope::Admin], None, None).await;
    let unseen = ring.add(&[Scope::Admin], None, None).await;
    ring.ask(&seen, 0).await.unwrap();
    ring.away.store(true, Ordering::SeqCst);
    assert!(ring.ask(&seen, 60).await.is_ok());
    assert_eq!(ring.ask(&unseen, 60).await.unwrap_err(), AuthError::Unavailable);
    let (id, _) = split(&seen).unwrap();
    let wrong = format!("cdk_{id}_{}", random(SECRET_CHARS));
    assert_eq!(ring.ask(&wrong, 60).await.unwrap_err(), AuthError::Unknown);
    ring.away.store(false, Ordering::SeqCst);
    assert!(ring.ask(&unseen, 60).await.is_ok());
}

#[tokio::test]
async fn a_database_that_is_away_is_not_asked_at_every_request() {
    let ring = Ring::new().await;
    let tokens = [
        ring.add(&[Scope::Admin], None, None).await,
        ring.add(&[Scope::Admin], None, None).await,
    ];
    for token in &tokens {
        ring.ask(token, 0).await.unwrap();
    }
    ring.away.store(true, Ordering::SeqCst);
    let before = ring.asked.load(Ordering::SeqCst);
    for second in 60..70 {
        for token in &tokens {
            ring.ask(token, second).await.unwrap();
        }
    }
    assert_eq!(ring.asked.load(Ordering::SeqCst) - before, 2);
}

#[tokio::test]
async fn uses_are_written_down_together() {
    let ring = Ring::new().await;
    let token = ring.add(&[Scope::Admin], None, None).await;
    ring.ask(&token, 0).await.unwrap();
    ring.ask(&token, 1).await.unwrap();
    let later = now() + TimeDelta::seconds(9);
    ring.keys.note_use(later).await.unwrap();
    let listed = ring.keys.list().await.unwrap();
    assert_eq!(listed[0].last_used, Some(later));
    ring.keys.note_use(later + TimeDelta::hours(1)).await.unwrap();
    assert_eq!(ring.keys.list().await.unwrap()[0].last_used, Some(later));
}

#[tokio::test]
async fn a_key_that_makes_no_sense_is_not_made() {
    let ring = Ring::new().await;
    let new = |name: &str, scopes: &[Scope], expires: Option<DateTime<Utc>>| NewKey {
        name: name.into(),
        scopes: scopes.to_vec(),
        topics: Vec::new(),
        adapter: None,
        expires,
    };
    let admin = [Scope::Admin];
    for wrong in [
        new("", &admin, None),
        new("   ", &admin, None),
        new(&"x".repeat(101), &admin, None),
        new("a\nb", &admin, None),
        new("till", &[], None),
        new("till", &admin, Some(now())),
        new("till", &admin, Some(now() - TimeDelta::seconds(1))),
    ] {
        let answer = ring.keys.add(wrong, now()).await;
        assert!(matches!(answer, Err(EngineError::Invalid(_))));
    }
    assert!(ring.keys.list().await.unwrap().is_empty());
    let (view, token) = ring.keys.add(new("  till ", &admin, None), now()).await.unwrap();
    assert_eq!(view.name, "till");
    assert!(!format!("{view:?}").contains(split(&token).unwrap().1));
}
