//! From rows to events: what a mapping yields for a row or a group of rows, each output judged and completed.

use std::collections::HashMap;

use crossdock_model::{Event, jq::Mapping};
use serde_json::{Map, Value, json};

/// Where rows come from: one row, or the rows of a group.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Origin {
    /// The file's name.
    pub(super) file: String,
    /// The row's number, counted from 1; of a group's rows none.
    pub(super) row: Option<u64>,
    /// The value of the column that groups, where rows are grouped.
    pub(super) group: Option<String>,
}

/// Something of the input that became no event.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reject {
    pub(super) origin: Origin,
    /// Why, in a sentence.
    pub(super) reason: String,
    /// The row or rows concerned.
    pub(super) row: Value,
    /// The mapping itself refused it, as it is meant to.
    pub(super) by_mapping: bool,
}

impl Reject {
    /// The reject as a line of the rejects file.
    pub(super) fn to_json(&self) -> Value {
        let mut line = Map::new();
        line.insert("file".into(), json!(self.origin.file));
        if let Some(group) = &self.origin.group {
            line.insert("group".into(), json!(group));
        }
        if let Some(number) = self.origin.row {
            line.insert("row_number".into(), json!(number));
        }
        line.insert("reject".into(), json!(self.reason));
        line.insert("row".into(), self.row.clone());
        Value::Object(line)
    }
}

/// An event ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct Mapped {
    pub(super) origin: Origin,
    /// As a structured CloudEvent.
    pub(super) json: Vec<u8>,
    /// What it was made from.
    pub(super) input: std::sync::Arc<Value>,
}

/// What the mapping yielded.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Event(Mapped),
    Reject(Reject),
}

/// The input of one run of the mapping: a row, or a group of rows.
pub(super) struct Input {
    pub(super) origin: Origin,
    /// The name that ids are made from: the file's name without its extension.
    pub(super) stem: String,
    /// The numbers of a group's rows, in their order.
    pub(super) numbers: Vec<u64>,
    pub(super) value: Value,
}

/// Runs the mapping. What it yields comes out in the same order.
pub(super) fn run(mapping: &Mapping, input: Input) -> Vec<Outcome> {
    let outputs = match mapping.run(&input.value) {
        Ok(outputs) => outputs,
        Err(error) => {
            let reason = error.detail();
            return vec![Outcome::Reject(Reject {
                origin: input.origin,
                reason,
                row: input.value,
                by_mapping: false,
            })];
        }
    };
    let mut numbers = RowNumbers::of(&input);
    let Input {
        origin, stem, value, ..
    } = input;
    let value = std::sync::Arc::new(value);
    let mut events_without_id = 0;
    let mut outcomes = Vec::with_capacity(outputs.len());
    for output in outputs {
        let outcome = match output {
            Value::Object(mut refused) if refused.contains_key("reject") => {
                let row = refused.remove("row").unwrap_or(Value::Null);
                let row_number = origin.row.or_else(|| numbers.take(&row));
                Outcome::Reject(Reject {
                    origin: Origin {
                        row: row_number,
                        ..origin.clone()
                    },
                    reason: reason(refused.remove("reject").unwrap_or(Value::Null)),
                    row: if row.is_null() { (*value).clone() } else { row },
                    by_mapping: true,
                })
            }
            Value::Object(mut event) => {
                if !event.contains_key("id") {
                    events_without_id += 1;
                    event.insert("id".into(), json!(id(&stem, &origin, events_without_id)));
                }
                judge(event, &origin, &value)
            }
            _ => faulty(
                "the mapping yielded no object: expected an event, or {\"reject\": reason, \"row\": …}"
                    .to_owned(),
                &origin,
                &value,
            ),
        };
        outcomes.push(outcome);
    }
    outcomes
}

/// An id that is the same whenever the same file is imported: importing again adds nothing.
fn id(stem: &str, origin: &Origin, nth: u32) -> String {
    let place = match (&origin.group, origin.row) {
        (Some(group), _) => group.clone(),
        (None, row) => row.unwrap_or_default().to_string(),
    };
    if nth == 1 {
        format!("{stem}:{place}")
    } else {
        format!("{stem}:{place}:{nth}")
    }
}

fn judge(mut event: Map<String, Value>, origin: &Origin, input: &std::sync::Arc<Value>) -> Outcome {
    event.entry("specversion").or_insert_with(|| json!("1.0"));
    if event.contains_key("data") {
        event
            .entry("datacontenttype")
            .or_insert_with(|| json!("application/json"));
    }
    let json = Value::Object(event).to_string().into_bytes();
    match Event::from_structured(&json) {
        Ok(_) => Outcome::Event(Mapped {
            origin: origin.clone(),
            json,
            input: input.clone(),
        }),
        Err(faults) => faulty(faults.to_string(), origin, input),
    }
}

fn faulty(reason: String, origin: &Origin, input: &std::sync::Arc<Value>) -> Outcome {
    Outcome::Reject(Reject {
        origin: origin.clone(),
        reason,
        row: (**input).clone(),
        by_mapping: false,
    })
}

fn reason(given: Value) -> String {
    match given {
        Value::String(text) => text,
        Value::Null => "no reason given".to_owned(),
        other => other.to_string(),
    }
}

/// Finds the number of a row that the mapping hands back out of a group.
struct RowNumbers(HashMap<String, Vec<u64>>);

impl RowNumbers {
    fn of(input: &Input) -> Self {
        let mut numbers: HashMap<String, Vec<u64>> = HashMap::new();
        if let (Some(_), Value::Array(rows)) = (&input.origin.group, &input.value) {
            for (row, number) in rows.iter().zip(&input.numbers).rev() {
                numbers.entry(row.to_string()).or_default().push(*number);
            }
        }
        Self(numbers)
    }

    /// The first row that looks like this and was not handed back before.
    fn take(&mut self, row: &Value) -> Option<u64> {
        self.0.get_mut(&row.to_string())?.pop()
    }
}
