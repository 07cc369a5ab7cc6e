//! What is old is forgotten, but for what somebody still waits for; and the ledger goes on as if it were there.

use chrono::TimeDelta;
use crossdock_engine::{EngineError, LedgerView};
use serde_json::json;

use crate::support::{Hall, becomes, event, eventually, insist, key, recorded};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_settled_goes_when_it_is_old_enough() {
    let hall = Hall::new().await;
    let files = || {
        vec![
            hall.manifest("erp", &[], &["thing.made.v1"]),
            hall.manifest("office", &[], &["thing.made.v1"]),
            hall.manifest("idle", &[], &["thing.kept.v1"]),
        ]
    };
    let hub = hall.hub(files()).await;
    let (mut erp, mut office) = (hall.adapter("erp").await, hall.adapter("office").await);
    let made = |id: &str| event("/import", "thing.made.v1", id, json!({}));
    let waits = event("/import", "thing.kept.v1", "waits", json!({}));
    insist(&hub, &key("import"), &[made("done"), made("dead"), waits]).await;
    for _ in 0..2 {
        let id = erp.take().await.id;
        let outcome = if id == "done" { "done" } else { "dead" };
        erp.say(json!({ "event": id, "outcome": outcome }).to_string())
            .await;
        office.take().await;
    }
    // It may publish nothing.
    erp.send(&made("refused")).await;
    becomes(&hub, "done", &erp.name, "confirmed").await;
    becomes(&hub, "dead", &erp.name, "parked").await;
    recorded(&hub, "waits").await;
    hall.clock.advance(TimeDelta::seconds(20));
    let before = eventually("all stands still", async || {
        let ledger = hub.ledger().await.ok()?;
        let taken: u64 = ledger.adapters.iter().map(|line| line.taken).sum();
        (taken == 2 && ledger.quarantined == 1 && !ledger.settling).then_some(ledger)
    })
    .await;
    assert!(before.balanced && before.forgotten_events == 0, "{before:?}");
    hub.stop().await;

    hall.clock.advance(TimeDelta::days(89));
    let young = hall.hub(files()).await;
    eventually("the quarantine is tidied", async || {
        (young.ledger().await.ok()?.forgotten_quarantined == 1).then_some(())
    })
    .await;
    recorded(&young, "done").await;
    young.stop().await;

    hall.clock.advance(TimeDelta::days(2));
    let old = hall.hub(files()).await;
    eventually("the old event is forgotten", async || {
        matches!(old.event("done", None).await, Err(EngineError::NotFound(_))).then_some(())
    })
    .await;
    let after = eventually("the queues are counted", async || {
        let ledger = old.ledger().await.ok()?;
        (!ledger.settling).then_some(ledger)
    })
    .await;
    let expected = LedgerView {
        forgotten_events: 1,
        forgotten_quarantined: 1,
        ..before
    };
    assert_eq!(after, expected);
    becomes(&old, "dead", &erp.name, "parked").await;
    becomes(&old, "waits", &hall.name("idle"), "pending").await;
    old.stop().await;
}
