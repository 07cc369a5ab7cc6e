//! Revisions: what comes, goes and changes with them, and one that this version cannot read.

use crossdock_config::SourceFile;
use crossdock_engine::{AcceptError, EngineError, Hub, RevisionView};
use crossdock_store::{NewRevision, RevisionFile};
use serde_json::json;

use crate::support::{Hall, event, eventually, insist, key, message, ready};

#[tokio::test(flavor = "multi_thread")]
async fn adapters_come_go_and_change() {
    let hall = Hall::new().await;
    let erp = hall.manifest("erp", &[], &["thing.made.v1"]);
    let wms = hall.manifest("wms", &["thing.seen.v1"], &["thing.made.v1"]);
    let hub = hall.hub(vec![erp.clone(), wms]).await;
    let old_wms = hall.adapter("wms").await;
    let old_key = hall.environment("wms")["CROSSDOCK_API_KEY"].clone();
    let old_user = old_wms.user.clone();
    hub.authenticate(&old_key).await.unwrap();

    let erp_more = hall.manifest("erp", &[], &["thing.made.v1", "thing.kept.v1"]);
    let mail = hall.manifest("mail", &[], &["thing.*.v1"]);
    let files = vec![erp_more.clone(), mail];
    let dry = hub.apply(files.clone(), "operator", None, true).await.unwrap();
    assert_eq!((dry.number, dry.dry_run, dry.changes.len()), (2, true, 3));
    assert_eq!(hub.revision(None).await.unwrap().number, 1);
    assert!(!hall.env_file("mail").exists());

    let note = Some("less is more".to_owned());
    let applied = hub.apply(files.clone(), "operator", note, false).await.unwrap();
    assert_eq!((applied.number, &applied.changes), (2, &dry.changes));
    let again = hub.apply(files, "operator", None, false).await.unwrap();
    assert_eq!((again.number, again.changes.len()), (2, 0));
    let listed = hub.revisions().await.unwrap();
    let told: Vec<_> = listed
        .iter()
        .map(
            |RevisionView {
                 number, author, note, ..
             }| (*number, author.as_str(), note.as_deref()),
        )
        .collect();
    assert_eq!(
        told,
        [(2, "operator", Some("less is more")), (1, "first start", None)]
    );
    assert_eq!(hub.revision(Some(1)).await.unwrap().files.len(), 2);
    assert!(matches!(
        hub.revision(Some(9)).await,
        Err(EngineError::NotFound(_))
    ));

    // Who is new gets events, who is changed gets more, who is gone has lost its access and keeps its queue.
    insist(
        &hub,
        &key("import"),
        &[event("/import", "thing.kept.v1", "1", json!({}))],
    )
    .await;
    assert_eq!(hall.adapter("mail").await.take().await.id, "1");
    assert_eq!(hall.adapter("erp").await.take().await.id, "1");
    assert!(hub.authenticate(&old_key).await.is_err());
    eventually("the user of who is gone is gone", async || {
        let users = hall.vhost.management().users().await.ok()?;
        users.iter().all(|user| user.name != old_user).then_some(())
    })
    .await;
    assert!(
        hall.depth("wms").await.is_some()
            || hall
                .vhost
                .management()
                .queue(&hall.queue("wms"))
                .await
                .unwrap()
                .is_some()
    );
    let late = event("/wms", "thing.seen.v1", "2", json!({}));
    assert!(old_wms.publish(message(&late, Some(&old_user))).await.is_err());
    assert!(matches!(
        hub.adapter(&hall.name("wms")).await,
        Err(EngineError::NotFound(_))
    ));
    assert!(matches!(
        hub.rotate(&hall.name("wms")).await,
        Err(EngineError::NotFound(_))
    ));

    // Back again: others credentials, never the old ones.
    let back = vec![erp_more, hall.manifest("wms", &[], &["thing.made.v1"])];
    hub.apply(back, "operator", None, false).await.unwrap();
    let issued = eventually("it has new credentials", async || {
        hall.env_file("wms").exists().then(|| hall.environment("wms"))
    })
    .await;
    eventually("they are others", async || {
        let now = hall.environment("wms");
        (now["CROSSDOCK_API_KEY"] != old_key && hub.authenticate(&now["CROSSDOCK_API_KEY"]).await.is_ok())
            .then_some(())
    })
    .await;
    drop(issued);
    assert!(hub.authenticate(&old_key).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_faulty_revision_changes_nothing() {
    let hall = Hall::new().await;
    let erp = || hall.manifest("erp", &[], &["thing.*.v1"]);
    let hub = hall.hub(vec![erp()]).await;
    let broken = SourceFile {
        path: "adapters/x.toml".into(),
        text: "name = \"y\"\nsauce = \"/x\"\n".into(),
    };
    match hub.apply(vec![erp(), broken], "operator", None, false).await {
        Err(EngineError::Config(faults)) => assert!(faults.len() > 1, "{faults:?}"),
        other => panic!("{other:?}"),
    }
    // A queue cannot change its arguments: it is said which one, and nothing changes.
    let ordered = hall.manifest_with("erp", &[], &["thing.*.v1"], "order = \"key\"");
    match hub.apply(vec![ordered], "operator", None, false).await {
        Err(EngineError::Conflict(reason)) => assert!(reason.contains(&hall.queue("erp")), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(hub.revision(None).await.unwrap().number, 1);
    assert_eq!(hub.status().await.revision, 1);

    let elsewhere = Hall::on(crossdock_testkit::TestBroker::vhost().await).await;
    let first = SourceFile {
        path: "adapters/x.toml".into(),
        text: "nonsense".into(),
    };
    let started = Hub::start(elsewhere.options(vec![first])).await;
    assert!(matches!(started, Err(EngineError::Config(_))));
}

fn of_another_version(hall: &Hall) -> NewRevision {
    let erp = hall.manifest_with("erp", &[], &["thing.*.v1"], "from_the_future = true");
    NewRevision {
        created: chrono::Utc::now(),
        author: "a later version".into(),
        note: None,
        digest: crossdock_config::digest(std::slice::from_ref(&erp)),
        files: vec![RevisionFile {
            path: erp.path,
            text: erp.text,
        }],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_of_another_version_is_said_and_waited_out() {
    let hall = Hall::new().await;
    let erp = || hall.manifest("erp", &[], &["thing.*.v1"]);
    let before = hall.hub(vec![erp()]).await;
    hall.store
        .append_revision(Some(1), of_another_version(&hall))
        .await
        .unwrap();

    // A hub that runs goes on by what it knows.
    let told = |hub: &Hub| {
        let hub = hub.clone();
        async move {
            let attention = hub.status().await.attention;
            attention
                .into_iter()
                .find(|sentence| sentence.contains("revision 2"))
        }
    };
    let sentence = eventually("the running hub says so", async || told(&before).await).await;
    assert!(
        sentence.contains("routes by revision 1") && sentence.contains("from_the_future"),
        "{sentence}"
    );
    let made = |id: &str| event("/import", "thing.made.v1", id, json!({}));
    let mut adapter = hall.adapter("erp").await;
    insist(&before, &key("import"), &[made("1")]).await;
    assert_eq!(adapter.take().await.id, "1");
    let user = adapter.user.clone();
    match before.apply(vec![erp()], "operator", None, false).await {
        Err(EngineError::Conflict(reason)) => assert!(reason.contains("revision 2"), "{reason}"),
        other => panic!("{other:?}"),
    }
    before.stop().await;

    // One that starts has nothing to go by: it says so, holds everything, and touches nothing.
    let hub = Hub::start(hall.options(vec![erp()])).await.unwrap();
    let not_ready = hub.readiness().await;
    let revision = not_ready.iter().find(|check| check.name == "revision").unwrap();
    assert!(
        !revision.ok && revision.detail.contains("revision 2"),
        "{revision:?}"
    );
    eventually("it says so again", async || told(&hub).await).await;
    assert!(matches!(
        hub.accept(&key("import"), vec![made("2")]).await,
        Err(AcceptError::Unavailable { .. })
    ));
    eventually("it looks after nothing", async || {
        let check = hub.readiness().await;
        let topology = check.into_iter().find(|check| check.name == "topology")?;
        (!topology.ok && topology.detail.contains("revision 2")).then_some(())
    })
    .await;
    let users = hall.vhost.management().users().await.unwrap();
    assert!(users.iter().any(|known| known.name == user));

    // Files that it reads mend it, without a restart.
    let applied = hub.apply(vec![erp()], "operator", None, false).await.unwrap();
    assert_eq!(applied.number, 3);
    ready(&hub).await;
    insist(&hub, &key("import"), &[made("3")]).await;
    assert_eq!(adapter.take().await.id, "3");
}
