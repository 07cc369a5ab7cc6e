//! Browser tokens: the environment they belong to, the keys that verify them, and what was revoked.

use chrono::TimeDelta;
use crossdock_store::{ApiKey, Revocation, RevokedKind, SigningKey, StoreError};

use super::{Database, at};

const LIFE: TimeDelta = TimeDelta::seconds(3_600);

fn key(kid: &str, made: i64) -> SigningKey {
    SigningKey {
        kid: kid.into(),
        public_key: vec![0, 255, 7],
        created: at(made),
        signs_until: at(made + 100),
        verifies_until: at(made + 200),
    }
}

fn revocation(kind: RevokedKind, name: &str, second: i64) -> Revocation {
    Revocation {
        kind,
        name: name.into(),
        at: at(second),
        until: at(second) + LIFE,
    }
}

pub async fn all_hubs_name_the_environment_alike(database: &impl Database) {
    let (one, other) = (database.open().await, database.open().await);
    let (first, second) = tokio::join!(one.environment("a"), other.environment("b"));
    let name = first.unwrap();
    assert!(name == "a" || name == "b");
    assert_eq!(second.unwrap(), name);
    assert_eq!(one.environment("c").await.unwrap(), name);
}

pub async fn signing_keys_are_known_until_they_verify_nothing(database: &impl Database) {
    let store = database.open().await;
    for made in [key("a", 0), key("c", 50), key("b", 50)] {
        store.add_signing_key(made).await.unwrap();
    }
    assert!(matches!(
        store.add_signing_key(key("a", 1)).await,
        Err(StoreError::Conflict(_))
    ));
    let kids = async |second| {
        let keys = store.signing_keys(at(second)).await.unwrap();
        keys.into_iter().map(|key| key.kid).collect::<Vec<_>>()
    };
    assert_eq!(store.signing_keys(at(0)).await.unwrap()[2], key("a", 0));
    assert_eq!(kids(199).await, ["b", "c", "a"]);
    assert_eq!(kids(200).await, ["b", "c"]);
    store.forget_tokens(at(201)).await.unwrap();
    assert_eq!(kids(0).await, ["b", "c"]);
}

pub async fn retired_keys_sign_no_longer(database: &impl Database) {
    let store = database.open().await;
    for made in [key("a", 0), key("b", 20), key("c", 90)] {
        store.add_signing_key(made).await.unwrap();
    }
    store.retire_signing_keys(at(30), at(210)).await.unwrap();
    let keys = store.signing_keys(at(0)).await.unwrap();
    let until = |kid: &str| {
        let key = keys.iter().find(|key| key.kid == kid).unwrap();
        (key.signs_until, key.verifies_until)
    };
    assert_eq!(until("a"), (at(30), at(200)));
    assert_eq!(until("b"), (at(30), at(210)));
    assert_eq!(until("c"), (at(190), at(290)), "it was made later");
}

pub async fn revocations_hold_until_they_are_moot(database: &impl Database) {
    let store = database.open().await;
    let odd = "\0 customer/\u{fdd0}";
    for revoked in [
        revocation(RevokedKind::Subject, odd, 5),
        revocation(RevokedKind::Token, odd, 5),
        revocation(RevokedKind::Subject, odd, 9),
        revocation(RevokedKind::Subject, odd, 7),
    ] {
        store.revoke_tokens(revoked, "a", 100).await.unwrap();
    }
    let mut known = store.token_revocations(at(5), LIFE).await.unwrap();
    known.sort_by_key(|revocation| revocation.at);
    assert_eq!(
        known,
        [
            revocation(RevokedKind::Token, odd, 5),
            revocation(RevokedKind::Subject, odd, 9)
        ]
    );
    let left = store.token_revocations(at(5) + LIFE, LIFE).await.unwrap();
    assert_eq!(left, [revocation(RevokedKind::Subject, odd, 9)]);
    store.forget_tokens(at(10) + LIFE).await.unwrap();
    assert_eq!(store.token_revocations(at(0), LIFE).await.unwrap(), []);
}

pub async fn a_revoked_api_key_is_a_revocation(database: &impl Database) {
    let store = database.open().await;
    for id in ["a", "b"] {
        let key = ApiKey {
            id: id.into(),
            name: "storefront".into(),
            hash: [7; 32],
            scopes: vec!["browser-tokens:write".into()],
            topics: vec!["state/#".into()],
            adapter: None,
            created: at(0),
            expires: None,
            revoked: None,
            last_used: None,
        };
        store.add_api_key(key).await.unwrap();
    }
    store.revoke_api_key("a", at(20)).await.unwrap();
    let known = store.token_revocations(at(30), LIFE).await.unwrap();
    assert_eq!(known, [revocation(RevokedKind::ApiKey, "a", 20)]);
    assert_eq!(store.token_revocations(at(20) + LIFE, LIFE).await.unwrap(), []);
}

pub async fn revocations_of_each_revoker_are_bounded(database: &impl Database) {
    let store = database.open().await;
    let revoke = async |by: &str, name: &str, second| {
        let revoked = revocation(RevokedKind::Token, name, second);
        store.revoke_tokens(revoked, by, 2).await
    };
    for name in ["a", "b"] {
        revoke("one", name, 0).await.unwrap();
    }
    assert!(matches!(
        revoke("one", "c", 0).await,
        Err(StoreError::Conflict(_))
    ));
    // Whoever has too many keeps nobody else from it, and may say again what is said.
    revoke("other", "d", 0).await.unwrap();
    revoke("one", "a", 5).await.unwrap();
    let known = store.token_revocations(at(5), LIFE).await.unwrap();
    assert!(known.contains(&revocation(RevokedKind::Token, "a", 5)));
    assert_eq!(known.len(), 3);
    revoke("one", "c", 3_600).await.unwrap();
}
