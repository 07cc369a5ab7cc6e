//! How many events a second the record takes: batches of 200 events with two targets each, then a receipt for
//! each delivery, then both beside each other. Arguments: the number of batches (default 200) and URLs of databases;
//! without URLs a new SQLite file and the distribution's PostgreSQL are measured one after the other.

use std::time::Instant;

use bytes::Bytes;
use chrono::Utc;
use crossdock_model::event::{AttributeValue, Event};
use crossdock_store::{Accepted, Batch, Outcome, OutcomeKind};
use crossdock_testkit::TestPostgres;

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
    println!("  {count} {what} in {seconds:.2} s: {rate:.0} a second");
}

async fn measure(url: &str, batches: usize) -> Result<(), Box<dyn std::error::Error>> {
    let run = std::process::id();
    let store = crossdock_store::open(url).await?;
    let all: Vec<_> = (0..batches).map(|number| batch(run, number)).collect();
    let outcomes: Vec<_> = all.iter().map(receipts).collect();
    let (events, deliveries) = (
        batches * EVENTS_PER_BATCH,
        batches * EVENTS_PER_BATCH * TARGETS.len(),
    );

    let started = Instant::now();
    for batch in all {
        store.record(batch).await?;
    }
    report("events recorded", events, started);

    let started = Instant::now();
    for outcomes in outcomes {
        store.settle(&outcomes).await?;
    }
    report("receipts settled", deliveries, started);

    // As in earnest: the gate records while receipts come in for what it recorded a moment ago.
    let more: Vec<_> = (batches..batches * 2).map(|number| batch(run, number)).collect();
    let words: Vec<_> = more.iter().map(receipts).collect();
    let started = Instant::now();
    let (recorded, settled) = tokio::join!(
        async {
            for batch in more {
                store.record(batch).await?;
            }
            crossdock_store::Result::Ok(())
        },
        async {
            for words in &words {
                store.settle(words).await?;
            }
            crossdock_store::Result::Ok(())
        }
    );
    recorded?;
    settled?;
    report("events recorded, and settled beside it", events, started);

    let started = Instant::now();
    let (totals, adapters) = (store.totals().await?, store.per_adapter().await?);
    report("ledgers read", 1, started);
    assert!(totals.balanced());
    assert!(
        adapters
            .iter()
            .all(|adapter| adapter.confirmed == adapter.matched)
    );
    Ok(())
}

#[tokio::main]
#[allow(clippy::print_stdout)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let batches: usize = arguments.next().map_or(Ok(200), |number| number.parse())?;
    let urls: Vec<String> = arguments.collect();
    for url in &urls {
        println!("{}", url.split("://").next().unwrap_or_default());
        measure(url, batches).await?;
    }
    if urls.is_empty() {
        let folder = tempfile::tempdir()?;
        println!("SQLite, a new file in {}", std::env::temp_dir().display());
        measure(
            &format!("sqlite://{}", folder.path().join("record.db").display()),
            batches,
        )
        .await?;
        println!("PostgreSQL, a server on this machine with its data there too");
        measure(&TestPostgres::database().await.url, batches).await?;
    }
    Ok(())
}
