//! Several hubs with one database and one broker.

use crossdock_engine::{EngineError, Hub};
use serde_json::json;

use crate::support::{Hall, event, eventually, insist, key, ready};

#[tokio::test(flavor = "multi_thread")]
async fn one_takes_over_when_the_other_is_gone() {
    let hall = Hall::new().await;
    let files = || vec![hall.manifest("erp", &[], &["thing.*.v1"])];
    let first = hall.hub(files()).await;
    let second = hall.hub(files()).await;
    let mut erp = hall.adapter("erp").await;
    let made = |id: &str| event("/import", "thing.made.v1", id, json!({}));

    insist(&first, &key("import"), &[made("1")]).await;
    assert_eq!(erp.take().await.id, "1");
    let both = eventually("both report", async || {
        let hubs = second.status().await.hubs;
        (hubs.len() == 2).then_some(hubs)
    })
    .await;
    assert!(both.iter().all(|hub| hub.files_match_revision));

    // Nobody told it to stop: the last clone of the hub ends it.
    drop(first);
    insist(
        &second,
        &key("import"),
        &[made("2"), made("3"), made("4"), made("5")],
    )
    .await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(erp.take().await.id);
    }
    ids.sort_unstable();
    assert_eq!(ids, ["2", "3", "4", "5"]);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_applied_on_one_is_in_force_on_all_and_nobody_loses_access() {
    let hall = Hall::new().await;
    let erp = || hall.manifest("erp", &[], &["thing.*.v1"]);
    let first = hall.hub(vec![erp()]).await;
    let second = hall.hub(vec![erp()]).await;
    let both = vec![erp(), hall.manifest("wms", &[], &["thing.*.v1"])];
    let applied = first.apply(both.clone(), "operator", None, false).await.unwrap();
    assert_eq!(applied.number, 2);
    eventually("the second follows", async || {
        (second.status().await.revision == 2).then_some(())
    })
    .await;
    // At once on the second: it looks before it applies.
    let unchanged = second.apply(both.clone(), "operator", None, false).await.unwrap();
    assert_eq!((unchanged.number, unchanged.changes.len()), (2, 0));
    let files_match = |hub: Hub| async move {
        let hubs = hub.status().await.hubs;
        hubs.iter().all(|hub| hub.files_match_revision).then_some(())
    };
    first.note_files(&both);
    second.note_files(&both);
    eventually("both have reported their new files", async || {
        files_match(second.clone()).await
    })
    .await;
    let third = vec![erp()];
    assert_eq!(
        second.apply(third, "operator", None, false).await.unwrap().number,
        3
    );
    let again = vec![erp(), hall.manifest("mail", &[], &["thing.*.v1"])];
    assert_eq!(
        first.apply(again, "operator", None, false).await.unwrap().number,
        4,
        "the first looks, too"
    );
    let mail = hall.name("mail");
    eventually("the new adapter has its user, and keeps it", async || {
        let views = second.adapters().await.ok()?;
        let view = views.iter().find(|view| view.name == mail)?;
        (view.users == [format!("{mail}.1")]).then_some(())
    })
    .await;
    assert!(matches!(
        second.adapter(&hall.name("wms")).await,
        Err(EngineError::NotFound(_))
    ));
    let users = hall.vhost.management().users().await.unwrap();
    assert!(users.iter().any(|user| user.name == format!("{mail}.1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_start_at_once_one_issues_credentials() {
    let hall = Hall::new().await;
    let files = || vec![hall.manifest("erp", &[], &["thing.*.v1"])];
    let start = |folder: &'static str| {
        let mut options = hall.options(files());
        options.data_dir = hall.folder.path().join(folder);
        Hub::start(options)
    };
    let (first, second) = tokio::join!(start("one"), start("two"));
    let (first, second) = (first.unwrap(), second.unwrap());
    tokio::join!(ready(&first), ready(&second));
    let name = hall.name("erp");
    eventually("the user is made", async || {
        let users = hall.vhost.management().users().await.ok()?;
        users
            .iter()
            .any(|user| user.name == format!("{name}.1"))
            .then_some(())
    })
    .await;
    let view = first.adapter(&name).await.unwrap();
    assert_eq!(view.users, [format!("{name}.1")]);
    let files: Vec<_> = ["one", "two"]
        .into_iter()
        .filter(|folder| {
            let file = format!("{folder}/adapters/{name}.env");
            hall.folder.path().join(file).exists()
        })
        .collect();
    assert_eq!(files.len(), 1, "whoever issued them wrote them down: {files:?}");
    let good: Vec<_> = first
        .keys()
        .await
        .unwrap()
        .into_iter()
        .filter(|key| key.revoked.is_none())
        .collect();
    assert_eq!(good.len(), 1);

    let env = std::fs::read_to_string(
        hall.folder
            .path()
            .join(format!("{}/adapters/{name}.env", files[0])),
    )
    .unwrap();
    let url = env
        .lines()
        .find_map(|line| line.strip_prefix("CROSSDOCK_AMQP_URL="))
        .unwrap();
    let mut erp = crate::support::Adapter::connect(&name, url).await;
    insist(
        &second,
        &key("import"),
        &[event("/import", "thing.made.v1", "1", json!({}))],
    )
    .await;
    assert_eq!(erp.take().await.id, "1");
}
