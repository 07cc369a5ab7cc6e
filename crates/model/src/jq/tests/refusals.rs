//! What is refused when a mapping is compiled, with its place.

use super::*;

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
