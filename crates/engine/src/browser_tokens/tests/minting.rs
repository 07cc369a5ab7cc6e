//! What a backend gets for its API key.

use super::*;

fn faults(error: MintError) -> Vec<(String, String)> {
    let faults = match error {
        MintError::Invalid(faults) | MintError::NotGranted(faults) => faults,
        MintError::Failed(error) => panic!("{error}"),
    };
    faults
        .into_iter()
        .map(|fault| (fault.pointer, fault.message))
        .collect()
}

#[tokio::test]
async fn a_token_opens_its_topics_on_every_hub_until_it_ends() {
    let place = Place::new().await;
    let (one, other) = (place.hub(), place.hub());
    let minted = minted(&one, &["state/order/1", "stock/#"]).await;
    assert_eq!(minted.url, "wss://hub.example.com/mqtt");
    assert_eq!(minted.expires_at, at(900));
    assert!(minted.client_id.starts_with("browser-"));
    assert!(!format!("{minted:?}").contains(&minted.token));
    for hub in [&one, &other] {
        let grants = hub.admit(&minted.token, Keys::All, at(899)).await.unwrap();
        assert_eq!(grants.principal(), "key:abcdefabcdef/customer-1");
        assert_eq!(grants.expires(), at(900));
        assert!(grants.may_subscribe(&filter("stock/london/mug")));
        assert!(!grants.may_subscribe(&filter("state/order/2")));
        assert!(grants.hold(at(899)) && !grants.hold(at(900)));
        let late = hub.admit(&minted.token, Keys::All, at(900)).await;
        assert_eq!(late.unwrap_err(), TokenFault::Expired);
    }
    let again = super::minted(&one, &["state/order/1"]).await;
    assert_ne!((again.id, again.client_id), (minted.id, minted.client_id));
}

#[tokio::test]
async fn a_key_grants_only_what_lies_wholly_within_its_topics() {
    let place = Place::new().await;
    let hub = place.hub();
    let grantor = grantor(&["state/order/#", "stock/+/mug"]);
    for granted in [
        "state/order/1",
        "state/order/#",
        "state/order",
        "stock/london/mug",
        "stock/+/mug",
    ] {
        hub.mint(asked(&[granted]), &grantor, now()).await.unwrap();
    }
    for beyond in [
        "#",
        "state/#",
        "state/+/1",
        "stock/london/+",
        "stock/london/cup",
        "State/order/1",
    ] {
        let refused = hub.mint(asked(&["state/order/1", beyond]), &grantor, now()).await;
        let expected = format!(
            "the topic filter {beyond:?} is not granted: this API key may grant what lies wholly within \
             state/order/#, stock/+/mug"
        );
        assert!(matches!(refused, Err(MintError::NotGranted(_))));
        assert_eq!(faults(refused.unwrap_err()), [("/topics/1".to_owned(), expected)]);
    }
    let nothing = hub
        .mint(asked(&["state/order/1"]), &super::grantor(&[]), now())
        .await;
    assert!(faults(nothing.unwrap_err())[0].1.contains("may grant no topics"));
}

#[tokio::test]
async fn what_makes_no_sense_is_named() {
    let place = Place::new().await;
    let hub = place.hub();
    let many: Vec<_> = (0..51).map(|number| format!("state/{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let with = |change: fn(&mut NewBrowserToken)| {
        let mut new = asked(&["state/order/1"]);
        change(&mut new);
        new
    };
    for (new, pointer, message) in [
        (asked(&[]), "/topics", "has 0 topic filters, expected 1 to 50"),
        (asked(&many), "/topics", "has 51 topic filters, expected 1 to 50"),
        (asked(&["a", "state/#/x"]), "/topics/1", "# in the last one"),
        (asked(&[""]), "/topics/0", "at least one character"),
        (asked(&["$share/a/state/#"]), "/topics/0", "begins with $"),
        (asked(&["$SYS/#"]), "/topics/0", "begins with $"),
        (asked(&[&"a".repeat(70_000)]), "/topics/0", "at most 65535"),
        (asked(&[&"a".repeat(7_000)]), "/topics", "expected at most 8192"),
        (with(|new| new.subject.clear()), "/subject", "1 to 255 bytes"),
        (
            with(|new| new.subject = "x".repeat(256)),
            "/subject",
            "1 to 255 bytes",
        ),
        (
            with(|new| new.subject = "a\nb".into()),
            "/subject",
            "without control characters",
        ),
        (
            with(|new| new.expires_in_s = Some(0)),
            "/expires_in_s",
            "from 1 to 3600",
        ),
        (
            with(|new| new.expires_in_s = Some(3_601)),
            "/expires_in_s",
            "from 1 to 3600",
        ),
    ] {
        let refused = hub.mint(new, &grantor(&["#"]), now()).await.unwrap_err();
        assert!(matches!(refused, MintError::Invalid(_)));
        let [(found, said)] = faults(refused).try_into().unwrap();
        assert_eq!(found, pointer, "{said}");
        assert!(said.contains(message) && said.len() < 400, "{said}");
    }
}

#[tokio::test]
async fn a_token_does_not_outlive_its_key() {
    let place = Place::new().await;
    let grantor = keys::Grantor {
        expires: Some(at(10)),
        ..grantor(&["#"])
    };
    let minted = place.hub().mint(asked(&["a"]), &grantor, now()).await.unwrap();
    assert_eq!(minted.expires_at, at(10));
}

#[tokio::test]
async fn a_hub_signs_with_one_key_for_a_day_and_its_tokens_are_good_to_their_end() {
    let place = Place::new().await;
    let (hub, other) = (place.hub(), place.hub());
    let mint = async |second| {
        let minted = hub.mint(asked(&["a"]), &grantor(&["#"]), at(second)).await;
        minted.unwrap().token
    };
    let kid = |token: &str| Unverified::read(token).unwrap().kid().unwrap().to_owned();
    let day = 24 * 3_600;
    let (first, last, next) = (mint(0).await, mint(day - 1).await, mint(day).await);
    assert_eq!(kid(&first), kid(&last));
    assert_ne!(kid(&last), kid(&next));
    for token in [&last, &next] {
        other.admit(token, Keys::All, at(day + 800)).await.unwrap();
    }
    assert_eq!(place.store.signing_keys(at(0)).await.unwrap().len(), 2);
    place.store.forget_tokens(at(day + 3_700)).await.unwrap();
    assert_eq!(place.store.signing_keys(at(0)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn while_the_database_is_away_what_is_known_goes_on() {
    let place = Place::new().await;
    let (hub, other) = (place.hub(), place.hub());
    let before = minted(&hub, &["a"]).await;
    place.away.store(true, Ordering::SeqCst);
    let meanwhile = minted(&hub, &["a"]).await;
    for token in [&before.token, &meanwhile.token] {
        hub.admit(token, Keys::All, now()).await.unwrap();
    }
    let unknown = other.admit(&before.token, Keys::All, now()).await;
    assert_eq!(unknown.unwrap_err(), TokenFault::KeysUnavailable);
    let refused = other.mint(asked(&["a"]), &grantor(&["#"]), now()).await;
    assert!(matches!(
        refused,
        Err(MintError::Failed(EngineError::Unavailable { .. }))
    ));
    place.away.store(false, Ordering::SeqCst);
    other.admit(&before.token, Keys::All, at(1)).await.unwrap();
}

#[tokio::test]
async fn an_unknown_key_is_asked_about_once_a_second() {
    let place = Place::new().await;
    let (hub, other) = (place.hub(), place.hub());
    let known = minted(&hub, &["a"]).await;
    place.asked.store(0, Ordering::SeqCst);
    let flood = (0..50).map(|number| {
        let head = format!(r#"{{"alg":"EdDSA","kid":"unknown-{number}"}}"#);
        faults::with_head(&known.token, &head)
    });
    for token in flood {
        let refused = other.admit(&token, Keys::All, now()).await;
        assert_eq!(refused.unwrap_err(), TokenFault::UnknownKey);
    }
    assert_eq!(place.asked.load(Ordering::SeqCst), 1);
    other.admit(&known.token, Keys::All, now()).await.unwrap();
}

#[tokio::test]
async fn a_database_that_is_away_is_asked_about_unknown_keys_once_a_second() {
    let place = Place::new().await;
    let (hub, other) = (place.hub(), place.hub());
    let known = minted(&hub, &["a"]).await;
    place.asked.store(0, Ordering::SeqCst);
    place.away.store(true, Ordering::SeqCst);
    for second in [0, 0, 0, 0, 1, 1] {
        let refused = other.admit(&known.token, Keys::All, at(second)).await;
        assert_eq!(refused.unwrap_err(), TokenFault::KeysUnavailable);
    }
    assert_eq!(place.asked.load(Ordering::SeqCst), 2);
    place.away.store(false, Ordering::SeqCst);
    other.admit(&known.token, Keys::All, at(2)).await.unwrap();
}

#[tokio::test]
async fn those_who_wait_for_one_question_about_unknown_keys_ask_none_of_their_own() {
    let place = Place::new().await;
    let (hub, other) = (place.hub(), place.hub());
    let known = minted(&hub, &["a"]).await;
    place.asked.store(0, Ordering::SeqCst);
    place.away.store(true, Ordering::SeqCst);
    // They have come over a minute, and queue up while the database says nothing.
    let asking = other.signing.hold_questions().await;
    let mut waiting: Vec<_> = (0..60)
        .map(|second| Box::pin(other.admit(&known.token, Keys::All, at(second))))
        .collect();
    for one in &mut waiting {
        assert!(futures::poll!(one).is_pending());
    }
    drop(asking);
    for refused in futures::future::join_all(waiting).await {
        assert_eq!(refused.unwrap_err(), TokenFault::KeysUnavailable);
    }
    assert_eq!(place.asked.load(Ordering::SeqCst), 1);
}
