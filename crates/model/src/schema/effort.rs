//! How much work a schema can make of data, reckoned before either meets the other. Branches that
//! judge the same value add up, and where a schema refers to itself they multiply with each level of
//! the data, so that a few lines could keep a processor busy for ever.

use std::collections::HashMap;

use serde_json::Value;

use super::walk::{Place, subschemas};
use crate::event::JSON_MAX_DEPTH;

/// Schemas that may judge one value, before its members and items are looked at.
pub const JUDGES_MAX: u64 = 1_000;
/// How deep `allOf`, `$ref` and the like may nest about one value.
pub const NESTING_MAX: u64 = 32;
/// The evaluations of schemas that one event may take: about a second's.
pub const EVALUATIONS_MAX: u64 = 5_000_000;

/// Levels of data, the outermost among them.
const LEVELS: usize = JSON_MAX_DEPTH + 1;

/// What a schema costs.
#[derive(Clone, Debug)]
pub(super) struct Effort {
    /// At most so many evaluations for a value at each level, the outermost first.
    levels: Vec<u64>,
    /// The longest chain of schemas about one value.
    pub(super) nesting: u64,
}

impl Effort {
    /// Whether the data may be too much for the schema.
    pub(super) fn is_too_much_for(&self, data: &Value) -> bool {
        let mut evaluations = 0_u64;
        let mut level: Vec<&Value> = vec![data];
        for judges in &self.levels {
            evaluations = evaluations.saturating_add(judges.saturating_mul(level.len() as u64));
            if evaluations > EVALUATIONS_MAX {
                return true;
            }
            level = level.into_iter().flat_map(children).collect();
            if level.is_empty() {
                break;
            }
        }
        false
    }
}

fn children(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(members) => Box::new(members.values()),
        _ => Box::new(std::iter::empty()),
    }
}

/// Why a schema is not reckoned, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// It refers to itself about one and the same value.
    Circle(String),
    Judges(String),
    Nesting(String),
}

/// A schema by its pointer, with those that it leads to, by their places in the list.
struct Node {
    pointer: String,
    /// With how often each is evaluated.
    same: Vec<(usize, u64)>,
    inner: Vec<(Place, usize)>,
}

/// Reckons the first of these schemas, which are all that there are in the document. `target` gives
/// the pointer that a reference means.
pub(super) fn reckon(
    schemas: &[(String, &Value)],
    target: &dyn Fn(&str) -> Option<String>,
) -> Result<Effort, Excess> {
    let index: HashMap<&str, usize> = schemas
        .iter()
        .enumerate()
        .map(|(place, (pointer, _))| (pointer.as_str(), place))
        .collect();
    let nodes: Vec<Node> = schemas
        .iter()
        .map(|(pointer, schema)| node(pointer, schema, &index, target))
        .collect();
    let order = inner_first(&nodes)?;

    let mut nesting = vec![1_u64; nodes.len()];
    for &place in &order {
        let longest = nodes[place].same.iter().map(|(other, _)| nesting[*other]).max();
        nesting[place] += longest.unwrap_or(0);
        if nesting[place] > NESTING_MAX {
            return Err(Excess::Nesting(nodes[place].pointer.clone()));
        }
    }
    let mut level = vec![1_u64; nodes.len()];
    for &place in &order {
        level[place] = level[place].saturating_add(sum(&nodes[place], &level));
        if level[place] > JUDGES_MAX {
            return Err(Excess::Judges(nodes[place].pointer.clone()));
        }
    }
    let mut levels = vec![level[0]];
    while levels.len() < LEVELS {
        let mut next = vec![0_u64; nodes.len()];
        for &place in &order {
            next[place] = at_most(&nodes[place], &level).saturating_add(sum(&nodes[place], &next));
        }
        level = next;
        levels.push(level[0]);
    }
    Ok(Effort {
        levels,
        nesting: nesting.into_iter().max().unwrap_or(1),
    })
}

fn node(
    pointer: &str,
    schema: &Value,
    index: &HashMap<&str, usize>,
    target: &dyn Fn(&str) -> Option<String>,
) -> Node {
    let mut node = Node {
        pointer: pointer.to_owned(),
        same: Vec::new(),
        inner: Vec::new(),
    };
    let Some(schema) = schema.as_object() else {
        return node;
    };
    // To know what is left unevaluated, every branch is evaluated once more.
    let times = if schema.contains_key("unevaluatedProperties") || schema.contains_key("unevaluatedItems") {
        2
    } else {
        1
    };
    for (pointer, place, _) in subschemas(schema, pointer) {
        let Some(&other) = index.get(pointer.as_str()) else {
            continue;
        };
        match place {
            Place::Same => node.same.push((other, times)),
            Place::Apart => {}
            _ => node.inner.push((place, other)),
        }
    }
    let reference = schema.get("$ref").and_then(Value::as_str).and_then(target);
    if let Some(&other) = reference.and_then(|pointer| index.get(pointer.as_str())) {
        node.same.push((other, times));
    }
    node
}

/// How often the schemas about the same value are evaluated together.
fn sum(node: &Node, level: &[u64]) -> u64 {
    let each = node
        .same
        .iter()
        .map(|(other, times)| level[*other].saturating_mul(*times));
    each.fold(0, u64::saturating_add)
}

/// How often one member or item can be judged at most.
fn at_most(node: &Node, level: &[u64]) -> u64 {
    let judges = |wanted: [Place; 2]| {
        let inner = node.inner.iter().filter(move |(place, _)| wanted.contains(place));
        inner.map(|(_, other)| level[*other])
    };
    let together = |alternatives: [Place; 2], others: Place| {
        let most = judges(alternatives).max().unwrap_or(0);
        judges([others; 2]).fold(most, u64::saturating_add)
    };
    let members = together([Place::Member, Place::OtherMembers], Place::Members);
    members.max(together([Place::Item, Place::OtherItems], Place::Items))
}

/// The schemas in an order in which each comes after those that judge the same value within it.
fn inner_first(nodes: &[Node]) -> Result<Vec<usize>, Excess> {
    #[derive(Clone, Copy, PartialEq)]
    enum Visit {
        Not,
        Open,
        Done,
    }
    let mut visits = vec![Visit::Not; nodes.len()];
    let mut order = Vec::with_capacity(nodes.len());
    for start in 0..nodes.len() {
        let mut path = vec![(start, 0)];
        while let Some((place, next)) = path.pop() {
            if next == 0 {
                match visits[place] {
                    Visit::Done => continue,
                    Visit::Open => return Err(Excess::Circle(nodes[place].pointer.clone())),
                    Visit::Not => visits[place] = Visit::Open,
                }
            }
            match nodes[place].same.get(next) {
                Some((other, _)) => {
                    path.push((place, next + 1));
                    path.push((*other, 0));
                }
                None => {
                    visits[place] = Visit::Done;
                    order.push(place);
                }
            }
        }
    }
    Ok(order)
}
