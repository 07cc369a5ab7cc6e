//! Reading files from first to last: repeats dropped, rows grouped, the mapping run on each. Runs on a thread
//! of its own, ahead of the sending by a bounded distance.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use crossdock_model::jq::Mapping;
use indicatif::ProgressBar;
use serde_json::Value;

use super::mapping::{self, Input, Origin, Outcome, Reject};
use super::rows::{Row, Rows};

/// Rows of one file that are kept in memory to be grouped, by their size in the file.
const GROUPED_FILE_MAX_BYTES: u64 = 512 * 1024 * 1024;

/// How to read.
pub(super) struct Reading {
    pub(super) files: Vec<PathBuf>,
    pub(super) mapping: Mapping,
    pub(super) group_by: Option<String>,
    pub(super) distinct: bool,
    pub(super) progress: ProgressBar,
}

/// What was read so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) rows: u64,
    pub(super) repeats: u64,
    pub(super) groups: u64,
}

/// Takes each outcome; `false` ends the reading.
type Give<'a> = dyn FnMut(Outcome, Counts) -> bool + 'a;

impl Reading {
    /// Reads all files in their order.
    pub(super) fn run(&self, give: &mut Give<'_>) -> anyhow::Result<Counts> {
        let mut counts = Counts::default();
        for file in &self.files {
            let mut rows = Rows::open(file)?;
            let wanted = match &self.group_by {
                None => self.each_row(file, &mut rows, &mut counts, give),
                Some(column) => self.each_group(file, column, &mut rows, &mut counts, give),
            };
            if !wanted.with_context(|| format!("cannot read {}", file.display()))? {
                break;
            }
        }
        Ok(counts)
    }

    fn each_row(
        &self,
        file: &Path,
        rows: &mut Rows,
        counts: &mut Counts,
        give: &mut Give<'_>,
    ) -> anyhow::Result<bool> {
        let mut seen = HashSet::new();
        while let Some(row) = self.next(rows, &mut seen, counts)? {
            let origin = Origin {
                file: name(file),
                row: Some(row.number),
                group: None,
            };
            let wanted = match row.content {
                Ok(value) => self.map(
                    Input {
                        origin,
                        stem: stem(file),
                        numbers: Vec::new(),
                        value,
                    },
                    *counts,
                    give,
                ),
                Err(reason) => give(unreadable(origin, reason), *counts),
            };
            if !wanted {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Groups keep the order in which their first rows stand in the file.
    fn each_group(
        &self,
        file: &Path,
        column: &str,
        rows: &mut Rows,
        counts: &mut Counts,
        give: &mut Give<'_>,
    ) -> anyhow::Result<bool> {
        if let Some(columns) = rows.columns()
            && !columns.iter().any(|name| name == column)
        {
            bail!("it has no column {column:?}, only {}", columns.join(", "));
        }
        let mut seen = HashSet::new();
        let mut places = HashMap::new();
        let mut groups: Vec<Group> = Vec::new();
        let mut bytes = 0;
        while let Some(row) = self.next(rows, &mut seen, counts)? {
            bytes += row.bytes;
            if bytes > GROUPED_FILE_MAX_BYTES {
                bail!(
                    "more than {} MiB cannot be grouped in memory; split the file",
                    GROUPED_FILE_MAX_BYTES >> 20
                );
            }
            let grouped = row
                .content
                .and_then(|value| Ok((group_of(&value, column)?, value)));
            match grouped {
                Ok((name, value)) => {
                    let place = *places.entry(name.clone()).or_insert_with(|| {
                        groups.push(Group {
                            name,
                            numbers: Vec::new(),
                            rows: Vec::new(),
                        });
                        groups.len() - 1
                    });
                    groups[place].numbers.push(row.number);
                    groups[place].rows.push(value);
                }
                Err(reason) => {
                    let origin = Origin {
                        file: name(file),
                        row: Some(row.number),
                        group: None,
                    };
                    if !give(unreadable(origin, reason), *counts) {
                        return Ok(false);
                    }
                }
            }
        }
        for Group {
            name: group,
            numbers,
            rows,
        } in groups
        {
            counts.groups += 1;
            let origin = Origin {
                file: name(file),
                row: None,
                group: Some(group),
            };
            let input = Input {
                origin,
                stem: stem(file),
                numbers,
                value: Value::Array(rows),
            };
            if !self.map(input, *counts, give) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The next row that is no repeat of an earlier one of its file.
    fn next(
        &self,
        rows: &mut Rows,
        seen: &mut HashSet<[u8; 16]>,
        counts: &mut Counts,
    ) -> anyhow::Result<Option<Row>> {
        while let Some(row) = rows.next()? {
            counts.rows += 1;
            self.progress.inc(row.bytes);
            if !self.distinct || seen.insert(row.digest) {
                return Ok(Some(row));
            }
            counts.repeats += 1;
        }
        Ok(None)
    }

    fn map(&self, input: Input, counts: Counts, give: &mut Give<'_>) -> bool {
        mapping::run(&self.mapping, input)
            .into_iter()
            .all(|outcome| give(outcome, counts))
    }
}

struct Group {
    name: String,
    numbers: Vec<u64>,
    rows: Vec<Value>,
}

/// The group a row belongs to.
fn group_of(row: &Value, column: &str) -> Result<String, String> {
    match row.get(column) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value.to_string()),
        Some(_) => Err(format!(
            "{column:?} is neither text nor a number, so it names no group"
        )),
        None => Err(format!("has no {column:?}, so it belongs to no group")),
    }
}

fn unreadable(origin: Origin, reason: String) -> Outcome {
    Outcome::Reject(Reject {
        origin,
        reason,
        row: Value::Null,
        by_mapping: false,
    })
}

/// The file's name without its folder.
fn name(file: &Path) -> String {
    file.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The file's name without folder and extension: the beginning of the ids of its events.
pub(super) fn stem(file: &Path) -> String {
    file.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    const ORDERS: &str = "invoice,sku,price\n1,a,10\n2,b,20\n1,a,10\n1,c,0\n3,d,30\n2,e,x\n";

    fn read(group_by: Option<&str>, distinct: bool, mapping: &str) -> (Vec<Outcome>, Counts) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("day-1.csv");
        std::fs::write(&file, ORDERS).unwrap();
        let reading = Reading {
            files: vec![file],
            mapping: Mapping::compile(mapping).unwrap(),
            group_by: group_by.map(str::to_owned),
            distinct,
            progress: ProgressBar::hidden(),
        };
        let mut outcomes = Vec::new();
        let counts = reading
            .run(&mut |outcome, _| {
                outcomes.push(outcome);
                true
            })
            .unwrap();
        (outcomes, counts)
    }

    fn events(outcomes: &[Outcome]) -> Vec<Value> {
        let events = outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Event(event) => Some(serde_json::from_slice(&event.json).unwrap()),
            Outcome::Reject(_) => None,
        });
        events.collect()
    }

    fn rejects(outcomes: &[Outcome]) -> Vec<Value> {
        let rejects = outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Event(_) => None,
            Outcome::Reject(reject) => Some(reject.to_json()),
        });
        rejects.collect()
    }

    const BY_ROW: &str = r#"{source: "/till", type: "cart.updated.v1", subject: .sku}"#;

    #[test]
    fn rows_become_events_with_ids_that_never_change() {
        let (outcomes, counts) = read(None, false, BY_ROW);
        assert_eq!(
            counts,
            Counts {
                rows: 6,
                repeats: 0,
                groups: 0
            }
        );
        let ids: Vec<_> = events(&outcomes)
            .iter()
            .map(|event| event["id"].clone())
            .collect();
        assert_eq!(
            ids,
            ["day-1:1", "day-1:2", "day-1:3", "day-1:4", "day-1:5", "day-1:6"]
        );
        assert_eq!(events(&outcomes)[0]["specversion"], "1.0");
    }

    #[test]
    fn repeats_are_dropped_and_the_others_keep_their_numbers() {
        let (outcomes, counts) = read(None, true, BY_ROW);
        assert_eq!(
            counts,
            Counts {
                rows: 6,
                repeats: 1,
                groups: 0
            }
        );
        let ids: Vec<_> = events(&outcomes)
            .iter()
            .map(|event| event["id"].clone())
            .collect();
        assert_eq!(ids, ["day-1:1", "day-1:2", "day-1:4", "day-1:5", "day-1:6"]);
    }

    #[test]
    fn groups_keep_the_order_of_their_first_rows() {
        let mapping = r#"{source: "/till", type: "order.placed.v1", subject: .[0].invoice, data: map(.sku)}"#;
        let (outcomes, counts) = read(Some("invoice"), true, mapping);
        assert_eq!(
            counts,
            Counts {
                rows: 6,
                repeats: 1,
                groups: 3
            }
        );
        let events = events(&outcomes);
        let told: Vec<_> = events
            .iter()
            .map(|event| (event["id"].clone(), event["data"].clone()))
            .collect();
        assert_eq!(
            told,
            [
                (json!("day-1:1"), json!(["a", "c"])),
                (json!("day-1:2"), json!(["b", "e"])),
                (json!("day-1:3"), json!(["d"])),
            ]
        );
        assert_eq!(events[0]["datacontenttype"], "application/json");
    }

    #[test]
    fn several_events_of_a_group_are_numbered_and_refused_rows_keep_their_place() {
        let mapping = r#".[] | if .price == "0" then {reject: "no price", row: .}
            else {source: "/till", type: "cart.updated.v1", data: .} end"#;
        let (outcomes, _) = read(Some("invoice"), false, mapping);
        let ids: Vec<_> = events(&outcomes)
            .iter()
            .map(|event| event["id"].clone())
            .collect();
        assert_eq!(ids, ["day-1:1", "day-1:1:2", "day-1:2", "day-1:2:2", "day-1:3"]);
        let refused = json!({"file": "day-1.csv", "group": "1", "row_number": 4, "reject": "no price",
            "row": {"invoice": "1", "sku": "c", "price": "0"}});
        assert_eq!(rejects(&outcomes), [refused]);
    }

    #[test]
    fn a_failing_mapping_rejects_the_row_and_goes_on() {
        let mapping = r#"{source: "/till", type: "cart.updated.v1", data: (.price | tonumber)}"#;
        let (outcomes, _) = read(None, false, mapping);
        assert_eq!(events(&outcomes).len(), 5);
        let rejects = rejects(&outcomes);
        assert_eq!(rejects.len(), 1);
        assert_eq!(rejects[0]["row_number"], 6);
        assert!(
            rejects[0]["reject"]
                .as_str()
                .unwrap()
                .starts_with("the mapping raised an error: tonumber expects")
        );
    }

    #[test]
    fn an_output_that_is_no_event_says_what_is_wrong() {
        let (outcomes, _) = read(None, false, r#"{type: "cart.updated.v1"}"#);
        assert!(
            rejects(&outcomes)[0]["reject"]
                .as_str()
                .unwrap()
                .contains("source")
        );
        let (outcomes, _) = read(None, false, ".sku");
        assert!(
            rejects(&outcomes)[0]["reject"]
                .as_str()
                .unwrap()
                .contains("no object")
        );
    }

    #[test]
    fn a_column_that_is_not_there_is_named_with_those_that_are() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("day-1.csv");
        std::fs::write(&file, ORDERS).unwrap();
        let reading = Reading {
            files: vec![file],
            mapping: Mapping::compile(".").unwrap(),
            group_by: Some("order".into()),
            distinct: false,
            progress: ProgressBar::hidden(),
        };
        let error = format!("{:#}", reading.run(&mut |_, _| true).unwrap_err());
        assert!(
            error.contains("no column \"order\", only invoice, sku, price"),
            "{error}"
        );
    }
}
