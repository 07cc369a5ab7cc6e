//! Tokens that open nothing, each for a reason of its own.

use aws_lc_rs::{
    hmac,
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use crossdock_store::SigningKey;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn encoded(part: &str) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

/// The same token under another head.
pub(super) fn with_head(token: &str, head: &str) -> String {
    let (_, rest) = token.split_once('.').unwrap();
    format!("{}.{rest}", encoded(head))
}

/// Somebody who has a key that the hubs believe.
struct Forger {
    pair: Ed25519KeyPair,
    hub: BrowserTokens,
    place: Place,
}

impl Forger {
    async fn new() -> Self {
        let place = Place::new().await;
        let pair = Ed25519KeyPair::generate().unwrap();
        let key = SigningKey {
            kid: "k".into(),
            public_key: pair.public_key().as_ref().to_vec(),
            created: now(),
            signs_until: at(100_000),
            verifies_until: at(100_000),
        };
        place.store.add_signing_key(key).await.unwrap();
        Self {
            pair,
            hub: place.hub(),
            place,
        }
    }

    fn sign(&self, head: &str, claims: &str) -> String {
        let message = format!("{}.{}", encoded(head), encoded(claims));
        let signature = self.pair.sign(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A good token but for these claims; null removes one.
    fn token(&self, changes: Value) -> String {
        let mut claims = json!({
            "iss": ENVIRONMENT, "aud": ENVIRONMENT, "sub": "customer-1", "jti": "t", "key": KEY,
            "iat": now().timestamp(), "exp": at(900).timestamp(), "topics": ["state/order/1"],
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
            .as_object_mut()
            .unwrap()
            .retain(|_, value| !value.is_null());
        self.sign(r#"{"alg":"EdDSA","kid":"k"}"#, &claims.to_string())
    }

    async fn fault(&self, token: &str) -> TokenFault {
        match self.hub.admit(token, Keys::All, now()).await {
            Ok(_) => panic!("{token} opens something"),
            Err(fault) => fault,
        }
    }
}

#[tokio::test]
async fn what_the_forger_makes_is_good_but_for_the_fault() {
    let forger = Forger::new().await;
    for changes in [
        json!({}),
        json!({"aud": ["somebody", ENVIRONMENT]}),
        json!({"iat": 1_700_000_000.9, "exp": 1_700_000_900.5, "nbf": now().timestamp()}),
        json!({"iat": at(60).timestamp(), "exp": at(3_660).timestamp()}),
        json!({"topics": []}),
    ] {
        let admitted = forger
            .hub
            .admit(&forger.token(changes.clone()), Keys::All, now())
            .await;
        assert!(admitted.is_ok(), "{changes}: {admitted:?}");
    }
}

#[tokio::test]
async fn a_claim_that_is_not_as_it_should_be_is_refused() {
    let forger = Forger::new().await;
    let fifty_one: Vec<_> = (0..51).map(|number| number.to_string()).collect();
    for (changes, expected) in [
        (json!({"iss": null}), TokenFault::Claim("iss")),
        (json!({"iss": 1}), TokenFault::Claim("iss")),
        (json!({"iss": "crossdock:Test"}), TokenFault::UnknownIssuer),
        (json!({"aud": null}), TokenFault::Claim("aud")),
        (json!({"aud": "crossdock:production"}), TokenFault::Audience),
        (json!({"aud": []}), TokenFault::Audience),
        (json!({"aud": {"a": ENVIRONMENT}}), TokenFault::Audience),
        (json!({"sub": null}), TokenFault::Claim("sub")),
        (json!({"sub": ""}), TokenFault::Claim("sub")),
        (json!({"sub": "x".repeat(256)}), TokenFault::Claim("sub")),
        (json!({"jti": null}), TokenFault::Claim("jti")),
        (json!({"key": null}), TokenFault::Claim("key")),
        (json!({"exp": null}), TokenFault::Claim("exp")),
        (json!({"exp": "2030-01-01"}), TokenFault::Claim("exp")),
        (json!({"exp": 1e300}), TokenFault::Claim("exp")),
        (json!({"exp": -1}), TokenFault::Claim("exp")),
        (json!({"iat": null}), TokenFault::Claim("iat")),
        (json!({"nbf": "now"}), TokenFault::Claim("nbf")),
        (json!({"exp": at(0).timestamp()}), TokenFault::Expired),
        (json!({"exp": at(3_601).timestamp()}), TokenFault::LivesTooLong),
        (
            json!({"iat": at(-3_000).timestamp(), "exp": at(601).timestamp()}),
            TokenFault::LivesTooLong,
        ),
        (
            json!({"iat": at(61).timestamp(), "exp": at(900).timestamp()}),
            TokenFault::NotYet,
        ),
        (json!({"nbf": at(61).timestamp()}), TokenFault::NotYet),
        (
            json!({"iat": at(10).timestamp(), "exp": at(9).timestamp()}),
            TokenFault::Expired,
        ),
        (json!({"topics": null}), TokenFault::Topics),
        (json!({"topics": "state/#"}), TokenFault::Topics),
        (json!({"topics": [1]}), TokenFault::Topics),
        (json!({"topics": ["state/#/a"]}), TokenFault::Topics),
        (json!({"topics": ["$SYS/#"]}), TokenFault::Topics),
        (json!({"topics": fifty_one}), TokenFault::Topics),
    ] {
        assert_eq!(
            forger.fault(&forger.token(changes.clone())).await,
            expected,
            "{changes}"
        );
    }
}

#[tokio::test]
async fn a_signature_counts_by_the_keys_own_algorithm_only() {
    let forger = Forger::new().await;
    let good = forger.token(json!({}));
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (_, claims) = message.split_once('.').unwrap();
    let unsigned = |head: &str| format!("{}.{claims}.", encoded(head));
    let by_head = |head: &str| {
        let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        forger.sign(head, &claims)
    };
    // The public key as if it were a secret that both sides share.
    let confused = {
        let message = format!("{}.{claims}", encoded(r#"{"alg":"HS256","kid":"k"}"#));
        let secret = hmac::Key::new(hmac::HMAC_SHA256, forger.pair.public_key().as_ref());
        let tag = hmac::sign(&secret, message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
    };
    let longer = format!("{message}.{signature}AA");
    let other_claims = {
        let forged = encoded(&json!({"iss": ENVIRONMENT, "topics": ["#"]}).to_string());
        format!("{}.{forged}.{signature}", message.split_once('.').unwrap().0)
    };
    for (token, expected) in [
        (unsigned(r#"{"alg":"none","kid":"k"}"#), TokenFault::Algorithm),
        (unsigned(r#"{"alg":"None","kid":"k"}"#), TokenFault::Algorithm),
        (unsigned(r#"{"alg":"EdDSA","kid":"k"}"#), TokenFault::Signature),
        (confused, TokenFault::Algorithm),
        (by_head(r#"{"alg":"RS256","kid":"k"}"#), TokenFault::Algorithm),
        (by_head(r#"{"alg":"","kid":"k"}"#), TokenFault::Algorithm),
        (
            by_head(r#"{"alg":"EdDSA","kid":"other"}"#),
            TokenFault::UnknownKey,
        ),
        (by_head(r#"{"alg":"EdDSA"}"#), TokenFault::NoKeyId),
        (by_head(r#"{"alg":"EdDSA","kid":""}"#), TokenFault::NoKeyId),
        (
            by_head(r#"{"alg":"EdDSA","kid":"k","crit":["b64"],"b64":false}"#),
            TokenFault::Critical,
        ),
        (by_head(r#"{"alg":"EdDSA","kid":1}"#), TokenFault::Malformed),
        (by_head(r#"{"kid":"k"}"#), TokenFault::Malformed),
        (longer, TokenFault::Signature),
        (other_claims, TokenFault::Signature),
        (good.replace('.', ".."), TokenFault::Malformed),
        (format!("{good}="), TokenFault::Signature),
        (format!("{good}.{signature}"), TokenFault::Malformed),
        (message.to_owned(), TokenFault::Malformed),
        (String::new(), TokenFault::Malformed),
        ("..".to_owned(), TokenFault::Malformed),
        ("cdk_abcdefabcdef_secret".to_owned(), TokenFault::ApiKey),
        (
            format!("{good}{}", "A".repeat(BROWSER_TOKEN_MAX_BYTES)),
            TokenFault::TooLong,
        ),
    ] {
        assert_eq!(forger.fault(&token).await, expected, "{token}");
    }
    assert!(forger.hub.admit(&good, Keys::All, now()).await.is_ok());
}

#[tokio::test]
async fn who_guesses_has_to_wait_and_who_was_once_right_does_not() {
    let forger = Forger::new().await;
    let (good, expired) = (
        forger.token(json!({})),
        forger.token(json!({"exp": at(0).timestamp()})),
    );
    let garbled = with_head(&good, r#"{"alg":"EdDSA","kid":"k","x":1}"#);
    let (guesser, office) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
    let log_in = async |token: &str, from| forger.hub.log_in(token, from, now()).await.map(drop);
    for _ in 0..30 {
        assert_eq!(log_in(&garbled, guesser).await, Err(TokenFault::Signature.into()));
        assert_eq!(log_in(&expired, office).await, Err(TokenFault::Expired.into()));
    }
    let held_up = LoginError::TooSoon { retry_after_s: 1 };
    assert_eq!(log_in(&garbled, guesser).await, Err(held_up));
    assert_eq!(log_in("guessed", guesser).await, Err(held_up));
    assert_eq!(log_in(&garbled, office).await, Err(TokenFault::Signature.into()));
    let later = forger.hub.log_in(&garbled, guesser, at(1)).await.map(drop);
    assert_eq!(later, Err(TokenFault::Signature.into()));
}

#[tokio::test]
async fn only_logins_to_stay_are_counted() {
    let forger = Forger::new().await;
    let (good, expired) = (
        forger.token(json!({})),
        forger.token(json!({"exp": at(0).timestamp()})),
    );
    let from = "192.0.2.1".parse().unwrap();
    let lately = || forger.hub.refusals.lately(0, now()).map(|many| many.to_string());
    for _ in 0..30 {
        assert!(forger.hub.log_in(&expired, from, now()).await.is_err());
    }
    assert_eq!(lately(), None, "one page may ask for many topics");
    for token in ["guessed"; 31].into_iter().chain([expired.as_str(); 20]) {
        assert!(forger.hub.connect(token, from, now()).await.is_err());
        assert!(forger.hub.log_in(&good, from, now()).await.is_ok());
    }
    let told = lately().unwrap();
    assert!(
        told.starts_with("51 logins of pages were refused in the last 5 minutes and none was let in, mostly"),
        "{told}"
    );
    assert!(forger.hub.connect(&good, from, now()).await.is_ok());
    assert_eq!(lately(), None);
}

#[tokio::test]
async fn whatever_nobody_has_signed_is_a_guess() {
    let forger = Forger::new().await;
    let good = forger.token(json!({}));
    let signed_by = |kid: &str| with_head(&good, &format!(r#"{{"alg":"EdDSA","kid":"{kid}"}}"#));
    for (number, (guess, fault)) in [
        ("x".repeat(BROWSER_TOKEN_MAX_BYTES + 1), TokenFault::TooLong),
        ("guessed".into(), TokenFault::Malformed),
        ("cdk_000000000000_x".into(), TokenFault::ApiKey),
        (
            with_head(&good, r#"{"alg":"EdDSA","crit":[]}"#),
            TokenFault::Critical,
        ),
        (with_head(&good, r#"{"alg":"EdDSA"}"#), TokenFault::NoKeyId),
        (signed_by("nobody"), TokenFault::UnknownKey),
        (signed_by(&"x".repeat(256)), TokenFault::UnknownKey),
        (forger.token(json!({"iss": "nobody"})), TokenFault::UnknownIssuer),
        ("e30.e30.x".into(), TokenFault::Malformed),
        (forger.token(json!({"iss": null})), TokenFault::Claim("iss")),
        (
            with_head(&good, r#"{"alg":"none","kid":"k"}"#),
            TokenFault::Algorithm,
        ),
        (format!("{good}A"), TokenFault::Signature),
    ]
    .into_iter()
    .enumerate()
    {
        let from = format!("192.0.2.{number}").parse().unwrap();
        let log_in = async || forger.hub.log_in(&guess, from, now()).await.map(drop);
        for _ in 0..30 {
            assert_eq!(log_in().await, Err(fault.into()));
        }
        assert_eq!(
            log_in().await,
            Err(LoginError::TooSoon { retry_after_s: 1 }),
            "{fault}"
        );
    }
}

#[tokio::test]
async fn where_others_guess_a_good_token_passes_and_nobody_is_asked_for_keys() {
    let forger = Forger::new().await;
    let good = forger.token(json!({}));
    let expired = forger.token(json!({"exp": at(0).timestamp()}));
    let unknown = forger.sign(
        r#"{"alg":"EdDSA","kid":"other"}"#,
        &json!({"iss": ENVIRONMENT}).to_string(),
    );
    let shared = "192.0.2.1".parse().unwrap();
    let log_in = async |token: &str| forger.hub.log_in(token, shared, now()).await.map(drop);
    assert_eq!(log_in(&good).await, Ok(()));
    for _ in 0..30 {
        assert_eq!(log_in("guessed").await, Err(TokenFault::Malformed.into()));
    }
    let asked = forger.place.asked.load(Ordering::SeqCst);
    for _ in 0..100 {
        let held_up = LoginError::TooSoon { retry_after_s: 1 };
        assert_eq!(log_in(&unknown).await, Err(held_up));
        assert_eq!(log_in(&good).await, Ok(()));
    }
    assert_eq!(log_in(&expired).await, Err(TokenFault::Expired.into()));
    assert_eq!(forger.place.asked.load(Ordering::SeqCst), asked);
}

proptest! {
    #[test]
    fn whatever_comes_is_read_or_refused(
        token in ".{0,80}|[A-Za-z0-9_-]{0,40}(\\.[A-Za-z0-9_-]{0,40}){0,4}",
        head in "\\{\"alg\":(\"[a-zA-Z0-9]{0,6}\"|[0-9]|null)(,\"(kid|crit|x)\":(\"a\"|1|\\[\\]|null)){0,2}\\}",
        claims in "\\{(\"(iss|exp)\":(\"a\"|-?[0-9]{1,30}(e[0-9]{1,3})?|null|\\{\\}))?\\}",
        keys in "(\\{\"keys\":\\[)?(\\{\"kty\":\"(RSA|EC|OKP|oct)\",\"(n|x|crv|kid)\":\"[a-zA-Z0-9-]{0,8}\"\\}|1)?(\\]\\})?",
    ) {
        for token in [token, format!("{}.{}.", encoded(&head), encoded(&claims))] {
            if let Ok(read) = Unverified::read(&token) {
                let _ = (read.issuer(), read.kid());
                let nobody = token::Verifier {
                    algorithm: jsonwebtoken::Algorithm::EdDSA,
                    key: jsonwebtoken::DecodingKey::from_ed_der(&[0; 32]),
                };
                prop_assert!(read.verified(&nobody).is_err());
            }
        }
        prop_assert!(jwks::read(keys.as_bytes()).map_or(true, |usable| usable.is_empty()));
    }
}

#[test]
fn whoever_guesses_is_not_told_whether_a_key_is_known() {
    let told = [
        TokenFault::NoKeyId,
        TokenFault::UnknownKey,
        TokenFault::Algorithm,
        TokenFault::Signature,
    ]
    .map(TokenFault::told);
    assert!(told.iter().all(|each| *each == told[0]), "{told:?}");
    assert_eq!(TokenFault::Expired.told(), "it has expired");
    assert_eq!(TokenFault::Revoked.told(), "it was revoked");
}
