#![allow(clippy::unwrap_used)]

use std::{sync::atomic::AtomicU32, time::Duration};

use serde_json::{Value, json};

use super::*;
use crate::{
    routing::Routing,
    testing::{event, routing_of, ticking},
};

fn erp(subscriptions: &str) -> Routing {
    let manifest = format!("name = \"erp\"\nsource = \"/erp\"\n{subscriptions}");
    routing_of(&[("erp", &manifest)]).timed_by(ticking(Duration::ZERO))
}

fn order(data: Value) -> Event {
    event(json!({ "type": "order.placed.v1", "datacontenttype": "application/json", "data": data }))
}

fn failure(route: Route) -> Failure {
    match route {
        Route::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

fn data(route: Route) -> Value {
    match route {
        Route::Transformed(event) => event.json().unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_subscription_whose_filter_passes_decides() {
    let routing = erp(r#"
        [[subscribe]]
        types = ["order.shipped.v1"]
        transform = '"shipped"'
        [[subscribe]]
        types = ["order.*.v1"]
        filter = '.data.total.amount >= 10000'
        transform = '"large"'
        [[subscribe]]
        types = ["order.placed.v1"]
        filter = '.data.total.amount >= 5000'
        [[subscribe]]
        types = ["order.placed.v1"]
        filter = '.data.total.amount >= 1000'
        transform = '"small"'
    "#);
    let of = |amount: i64| routing.route_to("erp", &order(json!({ "total": { "amount": amount } })));
    assert_eq!(data(of(10_000)), json!("large"));
    assert!(matches!(of(9_999), Route::AsItIs));
    assert_eq!(data(of(4_999)), json!("small"));
    assert!(matches!(of(999), Route::NotWanted));
    assert!(matches!(
        routing.route_to("gone", &order(json!({}))),
        Route::NotWanted
    ));
    assert!(routing.maps("order.placed.v1") && !routing.maps("cart.updated.v1"));
}

#[test]
fn a_mapping_sees_the_whole_event_and_changes_nothing_but_its_data() {
    let routing = erp(r#"
        [[subscribe]]
        types = ["order.placed.v1"]
        filter = '.source == "/shop" and .specversion == "1.0" and (.aliases | contains("web:"))'
        transform = '{ id, subject, price: .data.price, net: (.data.price | minor_units(2)) }'
    "#);
    let text = r#"{"specversion":"1.0","id":"7","source":"/shop","type":"order.placed.v1","subject":"R-1",
        "correlationid":"c","aliases":"web:R-1","dataschema":"https://example.com/s","data":{"price":90071992547409.930}}"#;
    let event = Event::from_structured(text.as_bytes()).unwrap();
    let Route::Transformed(made) = routing.route_to("erp", &event) else {
        panic!("a transform");
    };
    let written = String::from_utf8(made.data.clone().unwrap().to_vec()).unwrap();
    assert_eq!(
        written,
        r#"{"id":"7","net":9007199254740993,"price":90071992547409.930,"subject":"R-1"}"#
    );
    assert_eq!(made.data_content_type.as_deref(), Some("application/json"));
    let expected = Event {
        data: made.data.clone(),
        data_content_type: made.data_content_type.clone(),
        data_schema: None,
        ..event
    };
    assert_eq!(*made, expected);
}

#[test]
fn xml_and_csv_are_read_as_text() {
    let routing = erp(r#"
        [[subscribe]]
        types = ["stock.counted.v1"]
        filter = '.datacontenttype == "text/csv"'
        transform = '.data | split("\n") | map(select(. != "") | split(",") | {sku: .[0], on_hand: (.[1] | tonumber)})'
        [[subscribe]]
        types = ["stock.counted.v1"]
        filter = '.data? // "" | contains("<sku>")'
        transform = '.data | capture("<sku>(?<sku>[^<]+)</sku>")'
        [[subscribe]]
        types = ["stock.counted.v1"]
        filter = 'has("data_base64")'
    "#);
    let of = |media_type: &str, bytes: &'static [u8]| {
        let mut counted = event(json!({ "type": "stock.counted.v1" }));
        counted.data_content_type = Some(media_type.into());
        counted.data = Some(bytes.into());
        routing.route_to("erp", &counted)
    };
    assert_eq!(
        data(of("text/csv", b"A1,3\nB2,0\n")),
        json!([{ "sku": "A1", "on_hand": 3 }, { "sku": "B2", "on_hand": 0 }])
    );
    assert_eq!(
        data(of("application/xml", b"<count><sku>A1</sku></count>")),
        json!({ "sku": "A1" })
    );
    assert!(matches!(of("image/png", b"\xff\x00"), Route::AsItIs));
}

#[test]
fn a_failure_says_where_and_keeps_the_event_out_of_logs() {
    for (subscription, detail, logged) in [
        (
            "filter = 'error(.data.name)'",
            "the filter of its subscription 2: the mapping raised an error: Ada",
            "the filter of its subscription 2: the mapping raised an error",
        ),
        (
            "transform = '.data.name | tonumber'",
            "the transform of its subscription 2: the mapping raised an error: tonumber expects a number, or a string that is one",
            "the transform of its subscription 2: the mapping raised an error",
        ),
        (
            "transform = 'empty'",
            "the transform of its subscription 2: the mapping yields none where one output is expected",
            "the transform of its subscription 2: the mapping yields none where one output is expected",
        ),
        (
            "transform = '1, 2'",
            "the transform of its subscription 2: the mapping yields more than one where one output is expected",
            "the transform of its subscription 2: the mapping yields more than one where one output is expected",
        ),
        (
            "filter = '[range(.data.n)] | length'",
            "the filter of its subscription 2: the mapping went over its bounds: it does too much work or makes too much data",
            "the filter of its subscription 2: the mapping went over its bounds: it does too much work or makes too much data",
        ),
    ] {
        let routing = erp(&format!(
            "[[subscribe]]\ntypes = [\"a.b.v1\"]\n[[subscribe]]\ntypes = [\"order.placed.v1\"]\n{subscription}\n\
             [[subscribe]]\ntypes = [\"order.placed.v1\"]\n"
        ));
        let failure = failure(routing.route_to("erp", &order(json!({ "name": "Ada", "n": 1e15 }))));
        assert_eq!(
            (failure.detail.as_str(), failure.logged.as_str()),
            (detail, logged)
        );
    }
}

#[test]
fn an_output_that_makes_the_event_too_large_is_a_failure() {
    let routing = erp("[[subscribe]]\ntypes = [\"order.placed.v1\"]\ntransform = '.data.text * 1050000'\n");
    let failure = failure(routing.route_to("erp", &order(json!({ "text": "x" }))));
    assert!(failure.detail.contains("went over its bounds"), "{failure:?}");
}

#[test]
fn neighbours_are_not_touched_by_a_failure() {
    let wants = |name: &str, more: &str| {
        format!(
            "name = \"{name}\"\nsource = \"/{name}\"\n[[subscribe]]\ntypes = [\"order.placed.v1\"]\n{more}\n"
        )
    };
    let (erp, mail, wms) = (
        wants("erp", "filter = 'error'"),
        wants("mail", "transform = '.subject'"),
        wants("wms", ""),
    );
    let routing = routing_of(&[("erp", &erp), ("mail", &mail), ("wms", &wms)]);
    let routes = routing.routes(&order(json!({})));
    let kinds: Vec<_> = routes
        .iter()
        .map(|(name, route)| {
            let kind = match route {
                Route::NotWanted => "not wanted",
                Route::AsItIs => "as it is",
                Route::Transformed(_) => "transformed",
                Route::Failed(_) => "failed",
            };
            (name.as_str(), kind)
        })
        .collect();
    assert_eq!(
        kinds,
        [("erp", "failed"), ("mail", "transformed"), ("wms", "as it is")]
    );
}

#[test]
fn the_event_is_read_once_and_only_if_a_mapping_asks() {
    let plain = order(json!({ "n": 1 }));
    let mut reading = Reading::of(&plain);
    let routing = erp("[[subscribe]]\ntypes = [\"order.placed.v1\"]\n");
    let subscriptions = &routing.subscriptions;
    let clock = ticking(Duration::ZERO);
    assert!(matches!(
        subscriptions.route("erp", &mut reading, &*clock),
        Route::AsItIs
    ));
    assert!(reading.input.is_none());

    let routing = erp("[[subscribe]]\ntypes = [\"order.placed.v1\"]\nfilter = '.data.n'\n");
    let subscriptions = &routing.subscriptions;
    subscriptions.route("erp", &mut reading, &*clock);
    // What is read is not read again: a mark that the event's text does not have.
    reading.input = Some(Input::read("{\"data\":{\"n\":false}}"));
    assert!(matches!(
        subscriptions.route("erp", &mut reading, &*clock),
        Route::NotWanted
    ));
}

#[test]
fn a_mapping_that_is_slow_again_and_again_is_run_no_more() {
    let runs = Arc::new(AtomicU32::new(0));
    let counted = runs.clone();
    // Asked at the beginning and at the end of each run: every second run takes 60 ms.
    let clock: Arc<RunClock> = Arc::new(move || {
        let asked = counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Duration::from_millis(60 * u64::from(asked.div_ceil(4)))
    });
    let routing = erp(
        "[[subscribe]]\ntypes = [\"order.placed.v1\"]\nfilter = '.data.n > 1'\n[[subscribe]]\ntypes = [\"order.*.v1\"]\n",
    )
    .timed_by(clock);
    let event = order(json!({ "n": 2 }));
    let mut passed = 0;
    let failure = loop {
        match routing.route_to("erp", &event) {
            Route::AsItIs => passed += 1,
            other => break failure(other),
        }
        assert!(passed < 100);
    };
    assert!((5..=10).contains(&passed), "{passed}");
    assert_eq!(
        failure.detail,
        "the filter of its subscription 1: it is parked: it took more than 50 ms of processor time, and 2 ms for each KiB \
         of the event, in 5 of its last 20 runs"
    );
    let asked = runs.load(std::sync::atomic::Ordering::SeqCst);
    routing.route_to("erp", &event);
    assert_eq!(runs.load(std::sync::atomic::Ordering::SeqCst), asked);
    // What does not depend on it goes on.
    let shipped = event_of("order.shipped.v1");
    assert!(matches!(routing.route_to("erp", &shipped), Route::AsItIs));
}

fn event_of(event_type: &str) -> Event {
    event(json!({ "type": event_type }))
}

#[test]
fn a_heavy_mapping_is_parked_in_earnest() {
    // Measured by the processor's time: as much work as one run may do.
    let routing = routing_of(&[(
        "erp",
        "name = \"erp\"\nsource = \"/erp\"\n[[subscribe]]\ntypes = [\"order.placed.v1\"]\n\
         filter = 'reduce range(1000000) as $n (0; . + $n) | . > 0'\n",
    )]);
    let event = order(json!({}));
    let parked = |routing: &Routing| routing.mappings().all(|placed| placed.pace.is_parked());
    for _ in 0..crate::routing::SLOW_RUNS {
        assert!(!parked(&routing));
        failure(routing.route_to("erp", &event));
    }
    assert!(parked(&routing));
}

#[test]
fn a_mapping_is_not_parked_by_a_neighbours_huge_events() {
    let routing = routing_of(&[(
        "erp",
        "name = \"erp\"\nsource = \"/erp\"\n[[subscribe]]\ntypes = [\"order.placed.v1\"]\n\
         filter = '.data | sort | length > 1'\n",
    )]);
    let event = order(json!(vec![1; 500_000]));
    for _ in 0..6 {
        assert!(matches!(routing.route_to("erp", &event), Route::AsItIs));
    }
    assert!(routing.mappings().all(|placed| !placed.pace.is_parked()));
}

#[test]
fn a_light_mapping_is_not() {
    let routing = routing_of(&[(
        "erp",
        "name = \"erp\"\nsource = \"/erp\"\n[[subscribe]]\ntypes = [\"order.placed.v1\"]\n\
         filter = '.data.total.amount >= 10000'\ntransform = '{ order: .subject, total: .data.total }'\n",
    )]);
    let event = order(json!({ "total": { "amount": 12_000, "currency": "GBP" } }));
    for _ in 0..100 {
        data(routing.route_to("erp", &event));
    }
    assert!(routing.mappings().all(|placed| !placed.pace.is_parked()));
}
