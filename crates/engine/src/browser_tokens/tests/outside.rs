//! Tokens of an identity provider: a server that hands out its keys, is down now and then, and changes them.

mod endings;

use std::sync::Mutex;

use aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
use aws_lc_rs::{encoding::AsDer, rsa, signature::EcdsaKeyPair};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

const ISS: &str = "https://accounts.example.com/";
const AUDIENCE: &str = "crossdock-production";

/// Serves a key set, or whatever else it is told to, and counts who asks.
struct Provider {
    port: u16,
    answer: Arc<Mutex<String>>,
    asked: Arc<AtomicU32>,
}

impl Provider {
    async fn new(keys: &[&Signer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Self {
            port: listener.local_addr().unwrap().port(),
            answer: Arc::default(),
            asked: Arc::default(),
        };
        provider.hands_out(keys);
        let (answer, asked) = (provider.answer.clone(), provider.asked.clone());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                asked.fetch_add(1, Ordering::SeqCst);
                let _ = stream.read(&mut [0; 4_096]).await;
                let answer = answer.lock().unwrap().clone();
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        provider
    }

    fn hands_out(&self, keys: &[&Signer]) {
        let keys: Vec<_> = keys.iter().map(|signer| signer.jwk.clone()).collect();
        self.says("200 OK", &json!({ "keys": keys }).to_string());
    }

    fn says(&self, status: &str, body: &str) {
        *self.answer.lock().unwrap() = format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
    }

    fn times_asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }

    fn settings(&self, change: Value) -> TokenIssuer {
        let mut settings = json!({
            "name": "accounts", "jwks_url": format!("http://127.0.0.1:{}/keys", self.port),
            "issuer": ISS, "audience": AUDIENCE, "topics": ["state/customer/{sub}/#", "stock/{store}/+"],
        });
        for (name, value) in change.as_object().unwrap() {
            settings[name] = value.clone();
        }
        serde_json::from_value(settings).unwrap()
    }

    fn hub(&self, place: &Place, change: Value) -> BrowserTokens {
        let outbound = Outbound::new(vec!["127.0.0.1".parse().unwrap()]).unwrap();
        place.hub_with(vec![self.settings(change)], &outbound)
    }
}

/// A key of the provider's.
struct Signer {
    header: Header,
    private: EncodingKey,
    jwk: Value,
}

impl Signer {
    fn new(kid: &str, algorithm: Algorithm) -> Self {
        let private = match algorithm {
            Algorithm::ES256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
                EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref())
            }
            _ => {
                let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
                let wrapped: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
                // What PKCS #8 puts before a key of this size takes 26 bytes.
                EncodingKey::from_rsa_der(&wrapped.as_ref()[26..])
            }
        };
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&private, algorithm).unwrap()).unwrap();
        jwk["kid"] = kid.into();
        jwk["use"] = "sig".into();
        let mut header = Header::new(algorithm);
        header.kid = Some(kid.into());
        Self { header, private, jwk }
    }

    fn token(&self, changes: Value) -> String {
        let mut claims = json!({
            "iss": ISS, "aud": ["shop", AUDIENCE], "sub": "42", "store": "london",
            "iat": now().timestamp(), "exp": at(3_600).timestamp(),
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
            .as_object_mut()
            .unwrap()
            .retain(|_, value| !value.is_null());
        jsonwebtoken::encode(&self.header, &claims, &self.private).unwrap()
    }
}

#[tokio::test]
async fn claims_open_what_the_templates_say() {
    let (place, ec, rsa) = (
        Place::new().await,
        Signer::new("ec", Algorithm::ES256),
        Signer::new("rsa", Algorithm::RS256),
    );
    let provider = Provider::new(&[&ec, &rsa]).await;
    let hub = provider.hub(&place, json!({}));
    for signer in [&ec, &rsa] {
        let grants = hub
            .admit(&signer.token(json!({})), Keys::All, now())
            .await
            .unwrap();
        assert_eq!(grants.principal(), "issuer:accounts/42");
        for (topic, may) in [
            ("state/customer/42/#", true),
            ("stock/london/+", true),
            ("state/customer/43/#", false),
            ("stock/+/mug", false),
        ] {
            assert_eq!(grants.may_subscribe(&filter(topic)), may, "{topic}");
        }
    }
    assert_eq!(provider.times_asked(), 1);
    let numbers = ec.token(json!({"store": 7}));
    assert!(
        hub.admit(&numbers, Keys::All, now())
            .await
            .unwrap()
            .may_subscribe(&filter("stock/7/mug"))
    );
    for changes in [
        json!({"sub": "#"}),
        json!({"sub": "+"}),
        json!({"sub": "42/#"}),
        json!({"sub": "a/b"}),
        json!({"store": ""}),
        json!({"store": null}),
        json!({"store": ["london"]}),
        json!({"store": "\u{0}"}),
    ] {
        let refused = hub.admit(&ec.token(changes.clone()), Keys::All, now()).await;
        assert_eq!(refused.unwrap_err(), TokenFault::Topics, "{changes}");
    }
}

#[tokio::test]
async fn a_claim_that_lists_topics_opens_what_lies_within() {
    let (place, ec) = (Place::new().await, Signer::new("ec", Algorithm::ES256));
    let provider = Provider::new(&[&ec]).await;
    let bounds = json!({"topics": [], "topics_claim": "https://shop.example/topics", "within": ["state/#"]});
    let hub = provider.hub(&place, bounds);
    let token = |topics: Value| ec.token(json!({"https://shop.example/topics": topics}));
    let grants = hub
        .admit(&token(json!(["state/order/1", "state/cart/#"])), Keys::All, now())
        .await
        .unwrap();
    assert!(grants.may_subscribe(&filter("state/cart/1")) && !grants.may_subscribe(&filter("state/#")));
    for topics in [
        json!(["state/order/1", "stock/#"]),
        json!(["#"]),
        json!(["+/order"]),
        json!("state/#"),
        json!([1]),
        json!(
            (0..51)
                .map(|number| format!("state/{number}"))
                .collect::<Vec<_>>()
        ),
        Value::Null,
    ] {
        let refused = hub.admit(&token(topics.clone()), Keys::All, now()).await;
        assert_eq!(refused.unwrap_err(), TokenFault::Topics, "{topics}");
    }
}

#[tokio::test]
async fn a_token_is_for_this_hub_by_this_issuer_with_its_own_key() {
    let (place, ec) = (Place::new().await, Signer::new("ec", Algorithm::ES256));
    let provider = Provider::new(&[&ec]).await;
    let hub = provider.hub(&place, json!({}));
    let stranger = Signer::new("ec", Algorithm::ES256);
    let confused = {
        let secret = EncodingKey::from_secret(ec.jwk["x"].as_str().unwrap().as_bytes());
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("ec".into());
        jsonwebtoken::encode(&header, &json!({"iss": ISS}), &secret).unwrap()
    };
    for (token, expected) in [
        (
            ec.token(json!({"iss": "https://accounts.example.com"})),
            TokenFault::UnknownIssuer,
        ),
        (
            ec.token(json!({"aud": "crossdock-development"})),
            TokenFault::Audience,
        ),
        (ec.token(json!({"aud": null})), TokenFault::Claim("aud")),
        // A key of the issuer signs for nobody else, the hub above all.
        (
            ec.token(json!({"iss": ENVIRONMENT, "aud": ENVIRONMENT})),
            TokenFault::UnknownKey,
        ),
        (
            ec.token(json!({"exp": at(3_601).timestamp()})),
            TokenFault::LivesTooLong,
        ),
        (ec.token(json!({"exp": null})), TokenFault::Claim("exp")),
        (ec.token(json!({"iat": null})), TokenFault::Claim("iat")),
        (stranger.token(json!({})), TokenFault::Signature),
        (confused, TokenFault::Algorithm),
    ] {
        assert_eq!(
            hub.admit(&token, Keys::All, now()).await.unwrap_err(),
            expected,
            "{token}"
        );
    }
    let token = ec.token(json!({}));
    hub.revoke(None, &Revoked::Subject("42".into()), now())
        .await
        .unwrap();
    assert_eq!(
        hub.admit(&token, Keys::All, now()).await.unwrap_err(),
        TokenFault::Revoked
    );
}

#[tokio::test]
async fn only_keys_with_a_public_half_a_name_and_a_use_count() {
    let (place, ec) = (Place::new().await, Signer::new("ec", Algorithm::ES256));
    let provider = Provider::new(&[]).await;
    let hub = provider.hub(&place, json!({}));
    let changed = |changes: Value| {
        let mut jwk = ec.jwk.clone();
        for (name, value) in changes.as_object().unwrap() {
            jwk[name] = value.clone();
        }
        jwk.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        jwk
    };
    let token = ec.token(json!({}));
    let mut second = 0;
    for (jwk, counts) in [
        (changed(json!({})), true),
        (changed(json!({"use": null})), true),
        (changed(json!({"alg": null})), true),
        (changed(json!({"kid": null})), false),
        (changed(json!({"use": "enc"})), false),
        (changed(json!({"key_ops": ["verify", "new"]})), true),
        (changed(json!({"use": null, "key_ops": ["wrapKey"]})), false),
        (changed(json!({"key_ops": ["sign"]})), false),
        (changed(json!({"alg": "RS256"})), false),
        (changed(json!({"alg": "HS256"})), false),
        (changed(json!({"crv": "P-384"})), false),
        (changed(json!({"kty": "quantum"})), false),
        (
            json!({"kty": "oct", "k": "c2VjcmV0", "kid": "ec", "alg": "HS256"}),
            false,
        ),
        (json!("ec"), false),
    ] {
        provider.says("200 OK", &json!({"keys": [jwk, {"kty": "new"}]}).to_string());
        let hub = provider.hub(&place, json!({}));
        assert_eq!(hub.admit(&token, Keys::All, now()).await.is_ok(), counts, "{jwk}");
    }
    for (status, body) in [
        ("200 OK", "<html>"),
        ("200 OK", "{}"),
        ("200 OK", r#"{"keys": []}"#),
        ("500 Oh no", r#"{"keys": []}"#),
        ("302 Found", ""),
        ("404 Not Found", ""),
        ("200 OK", &"x".repeat(300_000)),
    ] {
        provider.says(status, body);
        second += 60;
        let refused = hub.admit(&token, Keys::All, at(second)).await;
        assert_eq!(refused.unwrap_err(), TokenFault::KeysUnavailable, "{status}");
    }
}

#[tokio::test]
async fn keys_are_fetched_seldom_and_believed_for_a_day_while_the_issuer_is_down() {
    let place = Place::new().await;
    let (old, new) = (
        Signer::new("old", Algorithm::ES256),
        Signer::new("new", Algorithm::ES256),
    );
    let provider = Provider::new(&[&old]).await;
    let hub = provider.hub(&place, json!({}));
    let fresh = |signer: &Signer, second: i64| {
        signer.token(json!({"iat": at(second).timestamp(), "exp": at(second + 60).timestamp()}))
    };
    hub.admit(&fresh(&old, 0), Keys::All, at(0)).await.unwrap();
    for _ in 0..20 {
        let unknown = hub.admit(&fresh(&new, 0), Keys::All, at(0)).await;
        assert_eq!(unknown.unwrap_err(), TokenFault::UnknownKey);
    }
    assert_eq!(provider.times_asked(), 1);

    provider.hands_out(&[&old, &new]);
    hub.admit(&fresh(&new, 30), Keys::All, at(30)).await.unwrap();
    assert_eq!(provider.times_asked(), 2);

    // The old key is withdrawn: it is believed until the keys are fetched again.
    provider.hands_out(&[&new]);
    hub.issuers.look_after(at(629)).await;
    hub.admit(&fresh(&old, 629), Keys::All, at(629)).await.unwrap();
    hub.issuers.look_after(at(630)).await;
    assert_eq!(
        hub.admit(&fresh(&old, 630), Keys::All, at(630))
            .await
            .unwrap_err(),
        TokenFault::UnknownKey
    );

    provider.says("503 Away", "");
    let day = 24 * 3_600;
    for hour in 1..24 {
        hub.issuers.look_after(at(630 + hour * 3_600)).await;
    }
    hub.admit(&fresh(&new, 629 + day), Keys::All, at(629 + day))
        .await
        .unwrap();
    let gone = hub.admit(&fresh(&new, 630 + day), Keys::All, at(630 + day)).await;
    assert_eq!(gone.unwrap_err(), TokenFault::KeysUnavailable);
    provider.hands_out(&[&new]);
    hub.admit(&fresh(&new, 700 + day), Keys::All, at(700 + day))
        .await
        .unwrap();
}

#[tokio::test]
async fn many_who_come_at_once_have_the_keys_fetched_once() {
    let (place, ec) = (Place::new().await, Signer::new("ec", Algorithm::ES256));
    let provider = Provider::new(&[&ec]).await;
    let hub = Arc::new(provider.hub(&place, json!({})));
    let token = ec.token(json!({}));
    let from = "192.0.2.1".parse().unwrap();
    let logins = (0..200).map(|_| {
        let (hub, token) = (hub.clone(), token.clone());
        tokio::spawn(async move { hub.log_in(&token, from, now()).await.map(drop) })
    });
    for login in futures::future::join_all(logins).await {
        assert_eq!(login.unwrap(), Ok(()));
    }
    assert_eq!(provider.times_asked(), 1);
}

#[tokio::test]
async fn where_others_guess_an_issuers_good_token_passes_and_it_is_not_asked() {
    let (place, ec) = (Place::new().await, Signer::new("ec", Algorithm::ES256));
    let (other, provider) = (Signer::new("new", Algorithm::ES256), Provider::new(&[&ec]).await);
    let hub = provider.hub(&place, json!({}));
    let shared = "192.0.2.1".parse().unwrap();
    let log_in = async |token: &str, at| hub.log_in(token, shared, at).await.map(drop);
    assert_eq!(log_in(&ec.token(json!({})), now()).await, Ok(()));
    for _ in 0..30 {
        assert_eq!(log_in("guessed", at(59)).await, Err(TokenFault::Malformed.into()));
    }
    let held_up = LoginError::TooSoon { retry_after_s: 1 };
    assert_eq!(log_in(&other.token(json!({})), at(59)).await, Err(held_up));
    assert_eq!(log_in(&ec.token(json!({})), at(59)).await, Ok(()));
    assert_eq!(provider.times_asked(), 1);
}

#[tokio::test]
async fn an_issuer_inside_the_network_is_asked_only_where_it_is_allowed() {
    let (place, ec) = (Place::new().await, Signer::new("ec", Algorithm::ES256));
    let provider = Provider::new(&[&ec]).await;
    let hub = place.hub_with(vec![provider.settings(json!({}))], &no_outbound());
    let refused = hub.admit(&ec.token(json!({})), Keys::All, now()).await;
    assert_eq!(refused.unwrap_err(), TokenFault::KeysUnavailable);
    assert_eq!(provider.times_asked(), 0);
}
