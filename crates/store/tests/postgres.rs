//! The suite on PostgreSQL, each case on a database of its own.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod suite;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossdock_store::{EventQuery, OutcomeKind, StoreError};
use crossdock_testkit::{PrivatePostgres, TestDatabase, TestPostgres};
use sqlx::{Connection, PgConnection};
use suite::{Database, accepted, batch, ids, order, word};
use tokio::time::{sleep, timeout};
use url::Url;

/// How long anything may take on a machine that is busy with other tests.
const DEADLINE: Duration = Duration::from_secs(120);

impl Database for TestDatabase {
    async fn fresh() -> Self {
        TestPostgres::database().await
    }

    fn url(&self) -> &str {
        &self.url
    }

    async fn at_rest(&self) {
        let rests = async {
            while self.busy_connections().await > 0 {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(DEADLINE, rests)
            .await
            .expect("its connections come to rest");
    }
}

conformance!(crossdock_testkit::TestDatabase);

#[tokio::test]
async fn several_hubs_make_the_schema_at_once() {
    let database = TestPostgres::empty_database().await;
    suite::together::many_open_a_new_database_at_once(&database).await;
}

/// How many connections of this database wait for a lock of this kind.
async fn waiting(own: &mut PgConnection, kind: &str) -> i64 {
    sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = $1",
    )
    .bind(kind)
    .fetch_one(own)
    .await
    .unwrap()
}

async fn until_one_waits(own: &mut PgConnection, kind: &str) {
    let waits = async {
        while waiting(own, kind).await == 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, waits)
        .await
        .unwrap_or_else(|_| panic!("nobody waits for {kind}"));
}

/// The way in which a reader would miss events: one hub has taken an offset and is held up, another takes a greater
/// one and is quicker.
#[tokio::test(flavor = "multi_thread")]
async fn an_offset_is_not_seen_before_smaller_ones() {
    let database = TestPostgres::database().await;
    let (one, other) = (database.open().await, database.open().await);
    let mut own = PgConnection::connect(&database.url).await.unwrap();
    let mut held = own.begin().await.unwrap();
    sqlx::query(
        "INSERT INTO events (id, source, type, attributes, producer, received, chain)
         VALUES ('held', '/shop', 'order.placed.v1', '{}', 'shop', 0, 0)",
    )
    .execute(&mut *held)
    .await
    .unwrap();

    let first = batch([accepted(order("first"), &[]), accepted(order("held"), &[])]);
    let first = tokio::spawn(async move { one.record(first).await });
    let mut looking = PgConnection::connect(&database.url).await.unwrap();
    until_one_waits(&mut looking, "transactionid").await;
    let second = batch([accepted(order("second"), &[])]);
    let recording = other.clone();
    let second = tokio::spawn(async move { recording.record(second).await });
    until_one_waits(&mut looking, "advisory").await;
    assert_eq!(other.latest_offset().await.unwrap(), 0);

    held.rollback().await.unwrap();
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    let all = EventQuery {
        limit: 10,
        ..EventQuery::default()
    };
    assert_eq!(ids(&other.find(all).await.unwrap()), ["first", "held", "second"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_does_not_come_is_unavailable() {
    let database = TestPostgres::database().await;
    let store = database.open().await;
    let mut own = PgConnection::connect(&database.url).await.unwrap();
    let mut turn = own.begin().await.unwrap();
    sqlx::query("SELECT writers_turn()")
        .execute(&mut *turn)
        .await
        .unwrap();
    let given = batch([accepted(order("a"), &["erp"])]);
    let words = [word("erp", "a", OutcomeKind::Done)];
    let (recorded, settled) = tokio::join!(store.record(given.clone()), store.settle(&words));
    assert!(
        matches!(recorded, Err(StoreError::Unavailable(_))),
        "{recorded:?}"
    );
    assert!(matches!(settled, Err(StoreError::Unavailable(_))), "{settled:?}");
    store.latest_offset().await.unwrap();
    turn.rollback().await.unwrap();
    store.record(given).await.unwrap();
}

/// Repeats what the database cannot do now, as the hub does.
async fn insist<T>(mut work: impl AsyncFnMut() -> crossdock_store::Result<T>) -> T {
    let insisting = async {
        loop {
            match work().await {
                Ok(done) => return done,
                Err(StoreError::Unavailable(_)) => sleep(Duration::from_millis(50)).await,
                Err(other) => panic!("{other}"),
            }
        }
    };
    timeout(DEADLINE, insisting).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_connections_are_replaced() {
    let database = TestPostgres::database().await;
    let store = database.open().await;
    for round in 0..5 {
        let id = round.to_string();
        let given = batch([accepted(order(&id), &["erp"])]);
        insist(async || store.record(given.clone()).await).await;
        insist(async || store.settle(&[word("erp", &id, OutcomeKind::Done)]).await).await;
        insist(async || store.find(EventQuery::default()).await).await;
        insist(async || store.latest_offset().await).await;
        database.cut_connections().await;
    }
    let totals = insist(async || store.totals().await).await;
    assert_eq!((totals.received, totals.accepted), (5, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_and_crashes_of_the_server_lose_nothing() {
    const BATCHES: usize = 120;
    let mut server = PrivatePostgres::start().await;
    let database = server.database().await;
    let store = database.open().await;
    let kept = AtomicUsize::new(0);
    let write = async {
        for number in 0..BATCHES {
            let id = |n| format!("{number}-{n}");
            let given = batch((0..20).map(|n| accepted(order(&id(n)), &["erp"])));
            insist(async || store.record(given.clone()).await).await;
            let words: Vec<_> = (0..20).map(|n| word("erp", &id(n), OutcomeKind::Done)).collect();
            insist(async || store.settle(&words).await).await;
            kept.fetch_add(1, Ordering::Release);
        }
    };
    let reached = async |batches: usize| {
        let reached = async {
            while kept.load(Ordering::Acquire) < batches {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(DEADLINE, reached).await.unwrap();
    };
    let harm = async {
        reached(BATCHES / 5).await;
        server.stop().await;
        server.start_again().await;
        reached(BATCHES / 2).await;
        server.kill().await;
        server.start_again().await;
    };
    tokio::join!(write, harm);

    let totals = insist(async || store.totals().await).await;
    assert_eq!(totals.accepted, (BATCHES * 20) as u64);
    assert!(totals.balanced(), "{totals:?}");
    let erp = insist(async || store.per_adapter().await).await.remove(0);
    assert_eq!((erp.matched, erp.confirmed), (totals.accepted, totals.accepted));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_given_up_and_taken_up_again() {
    let server = PrivatePostgres::start().await;
    let database = server.database().await;
    let store = database.open().await;
    store.latest_offset().await.unwrap();
    server.freeze();
    let hung = timeout(DEADLINE, async {
        tokio::join!(store.latest_offset(), store.totals(), store.record(batch([])))
    });
    let hung = hung.await.unwrap();
    server.thaw();
    assert!(matches!(hung.0, Err(StoreError::Unavailable(_))), "{:?}", hung.0);
    assert!(matches!(hung.1, Err(StoreError::Unavailable(_))), "{:?}", hung.1);
    assert!(matches!(hung.2, Err(StoreError::Unavailable(_))), "{:?}", hung.2);
    store.latest_offset().await.unwrap();
    insist(async || store.record(batch([accepted(order("a"), &[])])).await).await;
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let database = TestPostgres::database().await;
    let mut own = PgConnection::connect(&database.url).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'of the future', true, '', 0)",
    )
    .execute(&mut own)
    .await
    .unwrap();
    let error = crossdock_store::open(&database.url).await.unwrap_err();
    assert_eq!(
        error,
        StoreError::Corrupt(
            "its schema has version 9999, which this version of crossdock does not know: use a newer one"
                .into()
        )
    );
}

#[tokio::test]
async fn who_is_not_let_in_is_told_why_and_no_password_is_shown() {
    let database = TestPostgres::database().await;
    let known = Url::parse(&database.url).unwrap();
    let changed = |change: &dyn Fn(&mut Url)| {
        let mut url = known.clone();
        change(&mut url);
        url.to_string()
    };
    for (url, expected) in [
        (
            changed(&|url| url.set_password(Some("hunter2")).unwrap()),
            "password authentication failed",
        ),
        (changed(&|url| url.set_path("nowhere")), "does not exist"),
        (changed(&|url| url.set_query(Some("sslmode=always"))), "ssl_mode"),
        (
            changed(&|url| url.set_query(Some("passwrod=hunter2"))),
            "unknown parameter",
        ),
        ("postgres://hub:hunter2@[::1".to_owned(), "the database URL"),
    ] {
        let error = crossdock_store::open(&url).await.unwrap_err();
        assert!(
            matches!(&error, StoreError::Invalid(reason) if reason.contains(expected)),
            "{error}"
        );
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    let nobody = changed(&|url| url.set_port(Some(1)).unwrap());
    let error = crossdock_store::open(&nobody).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");

    let store = crossdock_store::open(&database.url).await.unwrap();
    let password = known.password().unwrap();
    assert!(!format!("{store:?}").contains(&format!("{password:?}")));
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused() {
    let database = TestPostgres::empty_database_in("SQL_ASCII").await;
    let error = crossdock_store::open(&database.url).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Invalid(reason) if reason.contains("SQL_ASCII, expected UTF8")),
        "{error}"
    );
}

#[tokio::test]
async fn tls_is_spoken_and_certificates_are_checked() {
    let authority = CertifiedAuthority::new();
    let mut server = PrivatePostgres::start().await;
    let (certificate, key) = authority.issue("127.0.0.1");
    server.require_tls(&certificate, &key).await;
    let database = server.database().await;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root.crt");
    std::fs::write(&root, &authority.certificate).unwrap();
    let with = |parameters: &str| format!("{}?{parameters}", database.url);

    for accepted in ["sslmode=prefer", "sslmode=require"] {
        crossdock_store::open(&with(accepted)).await.unwrap();
    }
    for mode in ["verify-ca", "verify-full"] {
        let verified = with(&format!("sslmode={mode}&sslrootcert={}", root.display()));
        let store = crossdock_store::open(&verified).await.unwrap();
        store.latest_offset().await.unwrap();
        let error = crossdock_store::open(&with(&format!("sslmode={mode}")))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("certificate"), "{error}");
    }
    let error = crossdock_store::open(&with("sslmode=disable")).await.unwrap_err();
    assert!(error.to_string().contains("no encryption"), "{error}");

    let (certificate, key) = authority.issue("db.example.com");
    server.require_tls(&certificate, &key).await;
    let verified = |mode: &str| with(&format!("sslmode={mode}&sslrootcert={}", root.display()));
    crossdock_store::open(&verified("verify-ca")).await.unwrap();
    let error = crossdock_store::open(&verified("verify-full")).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

/// An authority of the test's own.
struct CertifiedAuthority {
    certificate: String,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl CertifiedAuthority {
    fn new() -> Self {
        let mut parameters = rcgen::CertificateParams::default();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        Self {
            certificate: parameters.self_signed(&key).unwrap().pem(),
            issuer: rcgen::Issuer::new(parameters, key),
        }
    }

    /// Certificate and key, PEM both.
    fn issue(&self, name: &str) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let parameters = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// What the server counted of reads of the events: scans by their source, and rows and index entries read in all.
async fn reads_of_events(own: &mut PgConnection) -> (i64, i64) {
    sqlx::query_as(
        "SELECT (SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'events_by_source'),
                (SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes WHERE relname = 'events')
                    + (SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'events')",
    )
    .fetch_one(own)
    .await
    .unwrap()
}

/// The overview asks every second: however large the record and however long a source has been silent, a few entries of
/// indexes answer.
#[tokio::test(flavor = "multi_thread")]
async fn figures_of_sources_do_not_walk_the_record() {
    const EVENTS: i64 = 20_000;
    const READ_MAX: i64 = 500;
    let database = TestPostgres::database().await;
    let store = database.open().await;
    let mut own = PgConnection::connect(&database.url).await.unwrap();
    sqlx::query(
        "INSERT INTO events (id, source, type, attributes, producer, received, chain)
         SELECT n::text, CASE n WHEN 1 THEN '/silent' ELSE '/shop' END, 'order.placed.v1', '{}', 'shop', n * 1000000, 0
         FROM generate_series(1, $1) AS n",
    )
    .bind(EVENTS)
    .execute(&mut own)
    .await
    .unwrap();
    sqlx::query("ANALYZE events").execute(&mut own).await.unwrap();
    let (scans_before, read_before) = reads_of_events(&mut own).await;
    let since = suite::at(EVENTS - 60);

    let mut asked = 0;
    let read = async {
        loop {
            let figures = store.source_figures(since).await.unwrap();
            assert_eq!(figures.sources.len(), 2);
            asked += 1;
            // The server's counts come about a second late.
            let (scans, read) = reads_of_events(&mut own).await;
            if scans > scans_before {
                return read - read_before;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    let read = timeout(DEADLINE, read).await.unwrap();
    assert!(
        read <= asked * READ_MAX,
        "{read} entries were read for {asked} answers"
    );
}
