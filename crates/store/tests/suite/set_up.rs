//! What operators set up, and which hubs live.

use crossdock_store::{
    AdapterCredential, ApiKey, DisabledEndpoint, HubBeat, NewRevision, RevisionFile, StoreError,
};

use super::{Database, at};

fn revision(note: &str) -> NewRevision {
    NewRevision {
        created: at(0),
        author: "admin".into(),
        note: Some(note.into()),
        digest: format!("digest of {note}"),
        files: ["adapters/shop.toml", "adapters/erp.toml"]
            .map(|path| RevisionFile {
                path: path.into(),
                text: format!("# {note}\nname = \"é\"\n"),
            })
            .to_vec(),
    }
}

pub async fn revisions_are_numbered_without_gaps(database: &impl Database) {
    let store = database.open().await;
    assert_eq!(store.current_revision().await.unwrap(), None);
    assert_eq!(store.append_revision(None, revision("one")).await.unwrap(), 1);
    for expected in [None, Some(2)] {
        let late = store.append_revision(expected, revision("late")).await;
        assert!(matches!(late, Err(StoreError::Conflict(_))));
    }
    let empty = NewRevision {
        files: Vec::new(),
        note: None,
        ..revision("two")
    };
    assert_eq!(store.append_revision(Some(1), empty).await.unwrap(), 2);
    assert_eq!(
        store.append_revision(Some(2), revision("three")).await.unwrap(),
        3
    );

    let current = store.current_revision().await.unwrap().unwrap();
    assert_eq!(
        (current.summary.number, current.summary.digest.as_str()),
        (3, "digest of three")
    );
    let paths: Vec<_> = current.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["adapters/erp.toml", "adapters/shop.toml"]);
    assert_eq!(current.files[0].text, "# three\nname = \"é\"\n");
    assert!(store.revision(2).await.unwrap().unwrap().files.is_empty());
    assert_eq!(store.revision(4).await.unwrap(), None);
    let numbers: Vec<_> = store
        .revisions(2)
        .await
        .unwrap()
        .iter()
        .map(|summary| summary.number)
        .collect();
    assert_eq!(numbers, [3, 2]);
}

pub async fn of_two_revisions_at_once_one_wins(database: &impl Database) {
    let (one, other) = (database.open().await, database.open().await);
    for current in 0..10_u32 {
        let expected = (current > 0).then_some(current);
        let (first, second) = tokio::join!(
            one.append_revision(expected, revision("one")),
            other.append_revision(expected, revision("other"))
        );
        let outcomes = [first, second];
        assert_eq!(
            outcomes
                .iter()
                .filter(|outcome| **outcome == Ok(current + 1))
                .count(),
            1
        );
        assert!(
            outcomes
                .iter()
                .any(|outcome| matches!(outcome, Err(StoreError::Conflict(_))))
        );
    }
}

fn api_key(id: &str) -> ApiKey {
    ApiKey {
        id: id.into(),
        name: "storefront".into(),
        hash: [7; 32],
        scopes: vec!["events:write".into(), "events:read".into()],
        topics: vec!["state/order/#".into(), "stock/+/+".into()],
        adapter: Some("shop".into()),
        created: at(0),
        expires: Some(at(100)),
        revoked: None,
        last_used: None,
    }
}

pub async fn api_keys_live_and_end(database: &impl Database) {
    let store = database.open().await;
    let plain = ApiKey {
        adapter: None,
        expires: None,
        scopes: Vec::new(),
        topics: Vec::new(),
        created: at(1),
        ..api_key("b")
    };
    for key in [&plain, &api_key("a")] {
        store.add_api_key(key.clone()).await.unwrap();
    }
    assert!(matches!(
        store.add_api_key(api_key("a")).await,
        Err(StoreError::Conflict(_))
    ));
    assert_eq!(store.api_key("a").await.unwrap(), Some(api_key("a")));
    assert_eq!(store.api_key("c").await.unwrap(), None);
    assert_eq!(store.api_keys().await.unwrap(), [api_key("a"), plain]);

    let used = [("a", 9), ("a", 5), ("c", 5)].map(|(id, second)| (id.to_owned(), at(second)));
    store.touch_api_keys(&used).await.unwrap();
    store.touch_api_keys(&[("a".into(), at(7))]).await.unwrap();
    store.touch_api_keys(&[]).await.unwrap();
    for second in [20, 30] {
        store.revoke_api_key("a", at(second)).await.unwrap();
    }
    let ended = store.api_key("a").await.unwrap().unwrap();
    assert_eq!((ended.last_used, ended.revoked), (Some(at(9)), Some(at(20))));
    assert_eq!(store.revoke_api_key("c", at(20)).await, Err(StoreError::NotFound));
}

pub async fn credentials_have_generations(database: &impl Database) {
    let store = database.open().await;
    store.add_api_key(api_key("key")).await.unwrap();
    let credential = |adapter: &str, generation| AdapterCredential {
        adapter: adapter.into(),
        generation,
        api_key_id: "key".into(),
        created: at(0),
        retired: None,
    };
    for credential in [credential("shop", 1), credential("erp", 2), credential("erp", 1)] {
        store.add_adapter_credential(credential).await.unwrap();
    }
    let keyless = AdapterCredential {
        api_key_id: "none".into(),
        ..credential("crm", 1)
    };
    for refused in [credential("erp", 2), keyless] {
        assert!(matches!(
            store.add_adapter_credential(refused).await,
            Err(StoreError::Conflict(_))
        ));
    }
    for second in [5, 9] {
        store
            .retire_adapter_credential("erp", 1, at(second))
            .await
            .unwrap();
    }
    assert_eq!(
        store.retire_adapter_credential("erp", 3, at(5)).await,
        Err(StoreError::NotFound)
    );
    let retired = AdapterCredential {
        retired: Some(at(5)),
        ..credential("erp", 1)
    };
    let of_erp = [retired, credential("erp", 2)];
    assert_eq!(store.adapter_credentials(Some("erp")).await.unwrap(), of_erp);
    let all = [of_erp.to_vec(), vec![credential("shop", 1)]].concat();
    assert_eq!(store.adapter_credentials(None).await.unwrap(), all);
}

pub async fn endpoints_are_disabled_and_enabled(database: &impl Database) {
    let store = database.open().await;
    let gone = |adapter: &str, revision, url: &str| DisabledEndpoint {
        adapter: adapter.into(),
        url: url.into(),
        revision,
        reason: "HTTP 410".into(),
        at: at(i64::from(revision)),
    };
    assert!(store.disabled_endpoints().await.unwrap().is_empty());
    for endpoint in [
        gone("shop", 3, "a"),
        gone("erp", 3, "a"),
        gone("erp", 4, "b"),
        gone("erp", 3, "a"),
    ] {
        store.disable_endpoint(endpoint).await.unwrap();
    }
    assert_eq!(
        store.disabled_endpoints().await.unwrap(),
        [gone("erp", 4, "b"), gone("shop", 3, "a")],
        "a hub that goes by an earlier revision changes nothing"
    );
    assert!(!store.enable_endpoint("erp", Some(4)).await.unwrap());
    assert!(store.enable_endpoint("erp", Some(5)).await.unwrap());
    assert!(store.enable_endpoint("shop", None).await.unwrap());
    assert!(!store.enable_endpoint("shop", None).await.unwrap());
    assert!(store.disabled_endpoints().await.unwrap().is_empty());
}

pub async fn hubs_come_and_go(database: &impl Database) {
    let store = database.open().await;
    let beat = |hub_id: &str, second| HubBeat {
        hub_id: hub_id.into(),
        host: "hall".into(),
        version: "0.1.0".into(),
        config_digest: "abc".into(),
        revision: None,
        at: at(second),
    };
    let routed = HubBeat {
        revision: Some(4),
        ..beat("one", 9)
    };
    for beat in [beat("one", 1), beat("two", 2), beat("three", 9), routed.clone()] {
        store.heartbeat(beat).await.unwrap();
    }
    assert_eq!(store.hubs(at(9)).await.unwrap(), [routed, beat("three", 9)]);
    for _ in 0..2 {
        store.remove_hub("one").await.unwrap();
    }
    assert_eq!(
        store.hubs(at(0)).await.unwrap(),
        [beat("three", 9), beat("two", 2)]
    );
}
