use crossdock_config::{SourceFile, load_shared};
use crossdock_store::StoreError;
use serde_json::{Value, json};

use super::*;
use crate::testing::{self, Moody, database, garbage, published_by};

const RULES: &str = "[[state]]\ntypes = [\"thing.*.v1\"]\ntopic = \"state/{.subject}\"\ndata = '.data'\n";

/// What a hub's tasks share, with one rule in force.
async fn shared(
    folder: &tempfile::TempDir,
    mood: impl Fn(&str) -> Option<StoreError> + Send + Sync + 'static,
) -> Shared {
    let shared = testing::shared(Moody::store(database(folder).await, mood), folder);
    let file = SourceFile {
        path: "state.toml".into(),
        text: RULES.into(),
    };
    let routing = Routing::new(2, String::new(), load_shared(&[file]).unwrap()).unwrap();
    shared.routing.store(Arc::new(routing));
    shared
}

fn delivered(id: &str, subject: &str, second: u32, redelivered: bool) -> Delivery {
    let changes = json!({
        "id": id, "subject": subject, "time": format!("2023-01-01T00:00:{second:02}Z"),
        "datacontenttype": "application/json", "data": { "by": id },
    });
    Delivery {
        redelivered,
        ..published_by(None, &testing::event(changes))
    }
}

/// Topic, version and the event that data names, of each state that is told.
async fn told(shared: &Shared, deliveries: Vec<Delivery>) -> Vec<(String, u64, String)> {
    let (troubles, stop) = (Mutex::default(), CancellationToken::new());
    let projector = Projector {
        storing: Storing {
            shared,
            part: PART,
            stop: &stop,
        },
        announcer: Announcer::new(),
        troubles: &troubles,
    };
    let states = projector.project(deliveries).await.unwrap().unwrap();
    let told = states.into_iter().map(|state| {
        let payload: Value = serde_json::from_slice(&state.payload).unwrap();
        let by = payload["data"]["by"].as_str().unwrap().to_owned();
        (state.topic.to_string(), state.version, by)
    });
    told.collect()
}

fn state(topic: &str, version: u64, by: &str) -> (String, u64, String) {
    (topic.to_owned(), version, by.to_owned())
}

#[tokio::test]
async fn of_a_batch_each_topic_is_told_once_as_it_is_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let shared = shared(&folder, |_| None).await;
    let batch = vec![
        delivered("a", "x", 1, false),
        delivered("b", "y", 1, false),
        delivered("c", "x", 2, false),
    ];
    assert_eq!(
        told(&shared, batch).await,
        [state("state/x", 2, "c"), state("state/y", 1, "b")]
    );
}

#[tokio::test]
async fn what_may_not_have_been_told_is_told_again() {
    let folder = tempfile::tempdir().unwrap();
    let shared = shared(&folder, |_| None).await;
    let batch = |redelivered| {
        vec![
            delivered("a", "x", 1, redelivered),
            delivered("b", "x", 2, redelivered),
        ]
    };
    assert_eq!(told(&shared, batch(false)).await, [state("state/x", 2, "b")]);
    // After a crash between the commit and the announcement.
    assert_eq!(told(&shared, batch(true)).await, [state("state/x", 2, "b")]);
    // One that came twice on its way in.
    assert!(told(&shared, batch(false)).await.is_empty());
}

#[tokio::test]
async fn what_the_database_refuses_holds_up_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let refuse = |id: &str| (id == "bad").then(|| StoreError::Corrupt("it cannot be kept".into()));
    let shared = shared(&folder, refuse).await;
    let batch = vec![
        delivered("a", "x", 1, false),
        delivered("bad", "y", 1, false),
        delivered("c", "z", 1, false),
    ];
    assert_eq!(
        told(&shared, batch).await,
        [state("state/x", 1, "a"), state("state/z", 1, "c")]
    );
    let sentences = shared.alarms.sentences();
    assert_eq!(sentences.len(), 1, "{sentences:?}");
    assert!(
        sentences[0].starts_with(
            "state rule 1 (state/{.subject}) made nothing of 1 event, of \"bad\" from \"/shop\" last"
        ),
        "{sentences:?}"
    );
    assert!(sentences[0].ends_with("it cannot be kept"), "{sentences:?}");
}

#[tokio::test]
async fn a_message_that_is_no_event_is_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let shared = shared(&folder, |_| None).await;
    let mut stray = delivered("stray", "x", 1, false);
    stray.properties.headers.clear();
    stray.body = garbage();
    let batch = vec![stray, delivered("a", "x", 1, false)];
    assert_eq!(told(&shared, batch).await, [state("state/x", 1, "a")]);
    assert_eq!(shared.store.quarantine_page(None, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_event_that_no_rule_is_for_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let shared = shared(&folder, |_| None).await;
    let other = published_by(None, &testing::event(json!({ "type": "other.sent.v1" })));
    assert!(told(&shared, vec![other]).await.is_empty());
}

#[tokio::test]
async fn a_failure_is_news_for_an_hour_and_while_its_rule_is_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let shared = shared(&folder, |_| None).await;
    let mut troubles = Troubles::default();
    let key = EventKey {
        source: "/shop".into(),
        id: "e-1".into(),
    };
    let rule = "1 (state/{.subject})";
    let now = shared.clock.now();
    troubles.note(
        rule,
        key.clone(),
        "its data: no".into(),
        now - chrono::TimeDelta::minutes(59),
    );
    troubles.note("9 (state/gone)", key.clone(), "its data: no".into(), now);
    troubles.tell(&shared);
    assert_eq!(
        shared.alarms.sentences(),
        [
            "state rule 1 (state/{.subject}) made nothing of 1 event, of \"e-1\" from \"/shop\" last: its data: no"
        ]
    );
    let mut old = Troubles::default();
    old.note(
        rule,
        key,
        "its data: no".into(),
        now - chrono::TimeDelta::minutes(60),
    );
    old.tell(&shared);
    assert!(shared.alarms.sentences().is_empty());
}

#[tokio::test]
async fn what_rules_make_is_applied_in_transactions_of_a_bounded_size() {
    let folder = tempfile::tempdir().unwrap();
    let shared = shared(&folder, |_| None).await;
    let big = |n: u32| {
        let changes = json!({
            "id": n.to_string(), "subject": n.to_string(), "time": "2023-01-01T00:00:00Z",
            "datacontenttype": "application/json", "data": { "by": "x".repeat(60 * 1024) },
        });
        published_by(None, &testing::event(changes))
    };
    let deliveries: Vec<_> = (0..200).map(big).collect();
    let bodies = lanes::by_size(deliveries.clone());
    assert_eq!(bodies.iter().map(Vec::len).collect::<Vec<_>>(), [136, 64]);
    let (events, _) = decode(deliveries.clone(), testing::now());
    let read = read_all(&shared.routing.load(), events, testing::now());
    assert_eq!(go_together(&read), 136);
    assert_eq!(go_together(&read[..1]), 1);
    assert_eq!(told(&shared, deliveries).await.len(), 200);
}
