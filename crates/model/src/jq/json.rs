//! JSON in and out of mapping values. Numbers are kept as they were written, which the usual
//! parsers, going through 64-bit floating-point, would not do.

use std::fmt::Write as _;
use std::rc::Rc;

use super::meter;
use super::value::{Members, Number, VALUE_MAX_DEPTH, Value};

/// The text is not JSON; `offset` is the byte where that shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotJson {
    pub(super) offset: usize,
}

impl Value {
    /// Reads one JSON value. Of a key that stands twice the last one counts.
    pub(super) fn from_json(text: &str) -> Result<Value, NotJson> {
        meter::charge_bytes(text.len());
        let mut reader = Reader { text, offset: 0 };
        let value = reader.value(0)?;
        reader.skip_space();
        if reader.offset == text.len() {
            Ok(value)
        } else {
            Err(reader.fail())
        }
    }

    pub(super) fn from_parsed(value: &serde_json::Value) -> Value {
        meter::check_stack();
        match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(value) => Value::Bool(*value),
            serde_json::Value::Number(number) => Value::Number(Number::from_literal(&number.to_string())),
            serde_json::Value::String(text) => Value::text(text.as_str()),
            serde_json::Value::Array(items) => Value::array(items.iter().map(Value::from_parsed).collect()),
            serde_json::Value::Object(members) => Value::object(
                members
                    .iter()
                    .map(|(key, value)| (Rc::from(key.as_str()), Value::from_parsed(value)))
                    .collect(),
            ),
        }
    }

    /// Writes the value without spaces. What JSON has no number for becomes null.
    pub(super) fn to_json(&self) -> String {
        meter::charge(self.weight());
        let mut text = String::new();
        self.write_json(&mut text);
        text
    }

    fn write_json(&self, out: &mut String) {
        match self {
            Value::Null => out.push_str("null"),
            Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Value::Number(number) => number.write_json(out),
            Value::Text(text) => write_text(text, out),
            Value::Array(node) => {
                out.push('[');
                for (index, item) in node.children().iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write_json(out);
                }
                out.push(']');
            }
            Value::Object(node) => {
                out.push('{');
                for (index, (key, value)) in node.children().iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_text(key, out);
                    out.push(':');
                    value.write_json(out);
                }
                out.push('}');
            }
        }
    }
}

fn write_text(text: &str, out: &mut String) {
    let quoted = serde_json::to_string(text).expect("a string can always be written as JSON");
    out.push_str(&quoted);
}

/// Up to here every whole number is a floating-point number of its own.
const EXACT_FLOAT_MAX: f64 = 9_007_199_254_740_992.0;

impl Number {
    pub(super) fn write_json(&self, out: &mut String) {
        let written = match self {
            Number::Integer(integer) => write!(out, "{integer}"),
            Number::Literal(literal) => write!(out, "{literal}"),
            Number::Float(float) if !float.is_finite() => write!(out, "null"),
            Number::Float(float) if float.fract() == 0.0 && float.abs() <= EXACT_FLOAT_MAX => {
                write!(out, "{}", *float as i64)
            }
            Number::Float(float) => write!(out, "{}", serde_json::Value::from(*float)),
        };
        written.expect("a String takes whatever is written to it");
    }
}

/// A recursive descent over RFC 8259.
struct Reader<'a> {
    text: &'a str,
    offset: usize,
}

impl<'a> Reader<'a> {
    fn fail(&self) -> NotJson {
        NotJson { offset: self.offset }
    }

    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.offset..]
    }

    fn skip_space(&mut self) {
        let space = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        self.offset += self.rest().iter().take_while(space).count();
    }

    /// The next byte that is not a space, without taking it.
    fn peek(&mut self) -> Result<u8, NotJson> {
        self.skip_space();
        self.rest().first().copied().ok_or_else(|| self.fail())
    }

    fn take(&mut self, expected: &str) -> Result<(), NotJson> {
        if self.rest().starts_with(expected.as_bytes()) {
            self.offset += expected.len();
            Ok(())
        } else {
            Err(self.fail())
        }
    }

    fn value(&mut self, depth: u32) -> Result<Value, NotJson> {
        if depth > VALUE_MAX_DEPTH {
            return Err(self.fail());
        }
        match self.peek()? {
            b'n' => self.take("null").map(|()| Value::Null),
            b't' => self.take("true").map(|()| Value::Bool(true)),
            b'f' => self.take("false").map(|()| Value::Bool(false)),
            b'"' => self.string().map(Value::text),
            b'[' => self.array(depth),
            b'{' => self.object(depth),
            _ => self.number(),
        }
    }

    /// Takes what stands between `open` and `close`, separated by commas.
    fn list(
        &mut self,
        open: &str,
        close: u8,
        mut item: impl FnMut(&mut Self) -> Result<(), NotJson>,
    ) -> Result<(), NotJson> {
        self.take(open)?;
        if self.peek()? == close {
            self.offset += 1;
            return Ok(());
        }
        loop {
            item(self)?;
            match self.peek()? {
                b',' => self.offset += 1,
                byte if byte == close => {
                    self.offset += 1;
                    return Ok(());
                }
                _ => return Err(self.fail()),
            }
        }
    }

    fn array(&mut self, depth: u32) -> Result<Value, NotJson> {
        let mut items = Vec::new();
        self.list("[", b']', |reader| {
            items.push(reader.value(depth + 1)?);
            Ok(())
        })?;
        Ok(Value::array(items))
    }

    fn object(&mut self, depth: u32) -> Result<Value, NotJson> {
        let mut members = Members::new();
        self.list("{", b'}', |reader| {
            reader.peek()?;
            let key = reader.string()?;
            reader.peek()?;
            reader.take(":")?;
            members.insert(key.into(), reader.value(depth + 1)?);
            Ok(())
        })?;
        Ok(Value::object(members))
    }

    fn string(&mut self) -> Result<String, NotJson> {
        let rest = self.rest();
        if rest.first() != Some(&b'"') {
            return Err(self.fail());
        }
        let mut escaped = false;
        let end = rest.iter().skip(1).position(|byte| match byte {
            _ if escaped => {
                escaped = false;
                false
            }
            b'\\' => {
                escaped = true;
                false
            }
            byte => *byte == b'"',
        });
        let end = end.ok_or_else(|| self.fail())? + 2;
        let text = serde_json::from_slice(&rest[..end]).map_err(|_| self.fail())?;
        self.offset += end;
        Ok(text)
    }

    fn number(&mut self) -> Result<Value, NotJson> {
        let in_number = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        let length = self.rest().iter().take_while(in_number).count();
        let literal = &self.text[self.offset..self.offset + length];
        if !is_number(literal) {
            return Err(self.fail());
        }
        self.offset += length;
        Ok(Value::Number(Number::from_literal(literal)))
    }
}

/// RFC 8259, section 6.
pub(super) fn is_number(literal: &str) -> bool {
    let unsigned = literal.strip_prefix('-').unwrap_or(literal);
    let (mantissa, exponent) = unsigned
        .split_once(['e', 'E'])
        .map_or((unsigned, None), |(m, e)| (m, Some(e)));
    let (whole, fraction) = mantissa
        .split_once('.')
        .map_or((mantissa, None), |(w, f)| (w, Some(f)));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

#[cfg(test)]
mod tests {
    use super::super::meter::within;
    use super::*;

    fn round_trip(text: &str) -> Result<String, NotJson> {
        within(1 << 20, 1 << 20, || {
            Value::from_json(text).map(|value| value.to_json())
        })
        .expect("stays within bounds")
    }

    #[test]
    fn numbers_keep_their_digits() {
        let text = r#"[0.10,-1.50e3,12345678901234567890123,7,"é\n",{"a":{}}]"#;
        assert_eq!(round_trip(text).as_deref(), Ok(text));
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            "[1,]",
            "{\"a\" 1}",
            "01",
            "1.",
            "+1",
            "\"a",
            "nul",
            "[1 2]",
            "{1:2}",
            "\"\\ud800\"",
            "1 2",
            "-",
        ] {
            assert!(round_trip(text).is_err(), "{text}");
        }
        let deep = "[".repeat(200) + &"]".repeat(200);
        assert!(round_trip(&deep).is_err());
    }
}
