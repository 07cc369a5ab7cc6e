//! The values that mappings work on: JSON, with numbers that keep their digits until they are
//! reckoned with. Every array and object knows how much a walk through it costs and how deep it is,
//! so that sharing cannot hide an explosion, and whatever is made is paid for.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use super::meter::{self, Exhausted};

/// How deep values may nest while a mapping works on them.
pub(super) const VALUE_MAX_DEPTH: u32 = 128;
/// A literal with more characters than this is read as floating-point.
const LITERAL_MAX_BYTES: usize = 100;

#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(Rc<String>),
    Array(Rc<Node<Vec<Value>>>),
    Object(Rc<Node<Members>>),
}

pub(super) type Members = BTreeMap<Rc<str>, Value>;

#[derive(Clone, Debug)]
pub(super) enum Number {
    Integer(i64),
    Float(f64),
    /// As it was written, because neither of the others holds it exactly.
    Literal(Rc<str>),
}

/// An array's items or an object's members with what is known about them.
#[derive(Clone, Debug)]
pub(super) struct Node<C> {
    children: C,
    weight: u64,
    depth: u32,
}

impl<C> Node<C> {
    pub(super) fn children(&self) -> &C {
        &self.children
    }
}

/// What a container holds, by position or by key.
pub(super) trait Children: Clone {
    fn values(&self) -> impl Iterator<Item = &Value>;
    fn count(&self) -> usize;
}

impl Children for Vec<Value> {
    fn values(&self) -> impl Iterator<Item = &Value> {
        self.iter()
    }

    fn count(&self) -> usize {
        self.len()
    }
}

impl Children for Members {
    fn values(&self) -> impl Iterator<Item = &Value> {
        BTreeMap::values(self)
    }

    fn count(&self) -> usize {
        self.len()
    }
}

impl<C: Children> Node<C> {
    /// Takes the children in, counting them: the cost is their number.
    pub(super) fn new(children: C) -> Rc<Self> {
        let mut node = Node {
            children,
            weight: 0,
            depth: 0,
        };
        node.measure();
        Rc::new(node)
    }

    fn measure(&mut self) {
        meter::charge(1 + self.children.count() as u64);
        let mut weight = 1_u64;
        let mut depth = 0;
        for child in self.children.values() {
            weight = weight.saturating_add(child.weight());
            depth = depth.max(child.depth());
        }
        self.weight = weight;
        self.set_depth(depth + 1);
    }

    fn set_depth(&mut self, depth: u32) {
        self.depth = depth;
        if depth > VALUE_MAX_DEPTH {
            meter::exhausted(Exhausted::Depth);
        }
    }

    /// Changes the children in place; a shared node is copied first, which costs their number.
    /// The change must be followed by [`Node::replaced`] or [`Node::added`] for each child it
    /// touched.
    pub(super) fn edit(node: &mut Rc<Self>) -> &mut Self {
        if Rc::strong_count(node) > 1 {
            meter::charge(1 + node.children.count() as u64);
        }
        Rc::make_mut(node)
    }

    pub(super) fn children_mut(&mut self) -> &mut C {
        &mut self.children
    }

    /// Notes that a child of the given measures was added.
    pub(super) fn added(&mut self, child: Measures) {
        self.weight = self.weight.saturating_add(child.weight);
        self.set_depth(self.depth.max(child.depth + 1));
    }

    /// Notes that a child was replaced, or removed if there is no `new` one.
    pub(super) fn replaced(&mut self, old: Measures, new: Option<Measures>) {
        let new_depth = new.map_or(0, |new| new.depth);
        if old.depth > new_depth && old.depth + 1 == self.depth {
            self.measure();
        } else {
            self.weight = self.weight.saturating_sub(old.weight);
            self.added(new.unwrap_or(Measures { weight: 0, depth: 0 }));
        }
    }

    /// The children, copied if the node is shared.
    pub(super) fn into_children(node: Rc<Self>) -> C {
        meter::charge(1 + node.children.count() as u64);
        Rc::try_unwrap(node).map_or_else(|shared| shared.children.clone(), |own| own.children)
    }
}

/// What a value costs to walk through, and how deep it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measures {
    weight: u64,
    depth: u32,
}

impl Value {
    pub(super) fn text(text: impl Into<String>) -> Value {
        let text = text.into();
        meter::charge_bytes(text.len());
        Value::Text(Rc::new(text))
    }

    pub(super) fn array(items: Vec<Value>) -> Value {
        Value::Array(Node::new(items))
    }

    pub(super) fn object(members: Members) -> Value {
        Value::Object(Node::new(members))
    }

    /// What it costs to walk through the value: one for each value in it, and one for each 16
    /// bytes of text.
    pub(super) fn weight(&self) -> u64 {
        match self {
            Value::Text(text) => 1 + text.len() as u64 / 16,
            Value::Array(node) => node.weight,
            Value::Object(node) => node.weight,
            _ => 1,
        }
    }

    pub(super) fn depth(&self) -> u32 {
        match self {
            Value::Array(node) => node.depth,
            Value::Object(node) => node.depth,
            _ => 0,
        }
    }

    pub(super) fn measures(&self) -> Measures {
        Measures {
            weight: self.weight(),
            depth: self.depth(),
        }
    }

    /// The value's kind with its article, to be named in messages in place of the value.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Value::Null => 0,
            Value::Bool(_) => 1,
            Value::Number(_) => 2,
            Value::Text(_) => 3,
            Value::Array(_) => 4,
            Value::Object(_) => 5,
        }
    }
}

impl Number {
    /// Reads a JSON number.
    pub(super) fn from_literal(literal: &str) -> Number {
        if let Ok(integer) = literal.parse() {
            Number::Integer(integer)
        } else if literal.len() <= LITERAL_MAX_BYTES {
            Number::Literal(literal.into())
        } else {
            Number::Float(literal.parse().unwrap_or(f64::NAN))
        }
    }

    pub(super) fn as_f64(&self) -> f64 {
        match self {
            Number::Integer(integer) => *integer as f64,
            Number::Float(float) => *float,
            Number::Literal(literal) => literal.parse().unwrap_or(f64::NAN),
        }
    }

    pub(super) fn as_integer(&self) -> Option<i64> {
        match self {
            Number::Integer(integer) => Some(*integer),
            _ => None,
        }
    }
}

/// Names the kind, never the content: errors are built from this, and content may be personal.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

/// jq's order: null, false, true, numbers, strings, arrays, objects. A comparison of two containers
/// costs what a walk through the lighter one costs.
impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
            (Value::Number(left), Value::Number(right)) => left.cmp(right),
            (Value::Text(left), Value::Text(right)) => {
                meter::charge_bytes(left.len().min(right.len()));
                left.cmp(right)
            }
            (Value::Array(left), Value::Array(right)) => {
                meter::charge(1);
                left.children.cmp(&right.children)
            }
            (Value::Object(left), Value::Object(right)) => {
                meter::charge(1 + left.children.len().min(right.children.len()) as u64);
                let keys = left.children.keys().cmp(right.children.keys());
                keys.then_with(|| left.children.values().cmp(right.children.values()))
            }
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

/// As [`Ord`], but not-a-number is less than itself: that is how jq's library tells it.
#[allow(clippy::non_canonical_partial_ord_impl)]
impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Value::Number(left), Value::Number(right)) if left.is_nan() && right.is_nan() => {
                Some(Ordering::Less)
            }
            _ => Some(self.cmp(other)),
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl Eq for Value {}

/// A total order by exact value, with not-a-number below every other number.
impl Number {
    fn cmp(&self, other: &Self) -> Ordering {
        meter::charge(1);
        match (self, other) {
            (Number::Integer(left), Number::Integer(right)) => left.cmp(right),
            (Number::Integer(left), right) => compare_exactly(*left, right.as_f64()),
            (left, Number::Integer(right)) => compare_exactly(*right, left.as_f64()).reverse(),
            (left, right) => {
                let (left, right) = (left.as_f64(), right.as_f64());
                let by_nan = right.is_nan().cmp(&left.is_nan());
                left.partial_cmp(&right).unwrap_or(by_nan)
            }
        }
    }

    fn is_nan(&self) -> bool {
        !matches!(self, Number::Integer(_)) && self.as_f64().is_nan()
    }
}

/// Compares without rounding the whole number to a floating-point one.
fn compare_exactly(whole: i64, float: f64) -> Ordering {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if float.is_nan() || float < -BEYOND {
        Ordering::Greater
    } else if float >= BEYOND {
        Ordering::Less
    } else {
        let by_whole = whole.cmp(&(float.trunc() as i64));
        by_whole.then_with(|| 0.0_f64.partial_cmp(&float.fract()).unwrap_or(Ordering::Equal))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Number(Number::Integer(value))
    }
}

impl From<isize> for Value {
    fn from(value: isize) -> Self {
        Value::from(value as i64)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        i64::try_from(value).map_or_else(|_| Value::from(value as f64), Value::from)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Number(Number::Float(value))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::text(value)
    }
}

impl FromIterator<Value> for Value {
    fn from_iter<I: IntoIterator<Item = Value>>(items: I) -> Self {
        let items = items.into_iter().inspect(|_| meter::charge(1)).collect();
        Value::array(items)
    }
}
