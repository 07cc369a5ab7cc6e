//! A process killed at any moment leaves whole batches behind, and readers see nothing else.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use crossdock_store::{Batch, Duplicate, EventKey, EventQuery, OutcomeKind, Store};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::quarantine::message;
use super::{Database, accepted, at, order, word};

/// Set in a child process: the database it records to and the number of its first batch.
const CHILD: &str = "CROSSDOCK_STORE_SUITE_CHILD";
/// What a child says once a batch is kept.
const KEPT: &str = "kept batch ";

const EVENTS: u64 = 40;

/// A batch that says everything: new events, a duplicate, a quarantined message.
fn numbered_batch(number: u64) -> Batch {
    let id = |n| format!("{number}-{n}");
    let duplicate = Duplicate {
        key: EventKey {
            source: "/shop".into(),
            id: id(0),
        },
        producer: "shop".into(),
        received: at(0),
        redelivered: false,
    };
    Batch {
        accepted: (0..EVENTS)
            .map(|n| accepted(order(&id(n)), &["erp", "warehouse"]))
            .collect(),
        duplicates: vec![duplicate],
        quarantined: vec![message(&number.to_string())],
        outcomes: vec![word("erp", &id(1), OutcomeKind::Undelivered)],
    }
}

pub async fn killed_while_recording(database: &impl Database) {
    if let Ok(orders) = std::env::var(CHILD) {
        return record_until_killed(&orders).await;
    }
    let mut next = 0;
    for batches in [1, 2, 5, 9] {
        let mut child = start_child(database, next);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut kept = 0;
        while kept < batches {
            let line = lines
                .next_line()
                .await
                .unwrap()
                .expect("the child records until it is killed");
            kept += u64::from(line.contains(KEPT));
        }
        child.kill().await.unwrap();
        while let Some(line) = lines.next_line().await.unwrap() {
            kept += u64::from(line.contains(KEPT));
        }
        assert!(kept >= batches);
        database.at_rest().await;
        next += kept;
        assert_whole_batches(&database.open().await, next).await;
    }
}

fn start_child(database: &impl Database, first: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::killed_while_recording", "--nocapture"])
        .env(CHILD, format!("{first} {}", database.url()))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

#[allow(clippy::print_stdout)]
async fn record_until_killed(orders: &str) {
    let (first, url) = orders.split_once(' ').unwrap();
    let store = crossdock_store::open(url).await.unwrap();
    for number in first.parse().unwrap().. {
        store.record(numbered_batch(number)).await.unwrap();
        println!("{KEPT}{number}");
    }
}

/// All batches before `next` are there; one more may be, kept but not said so.
async fn assert_whole_batches(store: &Store, next: u64) {
    let totals = store.totals().await.unwrap();
    assert!(totals.balanced(), "{totals:?}");
    let batches = totals.quarantined;
    assert!(
        batches == next || batches == next + 1,
        "{batches} batches kept, {next} said"
    );
    assert_eq!(totals.accepted, batches * EVENTS);
    for adapter in store.per_adapter().await.unwrap() {
        assert_eq!(adapter.matched, totals.accepted, "{}", adapter.adapter);
        let parked = if adapter.adapter == "erp" { batches } else { 0 };
        assert_eq!(
            (adapter.parked, adapter.pending),
            (parked, totals.accepted - parked)
        );
    }
    for number in 0..next {
        let keys: Vec<_> = numbered_batch(number)
            .accepted
            .iter()
            .map(|kept| EventKey::of(&kept.event))
            .collect();
        assert_eq!(
            store.recorded(&keys).await.unwrap().len(),
            keys.len(),
            "batch {number}"
        );
    }
}

pub async fn readers_see_whole_batches(database: &impl Database) {
    const BATCHES: u64 = 60;
    let store = database.open().await;
    let done = AtomicBool::new(false);
    let write = async {
        for number in 0..BATCHES {
            store.record(numbered_batch(number)).await.unwrap();
        }
        done.store(true, Ordering::Release);
    };
    let reader = database.open().await;
    let read = async {
        let mut reads = 0;
        while !done.load(Ordering::Acquire) {
            let totals = reader.totals().await.unwrap();
            assert!(
                totals.balanced() && totals.accepted.is_multiple_of(EVENTS),
                "{totals:?}"
            );
            let newest = EventQuery {
                newest_first: true,
                limit: 50,
                ..EventQuery::default()
            };
            let found = reader.find(newest).await.unwrap();
            assert!(found.iter().all(|stored| stored.deliveries.len() == 2));
            for adapter in reader.per_adapter().await.unwrap() {
                assert!(adapter.matched.is_multiple_of(EVENTS));
            }
            reads += 1;
        }
        reads
    };
    let (_, reads) = tokio::join!(write, read);
    assert!(reads > 0);
    assert_whole_batches(&store, BATCHES).await;
}
