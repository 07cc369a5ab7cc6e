//! Tokens that end before their time, on every hub, and whoever waits for it.

use super::*;

#[tokio::test]
async fn a_token_that_is_revoked_ends_on_every_hub_and_says_so() {
    let place = Place::new().await;
    let (one, other) = (place.hub(), place.hub());
    let (token, neighbour) = (minted(&one, &["a"]).await, minted(&one, &["a"]).await);
    let (here, there) = (
        one.admit(&token.token, Keys::All, now()).await.unwrap(),
        other.admit(&token.token, Keys::All, now()).await.unwrap(),
    );
    let (mut here_changes, mut there_changes) = (one.revocations.changes(), other.revocations.changes());
    one.revoke(None, &Revoked::Token(token.id.clone()), at(1))
        .await
        .unwrap();
    assert!(here_changes.has_changed().unwrap() && here.revoked());
    assert!(!there_changes.has_changed().unwrap() && !there.revoked());
    other.look_again(at(2)).await.unwrap();
    assert!(there_changes.has_changed().unwrap() && there.revoked());
    for hub in [&one, &other] {
        let refused = hub.admit(&token.token, Keys::All, at(3)).await;
        assert_eq!(refused.unwrap_err(), TokenFault::Revoked);
        assert!(
            !hub.admit(&neighbour.token, Keys::All, at(3))
                .await
                .unwrap()
                .revoked()
        );
    }
    here_changes.mark_unchanged();
    there_changes.mark_unchanged();
    for hub in [&one, &other] {
        hub.look_again(at(4)).await.unwrap();
    }
    assert!(!here_changes.has_changed().unwrap() && !there_changes.has_changed().unwrap());
}

#[tokio::test]
async fn a_subject_that_was_revoked_may_come_back_with_a_new_token() {
    let place = Place::new().await;
    let (one, other) = (place.hub(), place.hub());
    let before = minted(&one, &["a"]).await.token;
    one.revoke(None, &Revoked::Subject("customer-1".into()), now())
        .await
        .unwrap();
    for second in [0, 2] {
        let early = one.mint(asked(&["a"]), &grantor(&["#"]), at(second)).await;
        assert!(matches!(early, Err(MintError::Failed(EngineError::Conflict(_)))));
    }
    // Another hub, which does not know yet, mints one that is over already.
    let early = other
        .mint(asked(&["a"]), &grantor(&["#"]), at(1))
        .await
        .unwrap()
        .token;
    other.look_again(at(2)).await.unwrap();
    let after = one
        .mint(asked(&["a"]), &grantor(&["#"]), at(3))
        .await
        .unwrap()
        .token;
    for hub in [&one, &other] {
        for token in [&before, &early] {
            assert_eq!(
                hub.admit(token, Keys::All, at(3)).await.unwrap_err(),
                TokenFault::Revoked
            );
        }
        assert!(!hub.admit(&after, Keys::All, at(3)).await.unwrap().revoked());
    }
}

#[tokio::test]
async fn a_principal_is_a_subject_of_one_key() {
    let place = Place::new().await;
    let hub = place.hub();
    let other_key = keys::Grantor {
        id: "fedcbafedcba".into(),
        ..grantor(&["#"])
    };
    let own = minted(&hub, &["a"]).await.token;
    let others = hub.mint(asked(&["a"]), &other_key, now()).await.unwrap().token;
    let subject = Revoked::Subject("customer-1".into());
    hub.revoke(Some(KEY), &subject, now()).await.unwrap();
    assert_eq!(
        hub.admit(&own, Keys::All, at(1)).await.unwrap_err(),
        TokenFault::Revoked
    );
    hub.admit(&others, Keys::All, at(1)).await.unwrap();
}

#[tokio::test]
async fn a_new_signing_key_leaves_tokens_alone_unless_they_are_to_end() {
    let place = Place::new().await;
    let (one, other) = (place.hub(), place.hub());
    let kid = |token: &BrowserToken| Unverified::read(&token.token).unwrap().kid().unwrap().to_owned();
    let mint = async |hub: &BrowserTokens, second| {
        hub.mint(asked(&["a"]), &grantor(&["#"]), at(second))
            .await
            .unwrap()
    };
    let first = [mint(&one, 0).await, mint(&other, 0).await];
    one.rotate(false, at(10)).await.unwrap();
    other.look_again(at(12)).await.unwrap();
    let second = [mint(&one, 12).await, mint(&other, 12).await];
    let kids: HashSet<_> = first.iter().chain(&second).map(kid).collect();
    assert_eq!(kids.len(), 4, "each hub has a key of its own, and another since");
    let mut live = Vec::new();
    for token in first.iter().chain(&second) {
        for hub in [&one, &other] {
            live.push(hub.admit(&token.token, Keys::All, at(800)).await.unwrap());
        }
    }

    other.rotate(true, at(801)).await.unwrap();
    one.look_again(at(803)).await.unwrap();
    assert!(live.iter().all(Grants::revoked));
    for hub in [&one, &other] {
        let refused = hub.admit(&second[0].token, Keys::All, at(803)).await;
        assert_eq!(refused.unwrap_err(), TokenFault::Revoked);
        let after = mint(hub, 803).await;
        hub.admit(&after.token, Keys::All, at(803)).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_revoked_stays_so_while_the_database_is_away() {
    let place = Place::new().await;
    let hub = place.hub();
    let token = minted(&hub, &["a"]).await;
    hub.revoke(None, &Revoked::Token(token.id.clone()), now())
        .await
        .unwrap();
    place.away.store(true, Ordering::SeqCst);
    assert!(hub.look_again(at(5)).await.is_err());
    assert_eq!(
        hub.admit(&token.token, Keys::All, at(5)).await.unwrap_err(),
        TokenFault::Revoked
    );
}

#[tokio::test]
async fn a_key_ends_what_it_minted_and_nothing_else() {
    let place = Place::new().await;
    let hub = place.hub();
    let other_key = keys::Grantor {
        id: "fedcbafedcba".into(),
        ..grantor(&["#"])
    };
    let own = minted(&hub, &["a"]).await;
    let others = hub.mint(asked(&["a"]), &other_key, now()).await.unwrap();
    for foreign in [&others.id, "anything", "", KEY, "\n"] {
        let refused = hub
            .revoke(Some(KEY), &Revoked::Token(foreign.to_owned()), now())
            .await;
        assert!(matches!(refused, Err(EngineError::Invalid(_))), "{foreign:?}");
    }
    hub.admit(&others.token, Keys::All, at(1)).await.unwrap();
    for (by, token) in [(Some(KEY), own), (None, others)] {
        hub.revoke(by, &Revoked::Token(token.id), now()).await.unwrap();
        assert_eq!(
            hub.admit(&token.token, Keys::All, at(1)).await.unwrap_err(),
            TokenFault::Revoked
        );
    }
}

#[tokio::test]
async fn no_key_takes_up_the_room_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let full: Store = Moody::store(database(&folder).await, |what| {
        (what == KEY).then(|| StoreError::Conflict("10000 revocations are in force already".into()))
    });
    let place = Place {
        store: full,
        ..Place::new().await
    };
    let hub = place.hub();
    let token = minted(&hub, &["a"]).await;
    let subject = Revoked::Subject("customer-1".into());
    let refused = hub.revoke(Some(KEY), &subject, now()).await;
    assert!(matches!(refused, Err(EngineError::Conflict(_))));
    hub.revoke(Some("fedcbafedcba"), &subject, now()).await.unwrap();
    hub.revoke(None, &subject, now()).await.unwrap();
    hub.rotate(true, now()).await.unwrap();
    assert_eq!(
        hub.admit(&token.token, Keys::All, at(1)).await.unwrap_err(),
        TokenFault::Revoked
    );
}
