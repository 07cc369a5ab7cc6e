//! Every explosion ends, and what is honest has work, stack and room enough.

use super::*;

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
