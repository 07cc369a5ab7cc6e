//! What a mapping must not contain, found in the parsed program before it ever runs, each with its
//! place: recursion, loops without an end, and whatever looks outside the event.

use jaq_core::load::lex::{Lexer, StrPart, Tok, Token};
use jaq_core::load::parse::{BinaryOp, Def, Parser, Pattern, Term};
use jaq_core::load::span;
use jaq_core::path::Part;

use super::{JqFault, commerce, library};

/// The longest mapping, in bytes.
pub const SOURCE_MAX_BYTES: usize = 64 * 1024;
/// The most tokens in a mapping.
pub const SOURCE_MAX_TOKENS: usize = 8192;
/// How deep brackets may nest in a mapping.
pub const SOURCE_MAX_NESTING: usize = 64;
/// The most steps in one path, such as the two of `.a.b`.
pub const PATH_MAX_STEPS: usize = 100;
/// The largest bound that a `range` may be given as a number.
pub const RANGE_MAX: u32 = 1_000_000;

/// Checks a whole program.
pub(super) fn check(source: &str) -> Result<(), JqFault> {
    if source.len() > SOURCE_MAX_BYTES {
        return Err(fault(
            source,
            0,
            format!("a mapping is at most {SOURCE_MAX_BYTES} bytes long"),
        ));
    }
    check_nesting(source)?;
    let tokens = Lexer::new(source).lex().map_err(|errors| {
        let (expected, found) = errors
            .first()
            .map_or(("token", source), |(e, found)| (e.as_str(), *found));
        fault_at(source, found, format!("expected {expected}"))
    })?;
    if count(&tokens) > SOURCE_MAX_TOKENS {
        return Err(fault(
            source,
            0,
            format!("a mapping is at most {SOURCE_MAX_TOKENS} tokens long"),
        ));
    }
    if let Some(Token(word @ ("import" | "include" | "module"), _)) = tokens.first() {
        return Err(fault_at(
            source,
            word,
            format!("`{word}` is not available: a mapping stands alone"),
        ));
    }
    let program = Parser::new(&tokens)
        .parse(|parser| parser.term())
        .map_err(|errors| {
            let (expected, found) = errors
                .first()
                .map_or(("term", &source[source.len()..]), |(expected, found)| {
                    (expected.as_str(), Token::opt_as_str(*found, source))
                });
            fault_at(source, found, format!("expected {expected}"))
        })?;
    Check {
        source,
        functions: Vec::new(),
        in_path: false,
    }
    .term(&program)
}

/// A fault where `part`, a slice of `source`, stands.
pub(super) fn fault_at(source: &str, part: &str, message: String) -> JqFault {
    fault(source, span(source, part).start, message)
}

fn fault(source: &str, offset: usize, message: String) -> JqFault {
    let before = &source[..source.floor_char_boundary(offset)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    JqFault {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        message,
    }
}

/// Counts brackets without reading strings, so that nothing that recurses sees more than a few.
fn check_nesting(source: &str) -> Result<(), JqFault> {
    let mut open = 0_usize;
    for (offset, byte) in source.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        if open > SOURCE_MAX_NESTING {
            let message = format!("brackets nest deeper than {SOURCE_MAX_NESTING} levels");
            return Err(fault(source, offset, message));
        }
    }
    Ok(())
}

fn count(tokens: &[Token<&str>]) -> usize {
    tokens
        .iter()
        .map(|Token(_, token)| match token {
            Tok::Block(tokens) => 1 + count(tokens),
            Tok::Str(parts) => parts
                .iter()
                .map(|part| match part {
                    StrPart::Term(token) => count(std::slice::from_ref(token)),
                    _ => 1,
                })
                .sum::<usize>(),
            _ => 1,
        })
        .sum()
}

/// The key that a step of a path names, as it stands in the source.
fn key<'s>(part: &Part<Term<&'s str>>) -> Option<&'s str> {
    match part {
        Part::Index(Term::Str(None, parts)) => match parts[..] {
            [StrPart::Str(key)] => Some(key),
            _ => None,
        },
        _ => None,
    }
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Being defined: a call would be recursion.
    Open,
    Defined,
    Parameter,
}

struct Function<'s> {
    name: &'s str,
    arguments: usize,
    state: State,
}

struct Check<'s> {
    source: &'s str,
    /// The mapping's own functions in scope, innermost last.
    functions: Vec<Function<'s>>,
    /// Within the argument of a function that takes a path.
    in_path: bool,
}

type Checked = Result<(), JqFault>;

impl<'s> Check<'s> {
    fn refuse(&self, at: &str, message: impl Into<String>) -> Checked {
        Err(fault_at(self.source, at, message.into()))
    }

    fn terms<'t>(&mut self, terms: impl IntoIterator<Item = &'t Term<&'s str>>) -> Checked
    where
        's: 't,
    {
        terms.into_iter().try_for_each(|term| self.term(term))
    }

    fn term(&mut self, term: &Term<&'s str>) -> Checked {
        match term {
            Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Arr(None) => Ok(()),
            Term::Str(format, parts) => {
                if let Some(format) = format {
                    self.call(format, &[])?;
                }
                parts.iter().try_for_each(|part| match part {
                    StrPart::Term(term) => self.term(term),
                    _ => Ok(()),
                })
            }
            Term::Arr(Some(term)) | Term::Neg(term) | Term::Label(_, term) => self.term(term),
            Term::Obj(members) => members
                .iter()
                .try_for_each(|(key, value)| self.terms([key].into_iter().chain(value))),
            Term::BinOp(left, operator, right) => {
                if let BinaryOp::Pipe(Some(pattern)) = operator {
                    self.pattern(pattern)?;
                }
                self.terms([&**left, &**right])
            }
            Term::Fold(name, items, pattern, steps) => {
                if self.in_path {
                    return self.refuse(name, format!("`{name}` cannot say a path"));
                }
                self.term(items)?;
                self.pattern(pattern)?;
                self.terms(steps)
            }
            Term::TryCatch(body, catch) => self.terms([&**body].into_iter().chain(catch.as_deref())),
            Term::IfThenElse(branches, otherwise) => {
                branches
                    .iter()
                    .try_for_each(|(condition, then)| self.terms([condition, then]))?;
                self.terms(otherwise.as_deref())
            }
            Term::Def(definitions, body) => {
                let outer = self.functions.len();
                definitions
                    .iter()
                    .try_for_each(|definition| self.definition(definition))?;
                self.term(body)?;
                self.functions.truncate(outer);
                Ok(())
            }
            Term::Call(name, arguments) => self.call(name, arguments),
            Term::Var(name) => match *name {
                "$ENV" => self.refuse(
                    name,
                    "`$ENV` is not available: a mapping sees nothing but the event",
                ),
                _ => Ok(()),
            },
            Term::Path(head, path) => {
                self.term(head)?;
                if path.0.len() > PATH_MAX_STEPS {
                    let place = path
                        .0
                        .iter()
                        .find_map(|(part, _)| key(part))
                        .unwrap_or(self.source);
                    return self.refuse(place, format!("a path has at most {PATH_MAX_STEPS} steps"));
                }
                path.0.iter().try_for_each(|(part, _)| match part {
                    Part::Index(index) => self.term(index),
                    Part::Range(from, to) => self.terms(from.iter().chain(to)),
                })
            }
        }
    }

    fn pattern(&mut self, pattern: &Pattern<&'s str>) -> Checked {
        match pattern {
            Pattern::Var(_) => Ok(()),
            Pattern::Arr(items) => items.iter().try_for_each(|item| self.pattern(item)),
            Pattern::Obj(members) => members.iter().try_for_each(|(key, value)| {
                self.term(key)?;
                self.pattern(value)
            }),
        }
    }

    fn definition(&mut self, definition: &Def<&'s str>) -> Checked {
        let place = self.functions.len();
        self.functions.push(Function {
            name: definition.name,
            arguments: definition.args.len(),
            state: State::Open,
        });
        let parameters = definition.args.iter().filter(|name| !name.starts_with('$'));
        self.functions.extend(parameters.map(|name| Function {
            name,
            arguments: 0,
            state: State::Parameter,
        }));
        self.term(&definition.body)?;
        self.functions.truncate(place + 1);
        self.functions[place].state = State::Defined;
        Ok(())
    }

    fn call(&mut self, name: &'s str, arguments: &[Term<&'s str>]) -> Checked {
        let own = self
            .functions
            .iter()
            .rfind(|function| function.name == name && function.arguments == arguments.len());
        match own.map(|function| function.state) {
            Some(State::Open) => self.refuse(
                name,
                format!("`{name}` calls itself: a mapping must end, so there is no recursion"),
            ),
            Some(_) if self.in_path => self.refuse(
                name,
                format!("a path cannot be taken through `{name}`: write the path itself"),
            ),
            Some(_) => self.terms(arguments),
            None => self.shipped_call(name, arguments),
        }
    }

    fn shipped_call(&mut self, name: &'s str, arguments: &[Term<&'s str>]) -> Checked {
        if let Some(reason) = refused(name, arguments.len()) {
            return self.refuse(name, format!("`{name}` is not available: {reason}"));
        }
        if !library::is_callable(name, arguments.len()) {
            return self.refuse(name, unknown(name, arguments.len()));
        }
        match (name, arguments) {
            ("range", arguments) => self.range(name, arguments)?,
            ("utc", [Term::Str(None, parts)]) => {
                if let [StrPart::Str(zone)] = parts[..]
                    && commerce::zone(zone).is_none()
                {
                    return self.refuse(zone, "is not a time zone: expected one such as Europe/London");
                }
            }
            _ => {}
        }
        let outer = self.in_path;
        self.in_path |= matches!(name, "path" | "paths" | "pick");
        let checked = self.terms(arguments);
        self.in_path = outer;
        checked
    }

    fn range(&self, name: &str, arguments: &[Term<&'s str>]) -> Checked {
        let too_far = |term: &Term<&'s str>| match term {
            Term::Num(number) => number
                .parse()
                .is_ok_and(|number: f64| number > f64::from(RANGE_MAX)),
            Term::Call(called, _) => *called == "infinite",
            _ => false,
        };
        let stands_still = matches!(arguments, [_, _, Term::Num(step)] if step.parse() == Ok(0.0));
        if stands_still || arguments.iter().any(too_far) {
            return self.refuse(
                name,
                format!("`range` must end: its bounds go up to {RANGE_MAX}, and its step is not 0"),
            );
        }
        Ok(())
    }
}

/// Why a function of jq's is not for mappings.
fn refused(name: &str, arguments: usize) -> Option<&'static str> {
    match (name, arguments) {
        ("repeat" | "while" | "until" | "recurse_down", _) | ("recurse", 1 | 2) => {
            Some("it may never end; reduce, foreach, walk or .. do")
        }
        ("combinations", _) => {
            Some("its outputs multiply; name the lists in order, as in .a[] as $x | .b[] as $y")
        }
        ("input" | "inputs" | "input_line_number" | "input_filename", _) => {
            Some("a mapping is given one event at a time")
        }
        ("now" | "localtime" | "strflocaltime" | "mktime_local" | "$__loc__", _) => {
            Some("the same event must always give the same result; use .time, or utc for local times")
        }
        ("env" | "getenv" | "get_search_list" | "modulemeta", _) => {
            Some("a mapping sees nothing but the event")
        }
        ("debug" | "stderr" | "halt" | "halt_error", _) => {
            Some("a mapping only yields values; use error to give up")
        }
        _ => None,
    }
}

fn unknown(name: &str, arguments: usize) -> String {
    let known = library::arities(name);
    if known.is_empty() {
        return format!("`{name}` is not a function that is known here");
    }
    let known: Vec<_> = known.iter().map(usize::to_string).collect();
    format!("`{name}` takes {} arguments, not {arguments}", known.join(" or "))
}
