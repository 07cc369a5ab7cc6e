//! How many events a second the record takes: batches of 200 events with two targets each, then a receipt for
//! each delivery. Arguments: the database URL (default: a new SQLite file in the system's temporary folder) and
//! the number of batches.

use std::time::Instant;

use bytes::Bytes;
use chrono::Utc;
use crossdock_model::event::{AttributeValue, Event};
use crossdock_store::{Accepted, Batch, Outcome, OutcomeKind};

const EVENTS_PER_BATCH: usize = 200;
const DATA_BYTES: usize = 512;
const TARGETS: [&str; 2] = ["erp", "warehouse"];

fn batch(run: u32, number: usize) -> Batch {
    let now = Utc::now();
    let accepted = (0..EVENTS_PER_BATCH).map(|n| {
        let id = format!("{run:08x}-{number}-{n}");
        let text = |value: String| AttributeValue::String(value);
        Accepted {
            event: Event {
                source: "/shop".into(),
                event_type: "order.placed.v1".into(),
                subject: Some(format!("order/{}", n % 50)),
                time: Some(now),
                data_content_type: Some("application/json".into()),
                data_schema: None,
                extensions: [
                    ("correlationid".to_owned(), text(format!("order-{}", n % 50))),
                    ("aliases".to_owned(), text(format!("erp:{id}"))),
                ]
                .into(),
                data: Some(Bytes::from(vec![b' '; DATA_BYTES])),
                id,
            },
            producer: "shop".into(),
            received: now,
            published: now,
            targets: TARGETS.map(str::to_owned).to_vec(),
            chain: 0,
        }
    });
    Batch {
        accepted: accepted.collect(),
        ..Batch::default()
    }
}

fn receipts(batch: &Batch) -> Vec<Outcome> {
    let receipt = |accepted: &Accepted, adapter: &str| Outcome {
        adapter: adapter.into(),
        event_id: accepted.event.id.clone(),
        source: None,
        kind: OutcomeKind::Done,
        detail: None,
        retry_after_s: None,
        duration_ms: Some(3),
        attempt: None,
        due: None,
        at: Utc::now(),
    };
    batch
        .accepted
        .iter()
        .flat_map(|accepted| TARGETS.map(|adapter| receipt(accepted, adapter)))
        .collect()
}

#[allow(clippy::print_stdout)]
fn report(what: &str, count: usize, since: Instant) {
    let seconds = since.elapsed().as_secs_f64();
    #[allow(clippy::cast_precision_loss)]
    let rate = count as f64 / seconds;
    println!("{count} {what} in {seconds:.2} s: {rate:.0} a second");
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let run = std::process::id();
    let file = std::env::temp_dir().join(format!("record-rate-{run}.db"));
    let url = arguments
        .next()
        .unwrap_or_else(|| format!("sqlite://{}", file.display()));
    let batches: usize = arguments.next().map_or(Ok(200), |number| number.parse())?;
    let store = crossdock_store::open(&url).await?;

    let all: Vec<_> = (0..batches).map(|number| batch(run, number)).collect();
    let outcomes: Vec<_> = all.iter().map(receipts).collect();
    let started = Instant::now();
    for batch in all {
        store.record(batch).await?;
    }
    report("events recorded", batches * EVENTS_PER_BATCH, started);

    let started = Instant::now();
    for outcomes in outcomes {
        store.settle(&outcomes).await?;
    }
    report(
        "receipts settled",
        batches * EVENTS_PER_BATCH * TARGETS.len(),
        started,
    );

    let started = Instant::now();
    let (totals, adapters) = (store.totals().await?, store.per_adapter().await?);
    report("ledger balanced", usize::from(totals.balanced()), started);
    assert!(
        adapters
            .iter()
            .all(|adapter| adapter.confirmed == adapter.matched)
    );
    Ok(())
}
