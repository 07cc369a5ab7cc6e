//! Adapters' credentials: issued, rotated with overlap, made again, ended; and what cannot be written down.

use crossdock_bus::{AdapterConsumer, Broker, names};
use crossdock_engine::{AuthError, EngineError, NewKey, Scope};
use serde_json::json;

use crate::support::{Adapter, Hall, event, eventually, insist, key};

#[tokio::test(flavor = "multi_thread")]
async fn both_generations_work_until_the_rotation_is_finished() {
    let hall = Hall::new().await;
    let hub = hall
        .hub(vec![hall.manifest("erp", &["thing.seen.v1"], &["thing.made.v1"])])
        .await;
    let first = hall.environment("erp");
    let name = hall.name("erp");
    let mut old = hall.adapter("erp").await;
    assert_eq!(old.user, format!("{name}.1"));

    let issued = hub.rotate(&name).await.unwrap();
    assert_eq!(issued.user, format!("{name}.2"));
    let second = hall.environment("erp");
    let amqp_url = issued.amqp_url.unwrap();
    assert_eq!(second["CROSSDOCK_AMQP_URL"], amqp_url);
    assert_eq!(second["CROSSDOCK_API_KEY"], issued.api_key);
    assert_eq!(second["CROSSDOCK_ADAPTER"], name);
    let mut new = Adapter::connect(&name, &amqp_url).await;

    for (generation, environment) in [(&mut old, &first), (&mut new, &second)] {
        let id = format!("by {}", generation.user);
        generation
            .send(&event("/erp", "thing.seen.v1", &id, json!({})))
            .await;
        let who = hub.authenticate(&environment["CROSSDOCK_API_KEY"]).await.unwrap();
        assert_eq!(
            (who.producer(), who.may(Scope::EventsWrite)),
            (name.clone(), true)
        );
        insist(
            &hub,
            &key("import"),
            &[event("/import", "thing.made.v1", &id, json!({ "subject": "x" }))],
        )
        .await;
        assert_eq!(generation.take().await.id, id);
        generation.crash();
    }

    let ended = hub.finish_rotation(&name).await.unwrap();
    assert_eq!(ended, [format!("{name}.1")]);
    assert!(hub.finish_rotation(&name).await.unwrap().is_empty());
    assert_eq!(
        hub.authenticate(&first["CROSSDOCK_API_KEY"]).await.unwrap_err(),
        AuthError::Revoked
    );
    assert!(hub.authenticate(&second["CROSSDOCK_API_KEY"]).await.is_ok());
    let broker = Broker::new(&first["CROSSDOCK_AMQP_URL"]).unwrap();
    let refused = AdapterConsumer::open(&broker, &names::adapter_queue(&name), 1, "old").await;
    assert!(refused.is_err());
    new.send(&event("/erp", "thing.seen.v1", "still", json!({})))
        .await;
    assert_eq!(hub.adapter(&name).await.unwrap().users, [format!("{name}.2")]);
    let nobody = hub.rotate("nobody").await;
    assert!(matches!(nobody, Err(EngineError::NotFound(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_was_deleted_in_rabbitmq_is_made_again() {
    let hall = Hall::new().await;
    let hub = hall.hub(vec![hall.manifest("erp", &[], &["thing.*.v1"])]).await;
    let mut erp = hall.adapter("erp").await;
    let management = hall.vhost.management();
    management.delete_user(&erp.user).await.unwrap();
    eventually("it is there again", async || {
        let users = management.users().await.ok()?;
        users.iter().any(|user| user.name == erp.user).then_some(())
    })
    .await;
    insist(
        &hub,
        &key("import"),
        &[event("/import", "thing.made.v1", "1", json!({}))],
    )
    .await;
    assert_eq!(erp.take().await.id, "1", "with the password it had");
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_were_lost_are_given_again_at_the_next_start() {
    let hall = Hall::new().await;
    let files = || vec![hall.manifest("erp", &[], &["thing.*.v1"])];
    hall.hub(files()).await.stop().await;
    let management = hall.vhost.management();
    let user = format!("{}.1", hall.name("erp"));
    let right = management.permissions(&user).await.unwrap();
    let nothing = crossdock_bus::credentials::rights_while_paused();
    management.set_permissions(&user, &nothing).await.unwrap();
    let _hub = hall.hub(files()).await;
    assert_eq!(management.permissions(&user).await.unwrap(), right);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_cannot_be_written_down_are_not_issued_and_hold_up_nothing() {
    let hall = Hall::new().await;
    let var = hall.folder.path().join("var");
    std::fs::create_dir_all(&var).unwrap();
    std::fs::write(var.join("adapters"), "in the way").unwrap();
    let hub = hall.hub(vec![hall.manifest("erp", &[], &["thing.*.v1"])]).await;
    let name = hall.name("erp");
    eventually("the operator is told", async || {
        let attention = hub.status().await.attention;
        attention
            .iter()
            .any(|sentence| sentence.contains("erp") && sentence.contains("cannot be written"))
            .then_some(())
    })
    .await;
    insist(
        &hub,
        &key("import"),
        &[event("/import", "thing.made.v1", "1", json!({}))],
    )
    .await;
    crate::support::recorded(&hub, "1").await;
    assert!(matches!(hub.rotate(&name).await, Err(EngineError::Internal(_))));
    assert!(hub.keys().await.unwrap().is_empty(), "no key that nobody holds");
    let users = hall.vhost.management().users().await.unwrap();
    assert!(!users.iter().any(|user| user.name.starts_with(&name)));

    std::fs::remove_file(var.join("adapters")).unwrap();
    eventually("it is mended by itself", async || {
        hall.env_file("erp").exists().then_some(())
    })
    .await;
    assert_eq!(hall.adapter("erp").await.take().await.id, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_follows_the_addresses() {
    let hall = Hall::new().await;
    let files = || vec![hall.manifest("erp", &[], &["thing.*.v1"])];
    hall.hub(files()).await.stop().await;
    let before = hall.environment("erp");
    let mut options = hall.options(files());
    options.public_url = "https://hub.example".into();
    let hub = crossdock_engine::Hub::start(options).await.unwrap();
    crate::support::ready(&hub).await;
    let after = hall.environment("erp");
    assert_eq!(after["CROSSDOCK_URL"], "https://hub.example");
    for kept in ["CROSSDOCK_ADAPTER", "CROSSDOCK_AMQP_URL", "CROSSDOCK_API_KEY"] {
        assert_eq!(after[kept], before[kept]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_people_come_and_go() {
    let hall = Hall::new().await;
    let hub = hall.hub(vec![hall.manifest("erp", &[], &["thing.*.v1"])]).await;
    let new = |adapter: Option<String>| NewKey {
        name: "till".into(),
        scopes: vec![Scope::EventsRead],
        topics: Vec::new(),
        adapter,
        expires: None,
    };
    let (view, text) = hub.add_key(new(None)).await.unwrap();
    let who = hub.authenticate(&text).await.unwrap();
    assert_eq!(
        (who.mark().as_str(), who.producer().as_str()),
        (view.id.as_str(), "key:till")
    );
    hub.revoke_key(&view.id).await.unwrap();
    assert_eq!(hub.authenticate(&text).await.unwrap_err(), AuthError::Revoked);
    assert!(matches!(
        hub.add_key(new(Some("nobody".into()))).await,
        Err(EngineError::NotFound(_))
    ));
    assert!(matches!(
        hub.revoke_key("nobody").await,
        Err(EngineError::NotFound(_))
    ));
    let listed = serde_json::to_string(&hub.keys().await.unwrap()).unwrap();
    assert!(!listed.contains(text.rsplit('_').next().unwrap()));
}
