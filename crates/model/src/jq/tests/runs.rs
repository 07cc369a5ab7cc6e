//! Filters and transforms: what a run gives, and how its time is taken.

use super::*;

fn no_time() -> Duration {
    Duration::ZERO
}

fn read(json: &Value) -> Input {
    Input::read(json.to_string()).unwrap()
}

#[test]
fn a_filter_goes_by_its_first_output() {
    for (source, passes) in [
        (".n > 1", true),
        (".n > 9", false),
        (".missing", false),
        ("0", true),
        ("\"\"", true),
        ("empty", false),
        ("false, true", false),
        ("true, error(\"never reached\")", true),
        (".lines[] | .sku == \"b\"", false),
        ("any(.lines[]; .sku == \"b\")", true),
    ] {
        let input = read(&json!({"n": 3, "lines": [{"sku": "a"}, {"sku": "b"}]}));
        let mapping = Mapping::compile(source).unwrap();
        assert_eq!(
            mapping.passes(&input, &mut Stopwatch::new(&no_time)),
            Ok(passes),
            "{source}"
        );
    }
    let input = read(&json!(1));
    let raised = Mapping::compile(".a")
        .unwrap()
        .passes(&input, &mut Stopwatch::new(&no_time));
    assert!(matches!(raised, Err(JqError::Raised(_))));
}

#[test]
fn a_transform_yields_one_output() {
    let text = "{\"price\":0.10,\"lines\":[1,2]}";
    let input = Input::read(text).unwrap();
    let transform = |source: &str| {
        Mapping::compile(source)
            .unwrap()
            .transforms(&input, &mut Stopwatch::new(&no_time))
    };
    assert_eq!(transform("."), Ok("{\"lines\":[1,2],\"price\":0.10}".to_owned()));
    assert_eq!(transform(".missing"), Ok("null".to_owned()));
    assert_eq!(transform("empty"), Err(JqError::Outputs("none")));
    assert_eq!(transform(".lines[]"), Err(JqError::Outputs("more than one")));
    assert!(matches!(transform("1, error(\"late\")"), Err(JqError::Raised(_))));
    assert!(matches!(transform("\"x\" * 1100000"), Err(JqError::Bounds(_))));
    assert_eq!(
        JqError::Outputs("none").to_string(),
        "the mapping yields none where one output is expected"
    );
}

#[test]
fn one_input_serves_many_runs() {
    let input = read(&json!({"a": {"b": [1, 2, 3]}}));
    let mut watch = Stopwatch::new(&no_time);
    let change = Mapping::compile(".a.b[0] = 9 | .a.b").unwrap();
    assert_eq!(change.transforms(&input, &mut watch), Ok("[9,2,3]".to_owned()));
    assert_eq!(change.transforms(&input, &mut watch), Ok("[9,2,3]".to_owned()));
    let same = Mapping::compile(".a.b").unwrap();
    assert_eq!(same.transforms(&input, &mut watch), Ok("[1,2,3]".to_owned()));
    assert!(matches!(
        Input::read("{\"a\":"),
        Err(JqError::Input { offset: 5 })
    ));
    assert!(Input::read("[".repeat(130) + &"]".repeat(130)).is_err());
    assert!(!format!("{input:?}").contains('9'));
}

#[test]
fn a_stopwatch_counts_every_thread_that_a_run_takes() {
    use std::sync::atomic::{AtomicU64, Ordering};
    let asked = AtomicU64::new(0);
    let clock = || Duration::from_secs(asked.fetch_add(1, Ordering::SeqCst));
    let mut watch = Stopwatch::new(&clock);
    let input = read(&json!({"a": 1}));
    Mapping::compile(".a")
        .unwrap()
        .passes(&input, &mut watch)
        .unwrap();
    assert_eq!(watch.taken(), Duration::from_secs(1));
    Mapping::compile("error")
        .unwrap()
        .passes(&input, &mut watch)
        .unwrap_err();
    assert_eq!(watch.taken(), Duration::from_secs(2));

    // It does not fit onto the caller's stack, so it is begun here and run elsewhere.
    let members: Vec<_> = (0..900).map(|number| format!("k{number}: .a")).collect();
    let roomy = Mapping::compile(&format!("{{{}}} | length", members.join(","))).unwrap();
    assert_eq!(roomy.transforms(&input, &mut watch), Ok("900".to_owned()));
    assert_eq!(watch.taken(), Duration::from_secs(4));
}
