#![allow(clippy::unwrap_used)]

use crossdock_config::load_shared;
use crossdock_store::Batch;
use serde_json::{Value, json};

use super::*;
use crate::testing::{accepted, database, event};

const PATH: &str = "schemas/points.earned.v1.json";

fn manifest(name: &str, publishes: &str, gets: &str) -> SourceFile {
    SourceFile {
        path: format!("adapters/{name}.toml"),
        text: format!(
            "name = \"{name}\"\nsource = \"/{name}\"\npublishes = [{publishes}]\n[[subscribe]]\ntypes = [\"{gets}\"]\n"
        ),
    }
}

fn adapters() -> Vec<SourceFile> {
    vec![
        manifest("loyalty", "\"points.earned.v1\"", "order.placed.v1"),
        manifest("mail", "", "points.*.v1"),
        manifest("other", "", "order.placed.v1"),
    ]
}

fn with_schema(mut files: Vec<SourceFile>, schema: &Value) -> Vec<SourceFile> {
    files.push(SourceFile {
        path: PATH.into(),
        text: serde_json::to_string_pretty(schema).unwrap(),
    });
    files
}

fn points() -> Value {
    json!({
        "type": "object",
        "required": ["points"],
        "properties": {"points": {"type": "integer"}, "order": {"type": "string"}}
    })
}

async fn told_with(store: &Store, before: Vec<SourceFile>, after: Vec<SourceFile>) -> Vec<String> {
    let current = Routing::new(1, String::new(), load_shared(&before).unwrap()).unwrap();
    let proposed = load_shared(&after).unwrap();
    let faults = refusals(store, &current, &proposed, &after).await.unwrap();
    faults.iter().map(ToString::to_string).collect()
}

async fn told(before: Vec<SourceFile>, after: Vec<SourceFile>) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    told_with(&database(&folder).await, before, after).await
}

#[tokio::test]
async fn additions_follow_and_narrowing_is_refused_with_who_would_break() {
    let before = || with_schema(adapters(), &points());
    let mut more = points();
    more["properties"]["note"] = json!({"type": "string"});
    more["title"] = json!("Points");
    assert!(told(before(), with_schema(adapters(), &more)).await.is_empty());

    let mut narrow = points();
    narrow["required"] = json!(["points", "order"]);
    narrow["properties"]["points"] = json!({"type": "number"});
    assert_eq!(
        told(before(), with_schema(adapters(), &narrow)).await,
        [
            "schemas/points.earned.v1.json:7:15: /properties/points/type: also allows number, which breaks mail, which \
             may get it: within a version only optional additions, expected points.earned.v2 for more",
            "schemas/points.earned.v1.json:10:15: /required: \"order\" is required now, which breaks loyalty, which may \
             send it: within a version only optional additions, expected points.earned.v2 for more",
        ]
    );
}

#[tokio::test]
async fn only_those_break_who_are_there_before_and_after() {
    let alone = vec![manifest("other", "", "order.placed.v1")];
    let mut wider = points();
    wider["required"] = json!([]);
    // Nobody gets it, so nobody misses what was promised; somebody may send it with a key all the same.
    let before = with_schema(alone.clone(), &points());
    assert!(
        told(before.clone(), with_schema(alone.clone(), &wider))
            .await
            .is_empty()
    );
    let mut narrow = points();
    narrow["required"] = json!(["points", "order"]);
    let said = told(before, with_schema(alone.clone(), &narrow)).await;
    assert!(
        said[0].contains("breaks whoever sends it with an API key"),
        "{said:?}"
    );
    // A new adapter comes with the new schema.
    let said = told(with_schema(alone, &points()), with_schema(adapters(), &wider)).await;
    assert!(said.is_empty(), "{said:?}");
}

#[tokio::test]
async fn a_schema_stays_as_long_as_somebody_counts_on_it() {
    let before = || with_schema(adapters(), &points());
    assert_eq!(
        told(before(), adapters()).await,
        [
            "schemas/points.earned.v1.json:1:1: the schema of points.earned.v1 is gone, which breaks mail, which may get \
          it: expected it as long as they are there"
        ]
    );
    let gone = vec![manifest("loyalty", "\"points.earned.v1\"", "order.placed.v1")];
    assert!(told(before(), gone).await.is_empty());
}

#[tokio::test]
async fn a_type_gets_a_schema_that_its_events_fit() {
    let folder = tempfile::tempdir().unwrap();
    let store = database(&folder).await;
    let after = || with_schema(adapters(), &points());
    assert!(
        told_with(&store, adapters(), after()).await.is_empty(),
        "nothing was sent"
    );

    let sent = |id: &str, data: Value| {
        let changes = json!({
            "id": id, "type": "points.earned.v1", "datacontenttype": "application/json", "data": data,
        });
        accepted(event(changes), &["mail"])
    };
    let record = async |accepted| {
        let batch = Batch {
            accepted: vec![accepted],
            ..Batch::default()
        };
        store.record(batch).await.unwrap();
    };
    record(sent("fits", json!({ "points": 3 }))).await;
    assert!(told_with(&store, adapters(), after()).await.is_empty());
    record(sent("unfit", json!({ "points": "s3cret" }))).await;
    let said = told_with(&store, adapters(), after()).await;
    assert_eq!(said.len(), 1);
    assert!(
        said[0].starts_with(
            "schemas/points.earned.v1.json:1:1: points.earned.v1 is sent already, and 1 of its latest 2 events do not \
             fit (/data/points: "
        ) && !said[0].contains("s3cret"),
        "{said:?}"
    );
}

#[test]
fn the_next_version_is_named() {
    assert_eq!(next_version("points.earned.v9"), "points.earned.v10");
    assert_eq!(next_version(&format!("a.b.v{}", u64::MAX)), "a type of its own");
}
