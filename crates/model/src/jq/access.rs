//! How jaq reads and changes values: by key, by position, by slice, one after the other.

use std::rc::Rc;

use jaq_core::path::Opt;
use jaq_core::val::Range;
use jaq_core::{Error, Exn, ValR, ValX};

use super::meter;
use super::value::{Members, Node, Number, Value};

/// What it costs to step to one child: in a descent, it passes through every level above.
const STEP_WORK: u64 = 10;

type Items<T> = Box<dyn Iterator<Item = ValR<T, Value>>>;

fn each<T: 'static>(items: impl Iterator<Item = T> + 'static) -> Items<T> {
    Box::new(items.map(Ok))
}

fn not_iterable<T: 'static>(value: Value) -> Items<T> {
    Box::new(std::iter::once(Err(Error::typ(
        value,
        "iterable (array or object)",
    ))))
}

impl jaq_core::ValT for Value {
    fn from_num(literal: &str) -> ValR<Self> {
        Ok(Value::Number(Number::from_literal(literal)))
    }

    fn from_map<I: IntoIterator<Item = (Self, Self)>>(members: I) -> ValR<Self> {
        let members: Result<Members, _> = members
            .into_iter()
            .map(|(key, value)| match key {
                Value::Text(key) => {
                    meter::charge_bytes(key.len());
                    Ok((Rc::from(key.as_str()), value))
                }
                other => Err(Error::typ(other, "object key, which must be a string")),
            })
            .collect();
        members.map(Value::object)
    }

    fn key_values(self) -> Items<(Self, Self)> {
        meter::check_stack();
        meter::charge(STEP_WORK * self.child_count());
        match self {
            Value::Array(node) => {
                let items = Node::into_children(node).into_iter().enumerate();
                each(items.map(|(index, item)| (Value::from(index), item)))
            }
            Value::Object(node) => {
                let members = Node::into_children(node).into_iter();
                each(members.map(|(key, value)| (Value::text(&*key), value)))
            }
            other => not_iterable(other),
        }
    }

    fn values(self) -> Items<Self> {
        meter::check_stack();
        meter::charge(STEP_WORK * self.child_count());
        match self {
            Value::Array(node) => each(Node::into_children(node).into_iter()),
            Value::Object(node) => each(Node::into_children(node).into_values()),
            other => not_iterable(other),
        }
    }

    fn index(self, index: &Self) -> ValR<Self> {
        meter::check_stack();
        Ok(self.lookup(index)?.unwrap_or(Value::Null))
    }

    fn range(self, range: Range<&Self>) -> ValR<Self> {
        meter::check_stack();
        match self {
            Value::Null => Ok(Value::Null),
            Value::Array(node) => {
                let (start, end) = bounds(range, node.children().len())?;
                Ok(node.children()[start..end].iter().cloned().collect())
            }
            Value::Text(text) => {
                meter::charge_bytes(text.len());
                let (start, end) = bounds(range, text.chars().count())?;
                Ok(Value::text(
                    text.chars().skip(start).take(end - start).collect::<String>(),
                ))
            }
            other => Err(Error::typ(other, "rangeable (array or string)")),
        }
    }

    fn map_values<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        meter::check_stack();
        match self {
            Value::Array(node) => Node::into_children(node).into_iter().flat_map(f).collect(),
            Value::Object(node) => {
                let members = Node::into_children(node).into_iter();
                let changed =
                    members.filter_map(|(key, value)| Some(f(value).next()?.map(|value| (key, value))));
                Ok(Value::object(changed.collect::<Result<_, _>>()?))
            }
            other => opt.fail(other, |value| {
                Error::typ(value, "iterable (array or object)").into()
            }),
        }
    }

    fn map_index<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        index: &Self,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        meter::check_stack();
        match (self, index) {
            (Value::Object(mut node), Value::Text(key)) => {
                update_member(Node::edit(&mut node), key, f)?;
                Ok(Value::Object(node))
            }
            (Value::Null, Value::Text(key)) => {
                let mut node = Node::new(Members::new());
                update_member(Node::edit(&mut node), key, f)?;
                Ok(Value::Object(node))
            }
            (Value::Array(mut node), Value::Number(position)) => {
                let Some(position) = absolute(position, node.children().len()) else {
                    let out_of_bounds = || Exn::from(Error::str("index out of bounds"));
                    return opt.fail(Value::Array(node), |_| out_of_bounds());
                };
                update_item(Node::edit(&mut node), position, f)?;
                Ok(Value::Array(node))
            }
            (value, index) => opt.fail(value, |value| Error::index(value, index.clone()).into()),
        }
    }

    fn map_range<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        range: Range<&Self>,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        meter::check_stack();
        let Value::Array(node) = self else {
            return opt.fail(self, |value| Error::typ(value, "array").into());
        };
        let (start, end) = match bounds(range, node.children().len()) {
            Ok(bounds) => bounds,
            Err(error) => return opt.fail(Value::Array(node), |_| error.into()),
        };
        let mut items = Node::into_children(node);
        let slice = items[start..end].iter().cloned().collect();
        let replacement = match f(slice).next().transpose()? {
            None => Vec::new(),
            Some(Value::Array(node)) => Node::into_children(node),
            Some(other) => return Err(Error::typ(other, "array").into()),
        };
        items.splice(start..end, replacement);
        Ok(Value::array(items))
    }

    fn as_bool(&self) -> bool {
        !matches!(self, Value::Null | Value::Bool(false))
    }

    fn into_string(self) -> Self {
        match self {
            Value::Text(_) => self,
            other => Value::text(other.to_json()),
        }
    }
}

fn update_member<'a, I: Iterator<Item = ValX<'a, Value>>>(
    node: &mut Node<Members>,
    key: &str,
    f: impl Fn(Value) -> I,
) -> Result<(), Exn<'a, Value>> {
    let old = node
        .children_mut()
        .get_mut(key)
        .map(|value| std::mem::replace(value, Value::Null));
    let measures = old.as_ref().map(Value::measures);
    let new = f(old.unwrap_or(Value::Null)).next().transpose()?;
    let new_measures = new.as_ref().map(Value::measures);
    match new {
        Some(value) => {
            meter::charge_bytes(key.len());
            node.children_mut().insert(Rc::from(key), value);
        }
        None => {
            node.children_mut().remove(key);
        }
    }
    match (measures, new_measures) {
        (Some(old), new) => node.replaced(old, new),
        (None, Some(new)) => node.added(new),
        (None, None) => {}
    }
    Ok(())
}

fn update_item<'a, I: Iterator<Item = ValX<'a, Value>>>(
    node: &mut Node<Vec<Value>>,
    position: usize,
    f: impl Fn(Value) -> I,
) -> Result<(), Exn<'a, Value>> {
    let old = std::mem::replace(&mut node.children_mut()[position], Value::Null);
    let measures = old.measures();
    let new = f(old).next().transpose()?;
    let new_measures = new.as_ref().map(Value::measures);
    match new {
        Some(value) => node.children_mut()[position] = value,
        None => {
            meter::charge(node.children().len() as u64);
            node.children_mut().remove(position);
        }
    }
    node.replaced(measures, new_measures);
    Ok(())
}

impl Value {
    fn child_count(&self) -> u64 {
        match self {
            Value::Array(node) => node.children().len() as u64,
            Value::Object(node) => node.children().len() as u64,
            _ => 0,
        }
    }

    /// The child at `index`, if there is one.
    pub(super) fn lookup(self, index: &Value) -> ValR<Option<Value>, Value> {
        match (self, index) {
            (Value::Null, _) => Ok(None),
            (Value::Object(node), Value::Text(key)) => Ok(node.children().get(key.as_str()).cloned()),
            (Value::Array(node), Value::Number(position)) => {
                let position = absolute(position, node.children().len());
                Ok(position.map(|position| node.children()[position].clone()))
            }
            (value @ Value::Array(_), Value::Array(_)) => value.positions_of(index).map(Some),
            (value, index) => Err(Error::index(value, index.clone())),
        }
    }
}

/// A position counted from the start, or from the end if it is negative, if there is an item there.
fn absolute(position: &Number, length: usize) -> Option<usize> {
    let position = offset(position, length)?;
    usize::try_from(position)
        .ok()
        .filter(|position| *position < length)
}

fn offset(position: &Number, length: usize) -> Option<i64> {
    let position = position.as_f64().floor();
    let from_start = if position < 0.0 {
        position + length as f64
    } else {
        position
    };
    (!from_start.is_nan()).then_some(from_start as i64)
}

/// The start and end of a slice of something `length` long.
fn bounds(range: Range<&Value>, length: usize) -> ValR<(usize, usize), Value> {
    let bound = |value: Option<&Value>, default: usize| match value {
        None | Some(Value::Null) => Ok(default),
        Some(Value::Number(position)) => {
            let position = offset(position, length).unwrap_or_default().max(0);
            Ok(usize::try_from(position).unwrap_or(length).min(length))
        }
        Some(other) => Err(Error::typ(other.clone(), "number")),
    };
    let start = bound(range.start, 0)?;
    let end = bound(range.end, length)?;
    Ok((start, end.max(start)))
}

/// A slice as a path names it: `{"start": …, "end": …}`.
impl From<Range<Value>> for Value {
    fn from(range: Range<Value>) -> Self {
        let bound = |value: Option<Value>| value.unwrap_or(Value::Null);
        Value::object(Members::from([
            ("start".into(), bound(range.start)),
            ("end".into(), bound(range.end)),
        ]))
    }
}

impl jaq_std::ValT for Value {
    fn into_seq<S: FromIterator<Self>>(self) -> Result<S, Self> {
        match self {
            Value::Array(node) => Ok(Node::into_children(node).into_iter().collect()),
            other => Err(other),
        }
    }

    fn is_int(&self) -> bool {
        matches!(self, Value::Number(Number::Integer(_)))
    }

    fn as_isize(&self) -> Option<isize> {
        match self {
            Value::Number(number) => isize::try_from(number.as_integer()?).ok(),
            _ => None,
        }
    }

    fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Number(number) => Some(number.as_f64()),
            _ => None,
        }
    }

    fn is_utf8_str(&self) -> bool {
        matches!(self, Value::Text(_))
    }

    fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Text(text) => {
                meter::charge_bytes(text.len());
                Some(text.as_bytes())
            }
            _ => None,
        }
    }

    fn as_sub_str(&self, part: &[u8]) -> Self {
        Value::text(String::from_utf8_lossy(part))
    }

    fn from_utf8_bytes(bytes: impl AsRef<[u8]> + Send + 'static) -> Self {
        Value::text(String::from_utf8_lossy(bytes.as_ref()))
    }
}
