//! What an identity provider's silence, its last word and its fast clock mean for tokens that are about.

use super::*;

#[tokio::test]
async fn an_issuer_that_has_no_keys_any_more_is_believed_no_longer() {
    let (place, ec) = (Place::new().await, Signer::new("ec", Algorithm::ES256));
    let provider = Provider::new(&[&ec]).await;
    let fresh =
        |second: i64| ec.token(json!({"iat": at(second).timestamp(), "exp": at(second + 60).timestamp()}));
    for (status, body, ends) in [
        ("200 OK", r#"{"keys": []}"#, true),
        (
            "200 OK",
            r#"{"keys": [{"kty": "oct", "kid": "ec", "k": "c2VjcmV0"}]}"#,
            true,
        ),
        ("404 Not Found", "", true),
        ("410 Gone", "gone", true),
        ("200 OK", "<html>", false),
        ("403 Forbidden", "", false),
        ("429 Too Many Requests", "", false),
        ("500 Oh no", r#"{"keys": []}"#, false),
    ] {
        provider.hands_out(&[&ec]);
        let hub = provider.hub(&place, json!({}));
        hub.admit(&fresh(0), Keys::All, at(0)).await.unwrap();
        provider.says(status, body);
        hub.issuers.look_after(at(600)).await;
        let admitted = hub.admit(&fresh(600), Keys::All, at(600)).await.map(drop);
        let expected = match ends {
            true => Err(TokenFault::KeysUnavailable),
            false => Ok(()),
        };
        assert_eq!(admitted, expected, "{status} {body}");
        provider.hands_out(&[&ec]);
        hub.admit(&fresh(630), Keys::All, at(630)).await.unwrap();
    }
}

#[tokio::test]
async fn a_token_from_the_near_future_is_over_with_its_subject() {
    let (place, ec) = (Place::new().await, Signer::new("ec", Algorithm::ES256));
    let provider = Provider::new(&[&ec]).await;
    let hub = provider.hub(&place, json!({}));
    let issued =
        |second: i64| ec.token(json!({"iat": at(second).timestamp(), "exp": at(second + 900).timestamp()}));
    // The provider's clock is fast.
    let ahead = hub.admit(&issued(60), Keys::All, now()).await.unwrap();
    hub.revoke(None, &Revoked::Subject("42".into()), now())
        .await
        .unwrap();
    assert!(ahead.revoked());
    let again = hub.admit(&issued(62), Keys::All, at(62)).await;
    assert_eq!(again.unwrap_err(), TokenFault::Revoked);
    hub.admit(&issued(63), Keys::All, at(63)).await.unwrap();
    // Of the hub's own tokens it knows better.
    let mut own = asked(&["a"]);
    own.subject = "42".into();
    let own = hub.mint(own, &grantor(&["#"]), at(3)).await.unwrap();
    hub.admit(&own.token, Keys::All, at(3)).await.unwrap();
}

#[tokio::test]
async fn a_provider_that_says_nothing_holds_up_no_revocation() {
    const SOON: std::time::Duration = std::time::Duration::from_secs(5);
    let place = Place::new().await;
    let silent = [
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
    ];
    let settings = silent.iter().enumerate().map(|(n, listener)| {
        let port = listener.local_addr().unwrap().port();
        let settings = json!({
            "name": format!("silent-{n}"), "jwks_url": format!("http://127.0.0.1:{port}/keys"),
            "issuer": format!("{ISS}{n}"), "audience": AUDIENCE, "topics": ["stock/#"],
        });
        serde_json::from_value(settings).unwrap()
    });
    let outbound = Outbound::new(vec!["127.0.0.1".parse().unwrap()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut shared = crate::testing::shared(place.store.clone(), &folder);
    shared.browser_tokens = place.hub_with(settings.collect(), &outbound);
    let (shared, stop) = (Arc::new(shared), tokio_util::sync::CancellationToken::new());
    let looking = tokio::spawn(run(shared.clone(), stop.clone()));
    let mut open = Vec::new();
    for listener in &silent {
        // Both at once: none is asked only when the one before has not answered.
        let asked = tokio::time::timeout(SOON / 2, listener.accept()).await;
        open.push(asked.unwrap().unwrap());
    }

    let token = minted(&place.hub(), &["a"]).await;
    let grants = shared
        .browser_tokens
        .admit(&token.token, Keys::All, now())
        .await
        .unwrap();
    let mut changes = shared.browser_tokens.revocations.changes();
    let subject = Revoked::Subject("customer-1".into());
    place.hub().revoke(None, &subject, now()).await.unwrap();
    let heard = tokio::time::timeout(SOON, changes.changed()).await;
    assert!(heard.is_ok() && grants.revoked());
    stop.cancel();
    looking.await.unwrap();
}
