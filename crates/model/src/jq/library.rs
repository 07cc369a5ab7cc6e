//! What a mapping may call. jq's own library comes from jaq, except what depends on jaq's values,
//! what needs an eye on its cost, and what is not for mappings at all.

use jaq_core::load::parse::Def;
use jaq_core::native::{Fun, bome, run, unary, v};
use jaq_core::{DataT, Error, ValR};
use jaq_std::ValT as _;

use super::value::{Number, Value};
use super::{commerce, json, meter};

/// Definitions that go before jaq's, so that its own use them.
const EARLY: &str = r#"
def matches($pattern; $flags): charge_pattern($pattern) | matches_unmetered($pattern; $flags);
def split_matches($pattern; $flags): charge_pattern($pattern) | split_matches_unmetered($pattern; $flags);
def split_($pattern; $flags): charge_pattern($pattern) | split_unmetered($pattern; $flags);
"#;

/// Definitions that go after jaq's, in place of its own or beside them.
const LATE: &str = r#"
def toboolean: if isboolean then . elif . == "true" then true elif . == "false" then false
               else error("toboolean expects true or false") end;
def recurse: ..;
def getpath($path): if ($path | length) > 128 then error("getpath: the path is too long")
                    else reduce $path[] as $step (.; .[$step]) end;
def transpose: . as $rows | [range([$rows[] | length] | max // 0) as $column | [$rows[] | .[$column]]];
def in(container): . as $key | container | has($key);
def inside(container): . as $part | container | contains($part);
def index($part): indices($part) | .[0];
def rindex($part): indices($part) | .[-1:][0];
def @json: tojson;
"#;

/// Names and numbers of arguments that mappings may call, one group a line.
const CALLABLE: &str = "
    empty/0 error/0 error/1 true/0 false/0 null/0 not/0 select/1 isempty/1 all/0 all/1 all/2 any/0 any/1 any/2
    range/1 range/2 range/3 first/0 first/1 last/0 last/1 nth/1 nth/2 limit/2 skip/2 recurse/0
    path/1 paths/0 paths/1 pick/1 getpath/1 setpath/2 delpaths/1 del/1
    map/1 map_values/1 walk/1 add/0 add/1 min/0 max/0 min_by/1 max_by/1 unique/0 unique_by/1 group_by/1 sort/0 sort_by/1
    reverse/0 flatten/0 flatten/1 transpose/0 bsearch/1 length/0 has/1 in/1 contains/1 inside/1
    indices/1 index/1 rindex/1 keys/0 keys_unsorted/0 to_entries/0 from_entries/0 with_entries/1
    type/0 values/0 nulls/0 booleans/0 numbers/0 strings/0 arrays/0 objects/0 iterables/0 scalars/0
    isboolean/0 isnumber/0 isstring/0 isarray/0 isobject/0
    tostring/0 tonumber/0 toboolean/0 tojson/0 fromjson/0
    abs/0 floor/0 ceil/0 round/0 trunc/0 fabs/0 sqrt/0 cbrt/0 pow/2 exp/0 exp2/0 exp10/0 log/0 log2/0 log10/0
    nan/0 infinite/0 isnan/0 isinfinite/0 isfinite/0 isnormal/0 fmin/2 fmax/2 fmod/2
    split/1 split/2 splits/1 splits/2 join/1 ascii_downcase/0 ascii_upcase/0 explode/0 implode/0 utf8bytelength/0
    startswith/1 endswith/1 ltrimstr/1 rtrimstr/1 trim/0 ltrim/0 rtrim/0
    test/1 test/2 match/1 match/2 capture/1 capture/2 scan/1 scan/2 sub/2 sub/3 gsub/2 gsub/3
    todate/0 fromdate/0 todateiso8601/0 fromdateiso8601/0 strftime/1 strptime/1 mktime/0 gmtime/0
    @text/0 @json/0 @html/0 @uri/0 @urid/0 @sh/0 @base64/0 @base64d/0
    utc/1 minor_units/1 fromxml/0 fromcsv/0
";

pub(super) fn is_callable(name: &str, arguments: usize) -> bool {
    CALLABLE
        .split_whitespace()
        .filter_map(|signature| signature.rsplit_once('/'))
        .any(|(known, count)| known == name && count.parse() == Ok(arguments))
}

/// How many arguments the callable functions of that name take.
pub(super) fn arities(name: &str) -> Vec<usize> {
    CALLABLE
        .split_whitespace()
        .filter_map(|signature| signature.rsplit_once('/'))
        .filter(|(known, _)| *known == name)
        .filter_map(|(_, count)| count.parse().ok())
        .collect()
}

/// Every definition that functions are made of, in the order in which they see each other.
pub(super) fn definitions() -> impl Iterator<Item = Def<&'static str>> {
    let own = |text| {
        jaq_core::load::parse(text, |parser| parser.defs()).expect("the library's own definitions are jq")
    };
    own(EARLY)
        .into_iter()
        .chain(jaq_core::defs())
        .chain(jaq_std::defs())
        .chain(own(LATE))
}

/// Every function that is written in Rust.
pub(super) fn functions<D>() -> impl Iterator<Item = Fun<D>>
where
    D: for<'a> DataT<V<'a> = Value>,
{
    let jaq = jaq_core::funs()
        .chain(jaq_std::funs())
        .map(|(name, arguments, function)| {
            let name = match name {
                "matches" => "matches_unmetered",
                "split_matches" => "split_matches_unmetered",
                "split_" => "split_unmetered",
                other => other,
            };
            (name, arguments, function)
        });
    own::<D>().into_iter().chain(jaq)
}

fn own<D>() -> [Fun<D>; 13]
where
    D: for<'a> DataT<V<'a> = Value>,
{
    [
        run(("length", v(0), |cv| bome(cv.1.length()))),
        run(("tojson", v(0), |cv| bome(Ok(Value::text(cv.1.to_json()))))),
        run(("fromjson", v(0), |cv| bome(cv.1.parse_json()))),
        run(("fromxml", v(0), |cv| bome(cv.1.parse_xml()))),
        run(("fromcsv", v(0), |cv| bome(cv.1.parse_csv()))),
        run(("tonumber", v(0), |cv| bome(cv.1.parse_number()))),
        run(("has", v(1), |cv| {
            unary(cv, |value, key| Ok(value.lookup(&key)?.is_some().into()))
        })),
        run(("contains", v(1), |cv| {
            unary(cv, |value, part| Ok(value.contains(&part).into()))
        })),
        run(("indices", v(1), |cv| {
            unary(cv, |value, part| value.positions_of(&part))
        })),
        run(("bsearch", v(1), |cv| unary(cv, |value, item| value.search(&item)))),
        run(("charge_pattern", v(1), |cv| {
            unary(cv, |value, pattern| Ok(value.charge_pattern(&pattern)))
        })),
        run(("utc", v(1), |cv| unary(cv, |value, zone| value.utc(&zone)))),
        run(("minor_units", v(1), |cv| {
            unary(cv, |value, digits| value.minor_units(&digits))
        })),
    ]
}

impl Value {
    fn length(self) -> ValR<Value> {
        match &self {
            Value::Null => Ok(Value::from(0_i64)),
            Value::Number(Number::Integer(integer)) if *integer < 0 => -self,
            Value::Number(Number::Integer(_)) => Ok(self),
            Value::Number(number) => Ok(Value::from(number.as_f64().abs())),
            Value::Text(text) => {
                meter::charge_bytes(text.len());
                Ok(Value::from(text.chars().count()))
            }
            Value::Array(node) => Ok(Value::from(node.children().len())),
            Value::Object(node) => Ok(Value::from(node.children().len())),
            Value::Bool(_) => Err(Error::str("a boolean has no length")),
        }
    }

    fn parse_json(self) -> ValR<Value> {
        match &self {
            Value::Text(text) => Value::from_json(text)
                .map_err(|error| Error::str(format_args!("fromjson: not JSON at byte {}", error.offset))),
            _ => Err(Error::typ(self, "string")),
        }
    }

    fn parse_number(self) -> ValR<Value> {
        match &self {
            Value::Number(_) => Ok(self),
            Value::Text(text) if json::is_number(text) => Ok(Value::Number(Number::from_literal(text))),
            _ => Err(Error::str("tonumber expects a number, or a string that is one")),
        }
    }

    fn contains(&self, part: &Value) -> bool {
        meter::charge(1);
        match (self, part) {
            (Value::Text(text), Value::Text(part)) => {
                meter::charge_bytes(text.len());
                text.contains(part.as_str())
            }
            (Value::Array(all), Value::Array(parts)) => {
                let mut parts = parts.children().iter();
                parts.all(|part| all.children().iter().any(|item| item.contains(part)))
            }
            (Value::Object(all), Value::Object(parts)) => parts
                .children()
                .iter()
                .all(|(key, part)| all.children().get(key).is_some_and(|value| value.contains(part))),
            _ => self == part,
        }
    }

    /// Where `part` begins: in a string counted in characters, in an array as an item or, if it is
    /// an array itself, as a run of items.
    pub(super) fn positions_of(self, part: &Value) -> ValR<Value> {
        match (&self, part) {
            (Value::Null, _) => Ok(Value::Null),
            (Value::Text(_), Value::Text(part)) if part.is_empty() => Ok(Value::array(Vec::new())),
            (Value::Text(text), Value::Text(part)) => {
                meter::charge_bytes(text.len().saturating_mul(part.len()));
                let starts = text.char_indices().enumerate();
                let found = starts.filter(|(_, (byte, _))| text[*byte..].starts_with(part.as_str()));
                Ok(found.map(|(position, _)| Value::from(position)).collect())
            }
            (Value::Array(_), Value::Array(part)) if part.children().is_empty() => {
                Ok(Value::array(Vec::new()))
            }
            (Value::Array(all), Value::Array(part)) => {
                let runs = all.children().windows(part.children().len()).enumerate();
                let found = runs.filter(|(_, run)| *run == part.children().as_slice());
                Ok(found.map(|(position, _)| Value::from(position)).collect())
            }
            (Value::Array(all), item) => {
                let items = all.children().iter().enumerate();
                let found = items.filter(|(_, candidate)| *candidate == item);
                Ok(found.map(|(position, _)| Value::from(position)).collect())
            }
            _ => Err(Error::index(self, part.clone())),
        }
    }

    /// The position of `item` in a sorted array, or -1 minus the one where it would go.
    fn search(self, item: &Value) -> ValR<Value> {
        match &self {
            Value::Array(node) => Ok(match node.children().binary_search(item) {
                Ok(found) => Value::from(found as i64),
                Err(place) => Value::from(-1 - place as i64),
            }),
            _ => Err(Error::typ(self, "array")),
        }
    }

    /// Pays for matching a regular expression against this text: its engine takes time in
    /// proportion to the length of the text and to the size of the expression with its counted
    /// repetitions written out.
    fn charge_pattern(self, pattern: &Value) -> Value {
        if let (Value::Text(text), Value::Text(pattern)) = (&self, pattern) {
            let size = (pattern.len() as u64 + 1).saturating_mul(repetitions(pattern));
            meter::charge(size.saturating_mul(4));
            meter::charge(size.saturating_mul(text.len() as u64 + 1) / 4);
        }
        self
    }

    fn utc(self, zone: &Value) -> ValR<Value> {
        let (Value::Text(local), Value::Text(zone)) = (&self, zone) else {
            return Err(Error::str(
                "utc expects a local time as a string, and a zone's name as its argument",
            ));
        };
        let zone = commerce::zone(zone)
            .ok_or_else(|| Error::str("utc was given a time zone that does not exist"))?;
        commerce::utc(local, zone).map(Value::text).map_err(Error::str)
    }

    fn minor_units(self, digits: &Value) -> ValR<Value> {
        let digits = digits
            .as_isize()
            .map(|digits| digits as i64)
            .filter(|digits| (0..=commerce::MINOR_DIGITS_MAX).contains(digits))
            .ok_or_else(|| Error::str("minor_units expects its argument to be 0 to 6"))?;
        let amount = match &self {
            Value::Text(text) => text.to_string(),
            Value::Number(Number::Float(float)) => format!("{float}"),
            Value::Number(_) => self.to_json(),
            _ => return Err(Error::typ(self, "decimal (string or number)")),
        };
        commerce::minor_units(&amount, digits)
            .map(Value::from)
            .map_err(Error::str)
    }
}

/// The product of all counts in a regular expression such as `(a{10}){3,5}`, at least 1.
fn repetitions(pattern: &str) -> u64 {
    pattern
        .split('{')
        .skip(1)
        .filter_map(|counted| {
            let counts = counted.split(|character: char| !character.is_ascii_digit());
            counts.take(3).filter_map(|count| count.parse::<u64>().ok()).max()
        })
        .fold(1, |product, count| product.saturating_mul(count.max(1)))
}
