//! What `check` says of faulty manifests, to the letter.

#![allow(missing_docs)]

use crossdock_config::{SourceFile, load_adapters};

/// The faults of `adapters/erp.toml` with this text, one a line.
fn faults(text: &str) -> String {
    let file = SourceFile {
        path: "adapters/erp.toml".into(),
        text: text.into(),
    };
    match load_adapters(&[file]) {
        Ok(_) => "no fault".into(),
        Err(faults) => faults
            .iter()
            .map(|fault| fault.to_string().replace("adapters/erp.toml:", ""))
            .collect::<Vec<_>>()
            .join("\n"),
    }
}

/// What is wrong, the manifest, and what is said of it as `line:column: message`.
const CASES: &[(&str, &str, &str)] = &[
    (
        "nothing at all",
        "",
        r#"1:1: missing key `name`, expected a string, such as "erp"
1:1: missing key `source`, expected a string, such as "/erp""#,
    ),
    (
        "a missing name",
        r#"source = "/erp"
"#,
        r#"1:1: missing key `name`, expected a string, such as "erp""#,
    ),
    (
        "a key that nearly is one",
        r#"name = "erp"
source = "/erp"
publish = ["order.numbered.v1"]
"#,
        "3:1: unknown key `publish`, did you mean `publishes`?",
    ),
    (
        "a key that is nothing",
        r#"name = "erp"
source = "/erp"
colour = "red"
"#,
        "3:1: unknown key `colour`, expected `delivery`, `description`, `name`, `order`, `publishes`, [retry], `source` or [[subscribe]]",
    ),
    (
        "a section that nearly is one",
        r#"name = "erp"
source = "/erp"
[retries]
schedule = ["5s"]
"#,
        "3:2: unknown section [retries], did you mean [retry]?",
    ),
    (
        "a list of sections that nearly is one",
        r#"name = "erp"
source = "/erp"
[[subscriptions]]
types = ["order.placed.v1"]
"#,
        "3:3: unknown section [subscriptions], did you mean [[subscribe]]?",
    ),
    (
        "a section that is nothing",
        r#"name = "erp"
source = "/erp"
[zebra]
stripes = 7
"#,
        "3:2: unknown section [zebra], expected `delivery`, `description`, `name`, `order`, `publishes`, [retry], `source` or [[subscribe]]",
    ),
    (
        "a key below a section that belongs above",
        r#"name = "erp"
source = "/erp"
[retry]
schedule = ["5s"]
order = "key"
"#,
        "5:1: unknown key `order` in [retry]; it belongs at the top of the file, above the first [section]",
    ),
    (
        "an unknown key of a subscription",
        r#"name = "erp"
source = "/erp"
[[subscribe]]
types = ["order.placed.v1"]
[[subscribe]]
type = ["cart.updated.v1"]
"#,
        "6:1: unknown key `type` in [[subscribe]], did you mean `types`?",
    ),
    (
        "an adapter name in capitals",
        r#"name = "ERP"
source = "/erp"
"#,
        r#"1:8: "ERP" is not an adapter name, expected 1 to 64 lower-case letters, digits and hyphens, such as "erp-2""#,
    ),
    (
        "a name that is a number",
        r#"name = 7
source = "/erp"
"#,
        r#"1:8: `name` is a whole number, expected a string, such as "erp""#,
    ),
    (
        "a file with another name",
        r#"name = "shop"
source = "/shop"
"#,
        r#"1:8: adapter "shop" is described in erp.toml, expected shop.toml"#,
    ),
    (
        "a source with a blank",
        r#"name = "erp"
source = "/our erp"
"#,
        r#"2:10: "/our erp" is not a CloudEvents source, expected a URI reference, such as "/erp""#,
    ),
    (
        "an empty source",
        r#"name = "erp"
source = ""
"#,
        r#"2:10: "" is not a CloudEvents source, expected a URI reference, such as "/erp""#,
    ),
    (
        "types that are none",
        r#"name = "erp"
source = "/erp"
publishes = ["order.numbered", "order.numbered.v1", "Order.placed.v1"]
"#,
        r#"3:14: "order.numbered" is not an event type, expected <family>.<past tense>.v<n>, such as "order.placed.v1"
3:53: "Order.placed.v1" is not an event type, expected <family>.<past tense>.v<n>, such as "order.placed.v1""#,
    ),
    (
        "one type instead of a list",
        r#"name = "erp"
source = "/erp"
publishes = "order.numbered.v1"
"#,
        r#"3:13: `publishes` is a string, expected a list, such as ["order.numbered.v1", "stock.level.v1"]"#,
    ),
    (
        "a number among the types",
        r#"name = "erp"
source = "/erp"
publishes = [
  "order.numbered.v1",
  12,
]
"#,
        r#"5:3: item 2 of `publishes` is a whole number, expected a string, such as "order.numbered.v1""#,
    ),
    (
        "a type twice",
        r#"name = "erp"
source = "/erp"
publishes = ["order.numbered.v1", "order.numbered.v1"]
"#,
        r#"3:35: "order.numbered.v1" is listed twice, expected once"#,
    ),
    (
        "an order that is none",
        r#"name = "erp"
source = "/erp"
order = "strict"
"#,
        r#"3:9: `order` is "strict", expected "none" or "key""#,
    ),
    (
        "an order that is no word",
        r#"name = "erp"
source = "/erp"
order = true
"#,
        r#"3:9: `order` is true, expected "none" or "key""#,
    ),
    (
        "a delivery without a kind",
        r#"name = "erp"
source = "/erp"
delivery = {}
"#,
        r#"3:12: missing key `kind` in [delivery], expected "amqp", "webhook" or "feed""#,
    ),
    (
        "a delivery that is a word",
        r#"name = "erp"
source = "/erp"
delivery = "amqp"
"#,
        r#"3:12: `delivery` is a string, expected a table, such as { kind = "amqp" }"#,
    ),
    (
        "a delivery of unknown kind",
        r#"name = "erp"
source = "/erp"
delivery = { kind = "pigeon" }
"#,
        r#"3:21: `kind` is "pigeon", expected "amqp", "webhook" or "feed""#,
    ),
    (
        "a key of another kind of delivery",
        r#"name = "erp"
source = "/erp"
delivery = { kind = "amqp", url = "https://erp.example.com" }
"#,
        "3:29: unknown key `url` in [delivery], expected `kind`",
    ),
    (
        "webhook delivery without where to and with what",
        r#"name = "erp"
source = "/erp"
delivery = { kind = "webhook" }
"#,
        r#"3:12: missing key `secret` in [delivery], expected a table, such as { file = "/run/secrets/webhook" }
3:12: missing key `url` in [delivery], expected a string, such as "https://erp.example.com/events""#,
    ),
    (
        "webhook delivery with a password in its address",
        r#"name = "erp"
source = "/erp"
[delivery]
kind = "webhook"
url = "https://hub:hunter2@erp.example.com/events"
secret = { env = "ERP_SECRET" }
"#,
        "5:7: this address holds a user, a password or a fragment, expected none of these",
    ),
    (
        "webhook delivery with faults",
        r#"name = "erp"
source = "/erp"
[delivery]
kind = "webhook"
url = "erp.example.com"
secret = "whsec_abc"
timeout_s = 0
max_in_flight = 5000
"#,
        r#"5:7: this is not a web address, expected http://host:port or https://host
6:10: `secret` is a string, expected a table, such as { file = "/run/secrets/webhook" }
7:13: `timeout_s` is 0, expected at least 1
8:17: `max_in_flight` is 5000, expected at most 200"#,
    ),
    (
        "a secret from two places",
        r#"name = "erp"
source = "/erp"
[delivery]
kind = "webhook"
url = "https://erp.example.com"
secret = { file = "/a", env = "B" }
"#,
        r#"6:10: `secret` names `env` and `file`, expected only one of them"#,
    ),
    (
        "a secret from nowhere",
        r#"name = "erp"
source = "/erp"
[delivery]
kind = "webhook"
url = "https://erp.example.com"
secret = {}
"#,
        r#"6:10: `secret` is empty, expected one of `env` and `file`"#,
    ),
    (
        "feed delivery",
        r#"name = "erp"
source = "/erp"
delivery = { kind = "feed" }
"#,
        r#"3:21: feed delivery is not available in this version, expected `kind = "amqp"` or `kind = "webhook"`"#,
    ),
    (
        "a subscription that is no table",
        r#"name = "erp"
source = "/erp"
subscribe = ["order.placed.v1"]
"#,
        "3:14: item 1 of `subscribe` is a string, expected a table",
    ),
    (
        "a single subscription in single brackets",
        r#"name = "erp"
source = "/erp"
[subscribe]
types = ["order.placed.v1"]
"#,
        "3:1: `subscribe` is a table, expected [[subscribe]]",
    ),
    (
        "a subscription without types",
        r#"name = "erp"
source = "/erp"
[[subscribe]]
"#,
        r#"3:1: missing key `types` in [[subscribe]], expected a list, such as ["order.placed.v1", "cart.*.v1"]"#,
    ),
    (
        "a subscription to an empty list",
        r#"name = "erp"
source = "/erp"
[[subscribe]]
types = []
"#,
        r#"4:9: `types` is empty, expected a list, such as ["order.placed.v1", "cart.*.v1"]"#,
    ),
    (
        "patterns that are none",
        r#"name = "erp"
source = "/erp"
[[subscribe]]
types = ["order.*", "order.pl*.v1", "order.*.v1", "order.*.v1"]
"#,
        r#"4:10: "order.*" can match no event type: expected <family>.<past tense>.v<n>, where `*` may stand for a whole segment, such as order.*.v1
4:21: "order.pl*.v1" can match no event type: expected <family>.<past tense>.v<n>, where `*` may stand for a whole segment, such as order.*.v1
4:51: "order.*.v1" is listed twice, expected once"#,
    ),
    (
        "a filter and a transform that are no jq",
        r#"name = "erp"
source = "/erp"
[[subscribe]]
types = ["order.placed.v1"]
filter = '.data.total.amount >= '
transform = '{ order: .subject, now: now }'
"#,
        "5:33: expected term
6:38: `now` is not available: the same event must always give the same result; use .time, or utc for local times",
    ),
    (
        "a retry without a schedule",
        r#"name = "erp"
source = "/erp"
[retry]
"#,
        r#"3:1: missing key `schedule` in [retry], expected a list, such as ["5s", "30s", "2m"]"#,
    ),
    (
        "delays that are none",
        r#"name = "erp"
source = "/erp"
[retry]
schedule = ["5 s", "soon", 30, "0s", "30d", "1h30m"]
"#,
        r#"4:13: "5 s" is not a delay, expected whole numbers with units, such as "5s", "2m", "6h" or "1h30m"
4:20: "soon" is not a delay, expected whole numbers with units, such as "5s", "2m", "6h" or "1h30m"
4:28: item 3 of `schedule` is a whole number, expected a string, such as "30s"
4:32: "0s" is out of range, expected a delay from 1s to 7d
4:38: "30d" is out of range, expected a delay from 1s to 7d"#,
    ),
    (
        "a schedule without end",
        "name = \"erp\"\nsource = \"/erp\"\n[retry]\nschedule = [\"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\"]\n",
        "4:12: `schedule` has 65 items, expected at most 64",
    ),
    (
        "a date",
        r#"name = "erp"
source = "/erp"
description = 2024-05-01
"#,
        "3:15: a date has no place here, expected a text in quotes",
    ),
    (
        "numbers that do not fit",
        r#"name = "erp"
source = "/erp"
description = 99999999999999999999
retry = { schedule = [nan] }
"#,
        "3:15: this number is too large, expected one of at most 64 bits
4:23: this is not a finite number, expected one",
    ),
    (
        "a text without quotes",
        r#"name = erp
source = "/erp"
publish = []
"#,
        "1:8: a text without quotes, expected quotes around it
3:1: unknown key `publish`, did you mean `publishes`?",
    ),
    (
        "a text that does not end",
        r#"name = "erp
source = "/erp"
"#,
        "1:8: this text is never closed, expected a quote at its end",
    ),
    (
        "a list that does not end",
        r#"name = "ERP"
source = "/erp"
publishes = ["order.numbered.v1"

[retry]
schedule = ["soon"]
"#,
        r#"1:8: "ERP" is not an adapter name, expected 1 to 64 lower-case letters, digits and hyphens, such as "erp-2"
3:13: this list is never closed, expected `]`"#,
    ),
    (
        "a table that does not end",
        r#"name = "erp"
source = "/erp"
delivery = {
  kind = "amqp"

[retry]
schedule = ["soon"]
"#,
        "6:1: not valid TOML: missing key for inline table element, expected `,`
7:1: not valid TOML: missing comma between key-value pairs, expected `,`
7:12: this list is never closed, expected `]`",
    ),
    (
        "a text of several lines that does not end",
        r#"name = "ERP"
source = "/erp"
description = """
Our ERP.

[retry]
schedule = ["soon"]
"#,
        r#"1:8: "ERP" is not an adapter name, expected 1 to 64 lower-case letters, digits and hyphens, such as "erp-2"
3:15: this text is never closed, expected a quote at its end"#,
    ),
    (
        "a section that does not end",
        r#"name = "erp"
source = "/erp"
[retry
schedule = ["5s"]
"#,
        "3:7: not valid TOML: unclosed table, expected `]`",
    ),
    (
        "a key twice",
        r#"name = "erp"
source = "/erp"
name = "erp"
order = "strict"
"#,
        r#"3:1: `name` is here for the second time, expected it once
4:9: `order` is "strict", expected "none" or "key""#,
    ),
    (
        "a section twice",
        r#"name = "erp"
source = "/erp"
[retry]
schedule = ["5s"]
[retry]
schedule = ["5s"]
"#,
        "5:2: `retry` is here for the second time, expected it once
6:1: `schedule` is here for the second time, expected it once",
    ),
    (
        "something that is not TOML at all",
        r#"{"name": "erp"}
"#,
        "1:1: not valid TOML: invalid key-value pair, expected key",
    ),
    (
        "places behind letters of several bytes",
        r#"name = "erp"
source = "/erp"
"größe" = 1
description = "größe" # größe
publishes = ["größe", "größe"]
"#,
        r#"3:1: unknown key `größe`, expected `delivery`, `description`, `name`, `order`, `publishes`, [retry], `source` or [[subscribe]]
5:14: "größe" is not an event type, expected <family>.<past tense>.v<n>, such as "order.placed.v1"
5:23: "größe" is listed twice, expected once
5:23: "größe" is not an event type, expected <family>.<past tense>.v<n>, such as "order.placed.v1""#,
    ),
    (
        "many faults in one file",
        r#"nam = "erp"
source = "/our erp"
publishes = ["order.numbered", 3]
order = "strict"
delivery = { kind = "pigeon" }

[[subscribe]]
types = ["order.*"]

[[subscribe]]
topics = ["a"]

[retry]
schedule = ["soon", "1s"]
max = 3
"#,
        r#"1:1: unknown key `nam`, did you mean `name`?
2:10: "/our erp" is not a CloudEvents source, expected a URI reference, such as "/erp"
3:14: "order.numbered" is not an event type, expected <family>.<past tense>.v<n>, such as "order.placed.v1"
3:32: item 2 of `publishes` is a whole number, expected a string, such as "order.numbered.v1"
4:9: `order` is "strict", expected "none" or "key"
5:21: `kind` is "pigeon", expected "amqp", "webhook" or "feed"
8:10: "order.*" can match no event type: expected <family>.<past tense>.v<n>, where `*` may stand for a whole segment, such as order.*.v1
10:1: missing key `types` in [[subscribe]], expected a list, such as ["order.placed.v1", "cart.*.v1"]
11:1: unknown key `topics` in [[subscribe]], expected `filter`, `transform` or `types`
14:13: "soon" is not a delay, expected whole numbers with units, such as "5s", "2m", "6h" or "1h30m"
15:1: unknown key `max` in [retry], expected `schedule`"#,
    ),
];

#[test]
fn every_fault_is_said_with_its_place() {
    let wrong: Vec<_> = CASES
        .iter()
        .filter(|(_, text, expected)| faults(text) != *expected)
        .map(|(case, text, expected)| format!("{case}\nexpected:\n{expected}\nfound:\n{}\n", faults(text)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
