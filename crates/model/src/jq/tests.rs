//! What mappings compute; the rooms beside this one: what is refused, that every explosion ends, what a run gives.
#![allow(clippy::unwrap_used)]

mod any_program;
mod bounds;
mod refusals;
mod runs;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;

fn outputs(source: &str, input: &Value) -> Vec<Value> {
    let mapping = Mapping::compile(source).unwrap_or_else(|fault| panic!("{source}: {fault}"));
    mapping
        .run(input)
        .unwrap_or_else(|error| panic!("{source}: {}", error.detail()))
}

#[track_caller]
fn yields(source: &str, input: Value, expected: Value) {
    assert_eq!(outputs(source, &input), [expected], "{source}");
}

#[track_caller]
fn refused(source: &str, line: usize, column: usize, part: &str) {
    let fault = Mapping::compile(source).expect_err(source);
    assert_eq!((fault.line, fault.column), (line, column), "{source}: {fault}");
    assert!(fault.message.contains(part), "{source}: {fault}");
}

fn fails(source: &str, input: &Value) -> JqError {
    Mapping::compile(source)
        .unwrap_or_else(|fault| panic!("{source}: {fault}"))
        .run(input)
        .expect_err(source)
}

/// What this thread has used of a processor, so that a busy machine does not count.
fn time_on_cpu() -> Duration {
    let schedule = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = schedule.split(' ').next().and_then(|field| field.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

#[test]
fn mappings_are_shared_between_threads() {
    fn shared<T: Send + Sync + Clone + 'static>(_: &T) {}
    let mapping = Mapping::compile(".a + 1").unwrap();
    shared(&mapping);
    let workers: Vec<_> = (0..4)
        .map(|number| {
            let mapping = mapping.clone();
            std::thread::spawn(move || mapping.run(&json!({ "a": number })))
        })
        .collect();
    for (number, worker) in workers.into_iter().enumerate() {
        assert_eq!(worker.join().unwrap().unwrap(), [json!(number + 1)]);
    }
}

#[test]
fn the_language() {
    yields(
        "{id, total: (.lines | map(.q * .p) | add)}",
        json!({"id": "a", "lines": [{"q": 2, "p": 3}, {"q": 1, "p": 4}]}),
        json!({"id": "a", "total": 10}),
    );
    yields(
        ". as {a: $x, b: [$y]} | $x + $y",
        json!({"a": 1, "b": [2]}),
        json!(3),
    );
    yields("[.[] | select(. > 1)] | length", json!([1, 2, 3]), json!(2));
    yields("reduce .[] as $x (0; . + $x)", json!([1, 2, 3]), json!(6));
    yields(
        "[foreach .[] as $x (0; . + $x; [$x, .])]",
        json!([1, 2]),
        json!([[1, 1], [2, 3]]),
    );
    yields(
        "def double(f): f * 2; def one: 1; double(double(one))",
        json!(null),
        json!(4),
    );
    yields(
        "[label $out | .[] | if . > 2 then break $out else . end]",
        json!([1, 2, 3, 4]),
        json!([1, 2]),
    );
    yields("try error(\"x\") catch .", json!(null), json!("x"));
    yields(
        ".a.b.c = 1 | .a.d += [2]",
        json!({"a": {"b": {}}}),
        json!({"a": {"b": {"c": 1}, "d": [2]}}),
    );
    yields(
        "del(.a, .b[0]) | .b |= map(. + 1)",
        json!({"a": 1, "b": [1, 2]}),
        json!({"b": [3]}),
    );
    yields("[..| numbers]", json!({"a": [1, {"b": 2}]}), json!([1, 2]));
    yields("[paths]", json!({"a": [1]}), json!([["a"], ["a", 0]]));
    yields(
        "[getpath([\"a\", 0]), (setpath([\"a\", 0]; 5) | .a[0])]",
        json!({"a": [1]}),
        json!([1, 5]),
    );
    yields(
        "walk(if type == \"number\" then . + 1 else . end)",
        json!({"a": [1]}),
        json!({"a": [2]}),
    );
    yields(
        "to_entries | map(.key + \"=\" + (.value | tostring)) | join(\"&\")",
        json!({"a": 1, "b": true}),
        json!("a=1&b=true"),
    );
    yields("with_entries(.value += 1)", json!({"a": 1}), json!({"a": 2}));
    yields(
        "[group_by(.k)[] | {k: .[0].k, n: length}]",
        json!([{"k": "b"}, {"k": "a"}, {"k": "b"}]),
        json!([{"k": "a", "n": 1}, {"k": "b", "n": 2}]),
    );
    yields(
        "[unique, min, max, sort, (sort_by(-.) | first)]",
        json!([2, 1, 2]),
        json!([[1, 2], 1, 2, [1, 2, 2], 2]),
    );
    yields(
        "[.[1:], .[-1], .[:1], (.[1:] |= [9])]",
        json!([1, 2, 3]),
        json!([[2, 3], 3, [1], [1, 9]]),
    );
    yields(
        "[.[2:4], length, (split(\"\") | length)]",
        json!("añ€🛒z"),
        json!(["€🛒", 5, 5]),
    );
    yields(
        "[test(\"^c\"; \"i\"), sub(\"(?<d>\\\\d+)\"; \"<\\(.d)>\"), [scan(\"[0-9]\")]]",
        json!("C12"),
        json!([true, "C<12>", ["1", "2"]]),
    );
    yields("[splits(\", *\")]", json!("a, b,c"), json!(["a", "b", "c"]));
    yields(
        "[indices(\"aa\"), index(\"a\"), rindex(\"a\")]",
        json!("aaa"),
        json!([[0, 1], 0, 2]),
    );
    yields(
        "[indices(1), indices([1, 2]), contains([2]), has(0), (1 | in([5, 6]))]",
        json!([1, 2, 1]),
        json!([[0, 2], [0], true, true, true]),
    );
    yields("transpose", json!([[1], [2, 3]]), json!([[1, 2], [null, 3]]));
    yields(
        "[flatten, flatten(1)]",
        json!([1, [2, [3]]]),
        json!([[1, 2, 3], [1, 2, [3]]]),
    );
    yields(
        "[@base64, (@base64 | @base64d), @uri, @html \"<\\(.)>\", @json]",
        json!("a b<"),
        json!(["YSBiPA==", "a b<", "a%20b%3C", "<a b&lt;>", "\"a b<\""]),
    );
    yields(
        "[10 / 4, 10 / 5, 7 % 4, -7 % 4, 1 - 2, 1e1000 > 1, (0.1 | floor)]",
        json!(null),
        json!([2.5, 2, 3, -3, -1, true, 0]),
    );
    yields(
        "{a: 1} * {a: {b: 2}} * {a: {c: 3}} + {d: 4}",
        json!(null),
        json!({"a": {"b": 2, "c": 3}, "d": 4}),
    );
    yields(
        "[[1, 2, 2] - [2], \"ab\" * 2, \"a\" * 0, \"a,b\" / \",\"]",
        json!(null),
        json!([[1], "abab", null, ["a", "b"]]),
    );
    yields("[.[] | tonumber]", json!(["1.5", 2]), json!([1.5, 2]));
    yields(
        "[nan, 1, nan, 0] | [sort[] | isnan]",
        json!(null),
        json!([true, true, false, false]),
    );
    yields(
        "[nan == nan, nan < nan, (nan | isnan), (1 | isnan), 1.0 == 1, ([1, 1.0] | unique | length)]",
        json!(null),
        json!([false, true, true, false, true, 1]),
    );
    yields(
        "[.[0] < .[1], .[0] == .[1], .[2] > .[1], .[3] < .[0]]",
        json!([
            9_007_199_254_740_992_i64,
            9_007_199_254_740_993_i64,
            1e300,
            -1e300
        ]),
        json!([true, false, true, true]),
    );
    yields("gsub(\"\"; \"-\")", json!("ab"), json!("-a-b-"));
    yields(
        "tojson | [., fromjson]",
        json!({"a": [1, "x"]}),
        json!(["{\"a\":[1,\"x\"]}", {"a": [1, "x"]}]),
    );
    yields(
        "[limit(2; .[]), first(.[]), ([skip(1; .[])] | last), any(. > 2), all(. > 0)]",
        json!([1, 2, 3]),
        json!([1, 2, 1, 3, true, true]),
    );
    yields(
        "[range(3), range(1; 6; 2), range(2; 0; -1)]",
        json!(null),
        json!([0, 1, 2, 1, 3, 5, 2, 1]),
    );
    yields(
        "fromdate | [todate, strftime(\"%Y\")]",
        json!("2011-06-01T07:26:00Z"),
        json!(["2011-06-01T07:26:00Z", "2011"]),
    );
    yields("[.[] | toboolean]", json!(["true", false]), json!([true, false]));
    assert_eq!(outputs("empty", &json!(1)), Vec::<Value>::new());
    assert_eq!(outputs(".[]", &json!([1, 2])), [json!(1), json!(2)]);
}

#[test]
fn money_and_times() {
    yields(
        "[.[] | minor_units(2)]",
        json!(["2.55", "-3", 19.99, 7]),
        json!([255, -300, 1999, 700]),
    );
    yields(
        "utc(\"Europe/London\")",
        json!("2011-06-01 08:26:00"),
        json!("2011-06-01T07:26:00Z"),
    );
    for (source, input) in [
        ("minor_units(2)", json!("2.555")),
        ("minor_units(2)", json!(0.1 + 0.2)),
        ("minor_units(2)", json!(null)),
        ("minor_units(9)", json!("1")),
        ("utc(\"Europe/London\")", json!("2011-03-27 01:30:00")),
        ("utc(.)", json!("Nowhere")),
    ] {
        assert!(matches!(fails(source, &input), JqError::Raised(_)), "{source}");
    }
}

#[test]
fn xml_and_csv() {
    let order = r#"<?xml version="1.0" encoding="UTF-8"?>
        <!-- from the old shop -->
        <o:order xmlns:o="urn:old" number="R-1" xml:lang="en">
          <line sku="A&amp;B" q="2">Mugs &#233; <![CDATA[<tall>]]></line>
          <line sku="C" q="1"/>
        </o:order>"#;
    yields(
        "fromxml | {number: .a.number, lines: [.c[] | {sku: .a.sku, q: (.a.q | tonumber), text: (.c | join(\"\"))}]}",
        json!(order),
        json!({"number": "R-1", "lines": [
            {"sku": "A&B", "q": 2, "text": "Mugs é <tall>"},
            {"sku": "C", "q": 1, "text": ""},
        ]}),
    );
    yields(
        "fromxml",
        json!("<a><b> </b>x</a>"),
        json!({"t": "a", "c": [{"t": "b", "c": []}, "x"]}),
    );
    yields(
        "fromcsv | .[0] as $names | .[1:] | map([$names, .] | transpose | map({(.[0]): .[1]}) | add)",
        json!("sku,price\r\n\"A, \"\"1\"\"\",1.10\r\nB,2\r\n"),
        json!([{"sku": "A, \"1\"", "price": "1.10"}, {"sku": "B", "price": "2"}]),
    );
    yields(
        "[fromcsv, (\"\" | fromcsv)]",
        json!("a,b\nc"),
        json!([[["a", "b"], ["c"]], []]),
    );
    for (source, input) in [
        ("fromxml", "<a>"),
        ("fromxml", "<a></b>"),
        ("fromxml", ""),
        (
            "fromxml",
            "<!DOCTYPE a [<!ENTITY x \"y\"><!ENTITY z \"&x;&x;\">]><a>&z;</a>",
        ),
        ("fromxml", "<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>"),
        ("fromxml", "<a>&unknown;</a>"),
        ("1 | fromxml", ""),
        ("1 | fromcsv", ""),
    ] {
        let error = fails(source, &json!(input));
        assert!(matches!(error, JqError::Raised(_)), "{source} {input}: {error}");
        assert!(!error.detail().contains("passwd"), "{}", error.detail());
    }
    let deep = "<a>".repeat(100_000) + &"</a>".repeat(100_000);
    assert!(matches!(fails("fromxml", &json!(deep)), JqError::Bounds(_)));
    let wide = format!("<a>{}</a>", "<b/>".repeat(20_000));
    yields("fromxml.c | length", json!(wide), json!(20_000));
}

#[test]
fn json_text_keeps_every_digit() {
    let mapping = Mapping::compile("., (.[0] | minor_units(2))").unwrap();
    let text = "[90071992547409.93,12345678901234567890,0.10]";
    assert_eq!(
        mapping.run_json(text.as_bytes()).unwrap(),
        [text, "9007199254740993"]
    );
    assert_eq!(mapping.run_json(b"[1,}"), Err(JqError::Input { offset: 3 }));
    assert_eq!(mapping.run_json(b"\"\xff\""), Err(JqError::Input { offset: 1 }));
}

#[test]
fn errors_do_not_show_the_event_in_logs() {
    let input = json!({"name": "Ada Lovelace"});
    let typed = fails(".name + 1", &input);
    assert_eq!(
        typed.detail(),
        "the mapping raised an error: cannot calculate a string + a number"
    );
    let quoted = fails("error(.name)", &input);
    assert!(quoted.detail().contains("Ada"));
    assert!(!format!("{quoted} {quoted:?}").contains("Ada"));
}
