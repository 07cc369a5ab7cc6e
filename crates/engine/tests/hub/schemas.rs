//! The shop's own schemas in a real hub: held against events at both ways in, and changed only by additions.

use crossdock_config::SourceFile;
use crossdock_engine::{AcceptError, EngineError, Hub};
use serde_json::{Value, json};

use crate::support::{Hall, event, eventually, key, recorded};

fn schema(json: &Value) -> SourceFile {
    SourceFile {
        path: "schemas/thing.made.v1.json".into(),
        text: serde_json::to_string_pretty(json).unwrap(),
    }
}

fn counted() -> Value {
    json!({
        "type": "object",
        "required": ["count"],
        "properties": { "count": { "type": "integer" }, "parts": { "type": "array", "items": { "$ref": "#" } } }
    })
}

fn made(source: &str, id: &str, data: Value) -> crossdock_model::event::Event {
    let changes = json!({ "datacontenttype": "application/json", "data": data });
    event(source, "thing.made.v1", id, changes)
}

async fn refusals(hub: &Hub, files: Vec<SourceFile>, dry_run: bool) -> Vec<String> {
    match hub.apply(files, "operator", None, dry_run).await {
        Err(EngineError::Config(faults)) => faults.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_schema_is_held_against_events_at_both_ways_in() {
    let hall = Hall::new().await;
    let files = vec![
        hall.manifest("shop", &["thing.made.v1"], &[]),
        hall.manifest("erp", &[], &["thing.*.v1"]),
        schema(&counted()),
    ];
    let hub = hall.hub(files).await;
    match hub
        .accept(&key("import"), vec![made("/import", "1", json!({}))])
        .await
    {
        Err(AcceptError::Invalid(faults)) => assert_eq!(faults[0].pointer, "/0/data"),
        other => panic!("{other:?}"),
    }
    let shop = hall.adapter("shop").await;
    let mut deep = json!({ "count": "no number" });
    for _ in 0..55 {
        deep = json!({ "count": 1, "parts": [deep] });
    }
    shop.send(&made("/shop", "deep", deep)).await;
    shop.send(&made(
        "/shop",
        "good",
        json!({ "count": 1, "parts": [{ "count": 2 }] }),
    ))
    .await;
    assert_eq!(hall.adapter("erp").await.take().await.id, "good");
    let refused = eventually("it is in quarantine", async || {
        hub.quarantined(None, 10).await.unwrap().into_iter().next()
    })
    .await;
    let place = format!("/data{}/count", "/parts/0".repeat(55));
    assert_eq!(refused.reasons[0].pointer, place);
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_refuses_narrowing_and_names_who_would_break() {
    let hall = Hall::new().await;
    let adapters = vec![
        hall.manifest("shop", &["thing.made.v1"], &[]),
        hall.manifest("erp", &[], &["thing.*.v1"]),
    ];
    let with = |json: &Value| [adapters.clone(), vec![schema(json)]].concat();
    let hub = hall.hub(adapters.clone()).await;

    // Events of before have a say in the first schema of their type.
    hub.accept(
        &key("import"),
        vec![made("/import", "1", json!({ "count": "three" }))],
    )
    .await
    .unwrap();
    recorded(&hub, "1").await;
    let said = refusals(&hub, with(&counted()), false).await;
    assert!(
        said[0].contains("1 of its latest 1 events do not fit"),
        "{said:?}"
    );
    let mut lax = counted();
    lax["properties"]["count"] = json!({});
    let applied = hub.apply(with(&lax), "operator", None, false).await.unwrap();
    assert_eq!(
        applied.changes,
        ["events of thing.made.v1 get a schema that they must fit"]
    );

    let mut narrow = lax.clone();
    narrow["required"] = json!(["count", "parts"]);
    for dry_run in [true, false] {
        let said = refusals(&hub, with(&narrow), dry_run).await;
        assert_eq!(said.len(), 1);
        assert!(
            said[0].starts_with("schemas/thing.made.v1.json:")
                && said[0].contains("/required: \"parts\" is required now, which breaks")
                && said[0].contains(&hall.name("shop"))
                && said[0].contains("thing.made.v2"),
            "{said:?}"
        );
    }
    let said = refusals(&hub, adapters.clone(), false).await;
    assert!(
        said[0].contains("is gone") && said[0].contains(&hall.name("erp")),
        "{said:?}"
    );
    assert_eq!(hub.revision(None).await.unwrap().number, 2);

    let mut more = lax.clone();
    more["properties"]["note"] = json!({ "type": "string" });
    let applied = hub.apply(with(&more), "operator", None, false).await.unwrap();
    assert_eq!((applied.number, applied.changes.len()), (3, 1));
    let files = hub.revision(None).await.unwrap().files;
    assert!(files["schemas/thing.made.v1.json"].contains("note"));
    match hub
        .accept(
            &key("import"),
            vec![made("/import", "2", json!({ "count": 1, "note": 7 }))],
        )
        .await
    {
        Err(AcceptError::Invalid(faults)) => assert_eq!(faults[0].pointer, "/0/data/note"),
        other => panic!("{other:?}"),
    }
}
