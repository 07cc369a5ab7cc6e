//! What `+ - * / %` do to values. Whole numbers stay whole where the result is; past 64 bits they
//! become floating-point. What grows is charged by what it adds.

use std::ops::{Add, Div, Mul, Neg, Rem, Sub};
use std::rc::Rc;

use jaq_core::ops::Math;
use jaq_core::{Error, ValR};

use super::meter;
use super::value::{Members, Node, Number, Value};

type Outcome = ValR<Value>;

fn undefined(left: Value, operation: Math, right: Value) -> Outcome {
    Err(Error::math(left, operation, right))
}

/// Reckons with whole numbers if it can, else with floating-point ones.
fn reckon(
    left: &Number,
    right: &Number,
    whole: fn(i64, i64) -> Option<i64>,
    float: fn(f64, f64) -> f64,
) -> Outcome {
    let exact = left
        .as_integer()
        .zip(right.as_integer())
        .and_then(|(left, right)| whole(left, right));
    Ok(exact.map_or_else(|| Value::from(float(left.as_f64(), right.as_f64())), Value::from))
}

impl Add for Value {
    type Output = Outcome;

    fn add(self, other: Self) -> Outcome {
        meter::charge(1);
        match (self, other) {
            (Value::Null, value) | (value, Value::Null) => Ok(value),
            (Value::Number(left), Value::Number(right)) => {
                reckon(&left, &right, i64::checked_add, |a, b| a + b)
            }
            (Value::Text(left), Value::Text(right)) => Ok(concatenate(left, &right)),
            (Value::Array(mut left), Value::Array(right)) => {
                let right = Node::into_children(right);
                let node = Node::edit(&mut left);
                for item in right {
                    let measures = item.measures();
                    node.children_mut().push(item);
                    node.added(measures);
                }
                Ok(Value::Array(left))
            }
            (Value::Object(left), Value::Object(right)) => Ok(merge(left, right)),
            (left, right) => undefined(left, Math::Add, right),
        }
    }
}

/// Appends in place if nobody else holds the left text.
fn concatenate(mut left: Rc<String>, right: &str) -> Value {
    meter::charge_bytes(right.len());
    if Rc::strong_count(&left) > 1 || left.capacity() < left.len() + right.len() {
        meter::charge_bytes(left.len() / 8);
    }
    if let Some(own) = Rc::get_mut(&mut left) {
        own.push_str(right);
        return Value::Text(left);
    }
    meter::charge_bytes(left.len());
    Value::Text(Rc::new([left.as_str(), right].concat()))
}

/// Both objects' members, the right one's where both have the key. The smaller one is added to the
/// larger one, whichever side it stands on.
fn merge(mut left: Rc<Node<Members>>, mut right: Rc<Node<Members>>) -> Value {
    if left.children().len() >= right.children().len() {
        let node = Node::edit(&mut left);
        for (key, value) in Node::into_children(right) {
            set_member(node, key, value);
        }
        Value::Object(left)
    } else {
        let node = Node::edit(&mut right);
        for (key, value) in Node::into_children(left) {
            if !node.children().contains_key(&key) {
                set_member(node, key, value);
            }
        }
        Value::Object(right)
    }
}

fn set_member(node: &mut Node<Members>, key: Rc<str>, value: Value) {
    let measures = value.measures();
    match node.children_mut().insert(key, value) {
        Some(old) => node.replaced(old.measures(), Some(measures)),
        None => node.added(measures),
    }
}

/// Like [`merge`], but objects under the same key are merged in turn.
fn merge_deep(mut left: Rc<Node<Members>>, right: Rc<Node<Members>>) -> Value {
    let node = Node::edit(&mut left);
    for (key, value) in Node::into_children(right) {
        let old = node.children().get(&key).cloned();
        let merged = match (old, value) {
            (Some(Value::Object(old)), Value::Object(new)) => merge_deep(old, new),
            (_, value) => value,
        };
        set_member(node, key, merged);
    }
    Value::Object(left)
}

impl Sub for Value {
    type Output = Outcome;

    fn sub(self, other: Self) -> Outcome {
        meter::charge(1);
        match (self, other) {
            (Value::Number(left), Value::Number(right)) => {
                reckon(&left, &right, i64::checked_sub, |a, b| a - b)
            }
            (Value::Array(left), Value::Array(right)) => {
                let mut unwanted = Node::into_children(right);
                unwanted.sort();
                let left = Node::into_children(left).into_iter();
                Ok(left
                    .filter(|item| unwanted.binary_search(item).is_err())
                    .collect())
            }
            (left, right) => undefined(left, Math::Sub, right),
        }
    }
}

impl Mul for Value {
    type Output = Outcome;

    fn mul(self, other: Self) -> Outcome {
        meter::charge(1);
        match (self, other) {
            (Value::Number(left), Value::Number(right)) => {
                reckon(&left, &right, i64::checked_mul, |a, b| a * b)
            }
            (Value::Text(text), Value::Number(times)) | (Value::Number(times), Value::Text(text)) => {
                Ok(repeat(&text, &times))
            }
            (Value::Object(left), Value::Object(right)) => Ok(merge_deep(left, right)),
            (left, right) => undefined(left, Math::Mul, right),
        }
    }
}

fn repeat(text: &str, times: &Number) -> Value {
    let times = times.as_f64();
    if times.is_nan() || times <= 0.0 {
        return Value::Null;
    }
    let times = times as usize;
    meter::charge_bytes(text.len().max(1).saturating_mul(times));
    Value::Text(Rc::new(text.repeat(times)))
}

impl Div for Value {
    type Output = Outcome;

    fn div(self, other: Self) -> Outcome {
        meter::charge(1);
        match (self, other) {
            (Value::Number(left), Value::Number(right)) => {
                reckon(&left, &right, whole_quotient, |a, b| a / b)
            }
            (Value::Text(left), Value::Text(right)) => {
                meter::charge_bytes(left.len());
                Ok(split(&left, &right))
            }
            (left, right) => undefined(left, Math::Div, right),
        }
    }
}

fn whole_quotient(left: i64, right: i64) -> Option<i64> {
    (left.checked_rem(right)? == 0).then(|| left / right)
}

fn split(text: &str, separator: &str) -> Value {
    if text.is_empty() {
        Value::array(Vec::new())
    } else if separator.is_empty() {
        text.chars().map(Value::text).collect()
    } else {
        text.split(separator).map(Value::text).collect()
    }
}

impl Rem for Value {
    type Output = Outcome;

    fn rem(self, other: Self) -> Outcome {
        meter::charge(1);
        match (self, other) {
            (Value::Number(left), Value::Number(right)) if right.as_f64() != 0.0 => reckon(
                &left,
                &right,
                |a, b| Some(a.checked_rem(b).unwrap_or(0)),
                |a, b| a % b,
            ),
            (left, right) => undefined(left, Math::Rem, right),
        }
    }
}

impl Neg for Value {
    type Output = Outcome;

    fn neg(self) -> Outcome {
        meter::charge(1);
        match self {
            Value::Number(Number::Integer(integer)) => Ok(integer
                .checked_neg()
                .map_or_else(|| Value::from(-(integer as f64)), Value::from)),
            Value::Number(Number::Literal(literal)) => Ok(Value::Number(Number::from_literal(
                &literal
                    .strip_prefix('-')
                    .map_or_else(|| format!("-{literal}"), str::to_owned),
            ))),
            Value::Number(Number::Float(float)) => Ok(Value::from(-float)),
            other => Err(Error::typ(other, "number")),
        }
    }
}
