//! Whatever is put together from what the language offers, a run of it ends in time and within its bounds.

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
            (part.clone(), part.clone()).prop_map(|(path, value)| format!("(.a | ({path})) |= ({value})")),
            (part.clone(), part).prop_map(|(body, call)| format!("(def f(g): g | g; f({body}) | {call})")),
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
