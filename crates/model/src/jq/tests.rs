//! What mappings compute, what is refused, and that every explosion ends.
#![allow(clippy::unwrap_used)]

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

#[test]
fn what_could_loop_is_refused_with_its_place() {
    refused("def f: f; f", 1, 8, "calls itself");
    refused("1 |\n  def f(g): g | f(g);\n  f(.)", 2, 17, "calls itself");
    refused("def f: def g: f; g; f", 1, 15, "calls itself");
    refused("def f(g): g; def h: f(h); h", 1, 23, "calls itself");
    refused("def f: def f: 1; f; def g: def f: g; f; g", 1, 35, "calls itself");
    for name in [
        "repeat(.)",
        "while(true; .)",
        "until(false; .)",
        "recurse(.)",
        "recurse(.; true)",
        "combinations",
        "combinations(2)",
    ] {
        refused(&format!(". | {name}"), 1, 5, "is not available");
    }
    for name in [
        "range(infinite)",
        "range(1e9)",
        "range(0; 5000000)",
        "range(0; 1; 0)",
    ] {
        refused(name, 1, 1, "must end");
    }
    refused("[limit(5; repeat(1))]", 1, 11, "may never end");
}

#[test]
fn what_looks_outside_is_refused_with_its_place() {
    for name in [
        "input",
        "inputs",
        "now",
        "env",
        "$ENV",
        "debug",
        "debug(1)",
        "stderr",
        "halt",
        "halt_error",
        "localtime",
        "input_line_number",
    ] {
        refused(&format!("{{a: [\"\\({name})\"]}}"), 1, 9, "is not available");
    }
    refused("import \"a\" as a; .", 1, 1, "stands alone");
    refused("include \"a\"; .", 1, 1, "stands alone");
}

#[test]
fn mistakes_are_named_with_their_place() {
    refused(".a | lenght", 1, 6, "not a function");
    refused("é\n", 1, 1, "expected token");
    refused("\"é\" | foo", 1, 7, "not a function");
    refused("map(.; .)", 1, 1, "takes 1 arguments, not 2");
    refused("{a: }", 1, 5, "expected term");
    refused(".a +", 1, 5, "expected term");
    refused("", 1, 1, "expected term");
    refused("[1", 1, 3, "closing bracket");
    refused("$x", 1, 1, "undefined");
    refused("break $x", 1, 7, "undefined");
    refused("utc(\"Europe/Londn\")", 1, 6, "not a time zone");
    refused("raw::f", 1, 1, "not a function");
    refused("matches_unmetered(\"a\"; \"\")", 1, 1, "not a function");
    refused("path(reduce .a as $x (.; .a))", 1, 6, "cannot say a path");
    refused("def f: .a; path(f)", 1, 17, "a path cannot be taken");
}

#[test]
fn programs_of_any_shape_are_read_or_refused() {
    let shapes = [
        "[".repeat(60_000),
        "(".repeat(60) + "1" + &")".repeat(60),
        "-".repeat(8_000) + "1",
        "try ".repeat(8_000) + "1",
        ".|".repeat(4_000) + ".",
        "1 as $x|".repeat(2_000) + "$x",
        "if . then ".repeat(4_000),
        "def f: ".repeat(3_000),
        "label $x | ".repeat(2_700) + ".",
        ".a".repeat(8_000),
        "def f: ".repeat(1_000) + "1" + &"; f".repeat(1_000),
        "if . then ".repeat(1_500) + "1" + &" else 2 end".repeat(1_500),
        "if . then 1 ".to_owned() + &"elif . then 2 ".repeat(1_500) + "end",
        ". as [".to_owned() + &"$x,".repeat(3_000) + "$y] | 1",
        format!("\"{}\"", "\\(1)".repeat(1_500)),
        "def f(g): g; ".to_owned() + &"f(".repeat(60) + "1" + &")".repeat(60),
        "\"\\(".repeat(60) + "1" + &")\"".repeat(60),
        "1+".repeat(4_000) + "1",
        format!("{{{}b:1}}", "a:1,".repeat(2_000)),
        format!(
            "path({})",
            [".a"; 8_000]
                .chunks(100)
                .map(<[_]>::concat)
                .collect::<Vec<_>>()
                .join("|")
        ),
        format!("path({}.a)", ".a|".repeat(2_700)),
        format!("{}.a |= 1", ".a|".repeat(2_700)),
        format!("path({}.[0:])", ".[0:]|".repeat(1_300)),
        "x".repeat(70_000),
    ];
    for shape in shapes {
        if let Ok(mapping) = Mapping::compile(&shape) {
            let _ = mapping.run(&json!({}));
            let _ = mapping.run(&json!(null));
        }
    }
}

/// What this thread has used of a processor, so that a busy machine does not count.
fn time_on_cpu() -> Duration {
    let schedule = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = schedule.split(' ').next().and_then(|field| field.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

#[test]
fn every_explosion_ends_within_a_second() {
    let doubling: String = (0..60).fold("def f0: .,.; ".to_owned(), |defs, n| {
        format!("{defs} def f{}: f{n} | f{n}; ", n + 1)
    }) + "f60";
    let nested_loops = "range(1000000) as $a | ".repeat(6) + "empty";
    let explosions = [
        "reduce range(60) as $i (\"x\"; . + .)",
        "reduce range(60) as $i ([1]; . + .)",
        "reduce range(60) as $i ([1]; [., .])",
        "reduce range(60) as $i ({a: 1}; {a: ., b: .})",
        "reduce range(60) as $i ([1]; [., .]) | tojson",
        "reduce range(20) as $i ([1]; [., .]) | [., .] | .[0] == .[1]",
        "reduce range(40) as $i ([1]; [., .]) | [.., 1] | length",
        "reduce range(40) as $i ([1]; [., .]) | . as $x | [range(1000) | $x] | sort | unique | length",
        "reduce range(100000) as $i (0; [.])",
        "reduce range(100000) as $i (null; {a: .}) | tojson",
        "\"x\" * 1000000000000",
        "\"\" * 1e18",
        "[range(1000000)] | [.[] as $x | .[] | . + $x] | length",
        "[range(1000000)] | map(tostring) | join(\"\")",
        "last(range(1; 1000000; 0.0000001))",
        "range(0; .n)",
        "[limit(1000000000; range(.n))]",
        "[range(.n)] | length",
        "try reduce range(.n) as $i (0; try (. + 1) catch 0) catch 1",
        "[range(0; .n; .zero)]",
        "reduce range(200) as $i (3; . * .)",
        "[range(100000)] | [.[] | tostring] | group_by(.) | length",
        "[range(3000)] as $a | [$a[] | [$a[] | . * 2]] | length",
        "[range(100000) | \"a\"] | add | test(\"(a*)*b\")",
        "(\"a\" * 10000) | test(\"((a{100}){100}){100}\")",
        "(\"a\" * 10000) | [match(\"a\"; \"g\")] | length",
        "(\"ab\" * 20000) | gsub(\"a\"; \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\") | length",
        "(\"a\" * 100000) | indices(\"a\" * 50000)",
        "(\"[\" * 100000) | fromjson",
        "(\"1\" * 1000000) | fromjson",
        "(\"1\" * 1000000) | tonumber | . * .",
        "{} | setpath([range(100000) | \"a\"]; 1)",
        "getpath([range(100000) | \"a\"])",
        "[1] | getpath([range(100000) | {start: 0, end: 1}])",
        "(reduce range(100000) as $i (.; .a)) |= 1",
        "(reduce range(100000) as $i (.; .)) |= 1",
        "[[1]] | (reduce range(100000) as $i (.; .[0:])) |= [1]",
        "(foreach range(100000) as $i (.; .)) |= 1",
        "[foreach range(1000000) as $i ([]; . + [$i])] | length",
        "[1, [2, [3]]] | flatten(1000000000)",
        "[range(100000)] | [paths] | length",
        "[range(1000)] | [.. | ..| ..] | [.[], .[], .[]] | [.[], .[], .[]] | map([., .]) | length",
        "[splits(\"\")] | length",
        "[range(100000)] | implode | explode | implode | ascii_upcase | @base64 | @uri | @html | length",
        "first(range(1000000) | select(. < 0))",
        "[range(1000000) | select(false)]",
        "isempty(range(1000000) | select(false))",
        "label $f | range(1000000) | if . > 999999 then break $f else empty end",
        "[.[]?, (try error(range(1000000)) catch empty)]",
        "strftime(\"%1000000000d\")",
        "(\"<a>\" * 300000) + (\"</a>\" * 300000) | fromxml | length",
        "\"<a>\" + (\"<b/>\" * 2000000) + \"</a>\" | fromxml | length",
        "\"<a>\" + (\"<b c=\\\"d\\\">e</b>\" * 200000) + \"</a>\" | fromxml | [..] | length",
        "(\"a,b,c\\n\" * 1000000) | fromcsv | length",
        "(\",\" * 10000000) | fromcsv | length",
        "(\"\\\"\" * 10000000) | fromcsv | length",
        doubling.as_str(),
        nested_loops.as_str(),
    ];
    for source in explosions {
        let mapping = Mapping::compile(source).unwrap_or_else(|fault| panic!("{source}: {fault}"));
        let (start, start_on_cpu) = (Instant::now(), time_on_cpu());
        let _ = mapping.run(&json!({"n": 1e15, "zero": 0}));
        let took = time_on_cpu() - start_on_cpu;
        assert!(took < Duration::from_secs(1), "{source} took {took:?}");
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{source} took {:?}",
            start.elapsed()
        );
    }
}

#[test]
fn a_spent_budget_cannot_be_caught() {
    let error = fails(
        "try (reduce range(60) as $i (\"x\"; . + .)) catch 1",
        &json!(null),
    );
    assert!(matches!(error, JqError::Bounds(_)));
    yields("1 + 1", json!(null), json!(2));
}

#[test]
fn outputs_are_bounded() {
    for source in [
        "range(1001)",
        "range(20) | \"x\" * 60000",
        "reduce range(123) as $i (0; [.])",
    ] {
        assert!(
            matches!(fails(source, &json!(null)), JqError::Bounds(_)),
            "{source}"
        );
    }
    assert_eq!(outputs("range(1000)", &json!(null)).len(), 1000);
    assert_eq!(outputs("reduce range(120) as $i (0; [.])", &json!(null)).len(), 1);
}

#[test]
fn what_needs_more_stack_gets_a_thread_of_its_own() {
    let members: Vec<_> = (0..900).map(|number| format!("k{number}: .a")).collect();
    let source = format!("{{{}}} | length", members.join(","));
    yields(&source, json!({"a": 1}), json!(900));
}

#[test]
fn large_inputs_have_work_enough() {
    let lines: Vec<_> = (0..5_000)
        .map(|number| json!({"StockCode": format!("S{number}"), "Quantity": "6", "Price": "2.55", "InvoiceDate": "2010-12-01 08:26:00"}))
        .collect();
    let source = "{lines: map({sku: .StockCode, quantity: (.Quantity | tonumber), price: (.Price | minor_units(2)), at: (.InvoiceDate | utc(\"Europe/London\"))})} | .total = ([.lines[] | .quantity * .price] | add) | .total";
    yields(source, Value::from(lines), json!(5_000 * 6 * 255));
}

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

/// Whatever is put together from what the language offers, a run of it ends in time and within its bounds.
mod any_program {
    use proptest::prelude::*;

    use super::*;

    fn program() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just(".".to_owned()),
            Just(".a".to_owned()),
            Just(".a[]?".to_owned()),
            Just("..".to_owned()),
            Just("empty".to_owned()),
            Just("\"x\"".to_owned()),
            Just("[range(3000)]".to_owned()),
            Just("range(.n? // 1e9)".to_owned()),
            Just("keys?".to_owned()),
            Just("error".to_owned()),
            (0..2_000_000_u32).prop_map(|number| number.to_string()),
        ];
        leaf.prop_recursive(6, 40, 3, |part| {
            prop_oneof![
                (part.clone(), part.clone(), "[-+*/%]|,|\\||//|and|or|==|<")
                    .prop_map(|(left, right, operator)| format!("({left} {operator} {right})")),
                part.clone().prop_map(|body| format!("[{body}]")),
                part.clone().prop_map(|body| format!("{{a: ({body}), b: .}}")),
                part.clone().prop_map(|body| format!("try ({body}) catch .")),
                part.clone().prop_map(|body| format!("map({body})?")),
                part.clone().prop_map(|body| format!("(tojson | {body})")),
                part.clone().prop_map(|body| format!("walk({body})?")),
                part.clone().prop_map(|body| format!("first({body})")),
                (part.clone(), part.clone())
                    .prop_map(|(items, step)| format!("reduce ({items}) as $x (.; {step} | [., $x])")),
                (part.clone(), part.clone())
                    .prop_map(|(items, step)| format!("[limit(50; foreach ({items}) as $x (0; {step}))]")),
                (part.clone(), part.clone())
                    .prop_map(|(path, value)| format!("(.a | ({path})) |= ({value})")),
                (part.clone(), part)
                    .prop_map(|(body, call)| format!("(def f(g): g | g; f({body}) | {call})")),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn ends_in_time_and_within_its_bounds(source in program()) {
            let Ok(mapping) = Mapping::compile(&source) else { return Ok(()); };
            let began = time_on_cpu();
            if let Ok(outputs) = mapping.run_json(br#"{"a": [1, {"a": "x"}, [2.50]], "n": 12}"#) {
                prop_assert!(outputs.len() <= OUTPUT_MAX_VALUES);
                prop_assert!(outputs.iter().map(String::len).sum::<usize>() <= OUTPUT_MAX_BYTES);
                for output in outputs {
                    prop_assert!(serde_json::from_str::<Value>(&output).is_ok());
                }
            }
            let took = time_on_cpu() - began;
            // Without optimisation: a hundredth of it with.
            prop_assert!(took < Duration::from_secs(5), "{source} took {took:?}");
        }

        #[test]
        fn is_read_or_refused_with_a_place_inside(source in "[\\[\\](){}.,|;:\"'$?/ a-f0-9é=\n]{0,80}") {
            if let Err(fault) = Mapping::compile(&source) {
                let line = source.split('\n').nth(fault.line - 1);
                prop_assert!(line.is_some_and(|line| fault.column <= line.chars().count() + 1), "{fault}");
            }
        }
    }
}
