//! Mappings: jq programs that turn one event, or one row of a file, into others, and always end.
//! They see nothing but their input: no clock, no environment, no files, no other event.
//!
//! A run is bounded twice. [`Mapping::compile`] refuses, with the place, what could loop: every
//! recursion (a function that calls itself, directly, through an enclosing one or through an
//! argument), `repeat`, `while`, `until`, `recurse(f)`, `combinations`, a `range` without an end,
//! and everything that looks outside (`input`, `now`, `env`, `debug`, `halt`, `import`). What is
//! left can still be large, so [`Mapping::run`] keeps a budget:
//!
//! - **Work.** Every evaluation of a term costs one unit; every value and every 16 bytes of text
//!   that is made, copied, compared, searched or written cost one each; a step to a child of an
//!   array or object costs ten, and a regular expression its size times the length of the text. A
//!   run has [`WORK_MAX`] units, and [`WORK_PER_NODE`] more for each value in its input. Work bounds
//!   time, and memory with it: what was not paid for was not made.
//! - **Depth.** No value nests deeper than 128 levels.
//! - **Stack.** Every evaluation looks at how much stack is left. A run that needs more than half a
//!   megabyte is repeated on a thread of its own with more, and ends there at the latest.
//! - **Output.** [`OUTPUT_MAX_VALUES`], [`OUTPUT_MAX_BYTES`] together, [`OUTPUT_MAX_DEPTH`].
//!
//! A run that goes over is over: `try` does not catch it.
//!
//! Differences from jq: objects are kept in the order of their keys; numbers in JSON keep their
//! digits until they are reckoned with; a whole quotient is a whole number; `utc("Europe/London")`,
//! `minor_units(2)`, `fromxml` and `fromcsv` are added.

mod access;
mod arithmetic;
mod check;
mod commerce;
mod formats;
mod json;
mod library;
mod meter;
mod value;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jaq_core::data::{DataT, HasLut};
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Ctx, Filter, Lut, Vars};

use crate::event::{DATA_MAX_BYTES, JSON_MAX_DEPTH};
use crate::thread::on_own_thread;
use meter::{Exhausted, Stop};
use value::Value;

pub use check::{PATH_MAX_STEPS, RANGE_MAX, SOURCE_MAX_BYTES, SOURCE_MAX_NESTING, SOURCE_MAX_TOKENS};

/// The most values that one run may yield.
pub const OUTPUT_MAX_VALUES: usize = 1_000;
/// The most bytes that the values of one run may have as JSON, all together.
pub const OUTPUT_MAX_BYTES: usize = DATA_MAX_BYTES;
/// How deep a value that is yielded may nest.
pub const OUTPUT_MAX_DEPTH: usize = JSON_MAX_DEPTH;
/// Units of work that every run has.
pub const WORK_MAX: u64 = 1_000_000;
/// Units of work that a run has besides, for each value in its input.
pub const WORK_PER_NODE: u64 = 50;

/// What a run may use of its caller's stack.
const INLINE_STACK_BYTES: usize = 512 * 1024;
/// What a run may use of the stack of a thread of its own.
const ROOMY_STACK_BYTES: usize = 24 * 1024 * 1024;
/// What such a thread has: the rest is for what happens between two looks at the stack.
const THREAD_STACK_BYTES: usize = 32 * 1024 * 1024;
/// What reading a program may take, at the limits on its size.
const COMPILE_STACK_BYTES: usize = 256 * 1024 * 1024;

const TOO_DEEP: &str = "it is nested too deeply";

/// A mapping that has been checked and compiled. Clones share the program; any number of threads
/// may run it at the same time.
#[derive(Clone)]
pub struct Mapping(Arc<Filter<Program>>);

/// Why a text is not a mapping, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct JqFault {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// What is wrong and what was expected.
    pub message: String,
}

/// Why a mapping gave no result for an input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JqError {
    /// The input is not JSON.
    #[error("the input is not JSON at byte {offset}")]
    Input {
        /// Where that shows.
        offset: usize,
    },
    /// The mapping raised an error.
    #[error("the mapping raised an error")]
    Raised(Reason),
    /// The run went over its bounds: the same input will fail again.
    #[error("the mapping went over its bounds: {0}")]
    Bounds(&'static str),
    /// A transform takes the place of the data, so it yields one value.
    #[error("the mapping yields {0} where one output is expected")]
    Outputs(&'static str),
    /// A fault of the hub.
    #[error("the mapping could not be run: {0}")]
    Internal(&'static str),
}

/// What a mapping said when it raised an error. It may quote the event, so it is shown to people
/// who may see the event, and hidden in logs: `Debug` leaves it out.
#[derive(Clone, PartialEq, Eq)]
pub struct Reason(pub String);

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reason(…)")
    }
}

impl JqError {
    /// The error in full, for people who may see the event.
    pub fn detail(&self) -> String {
        match self {
            JqError::Raised(Reason(reason)) => format!("{self}: {reason}"),
            other => other.to_string(),
        }
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mapping(…)")
    }
}

/// What jaq is told about the world of a mapping: its values, and a look-up table that counts.
struct Program;

impl DataT for Program {
    type V<'a> = Value;
    type Data<'a> = Counted<'a>;
}

/// The program's terms. jaq looks here at the start of every evaluation of a term.
#[derive(Clone, Copy)]
struct Counted<'a>(&'a Lut<Program>);

impl<'a> HasLut<'a, Program> for Counted<'a> {
    fn lut(&self) -> &'a Lut<Program> {
        meter::charge(1);
        meter::check_stack();
        self.0
    }
}

/// An input as any thread can read it.
#[derive(Clone, Copy)]
enum Raw<'a> {
    Parsed(&'a serde_json::Value),
    Json(&'a str),
}

impl Raw<'_> {
    /// Pays for the reading from a grant of its own: it is not the mapping's work.
    fn read(self) -> Result<Value, JqError> {
        match self {
            Raw::Parsed(value) => Ok(Value::from_parsed(value)),
            Raw::Json(text) => {
                meter::grant(text.len() as u64);
                Value::from_json(text).map_err(|error| JqError::Input { offset: error.offset })
            }
        }
    }
}

/// JSON that is read once and given to any number of mappings, all on the thread that read it.
pub struct Input {
    text: String,
    value: Value,
}

impl Input {
    /// Reads the input. Numbers keep every digit.
    ///
    /// # Errors
    /// See [`JqError`].
    pub fn read(json: impl Into<String>) -> Result<Input, JqError> {
        let text = json.into();
        let raw = Raw::Json(&text);
        let value = meter::within(WORK_MAX, INLINE_STACK_BYTES, || raw.read())
            .map_err(|stop| match Failure::from(stop) {
                Failure::Error(error) => error,
                Failure::Stack => JqError::Bounds(TOO_DEEP),
            })
            .flatten()?;
        Ok(Input { text, value })
    }

    /// The length of the JSON that it was read from.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }
}

/// Hides the input, which may be personal.
impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Input(…)")
    }
}

/// Adds up what runs take of a clock that its maker chooses: how long they take, or how much of a
/// processor the thread they run on uses. The clock is asked on that thread, which need not be the
/// caller's.
pub struct Stopwatch<'a> {
    clock: &'a (dyn Fn() -> Duration + Sync),
    taken: Duration,
}

impl<'a> Stopwatch<'a> {
    /// A stopwatch that stands at zero.
    pub fn new(clock: &'a (dyn Fn() -> Duration + Sync)) -> Self {
        let taken = Duration::ZERO;
        Self { clock, taken }
    }

    /// What the runs took so far.
    pub fn taken(&self) -> Duration {
        self.taken
    }
}

/// Takes what it wants of a run's outputs.
trait Taker<T>: Fn(&mut dyn Iterator<Item = Result<Value, JqError>>) -> Result<T, JqError> + Sync {}

impl<T, F> Taker<T> for F where
    F: Fn(&mut dyn Iterator<Item = Result<Value, JqError>>) -> Result<T, JqError> + Sync
{
}

enum Failure {
    Error(JqError),
    Stack,
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Exhausted(Exhausted::Stack) => Failure::Stack,
            Stop::Exhausted(Exhausted::Work) => {
                Failure::Error(JqError::Bounds("it does too much work or makes too much data"))
            }
            Stop::Exhausted(Exhausted::Depth) => Failure::Error(JqError::Bounds("a value nests too deeply")),
            Stop::Panicked => Failure::Error(JqError::Internal("the interpreter failed")),
        }
    }
}

impl Mapping {
    /// Reads and checks a mapping.
    ///
    /// # Errors
    /// The first fault, with its place.
    pub fn compile(source: &str) -> Result<Mapping, JqFault> {
        on_own_thread(COMPILE_STACK_BYTES, || {
            check::check(source)?;
            compile(source)
        })
        .unwrap_or_else(|| {
            Err(JqFault {
                line: 1,
                column: 1,
                message: "the mapping could not be read: there is no memory for a thread".to_owned(),
            })
        })
    }

    /// Runs the mapping on one input and gives all its outputs. Blocks for as long as it takes:
    /// microseconds as a rule, a tenth of a second where the budget is spent on a small input, and
    /// about a second where it is spent on one of a megabyte.
    ///
    /// # Errors
    /// See [`JqError`]. Outputs that came before the error are dropped.
    pub fn run(&self, input: &serde_json::Value) -> Result<Vec<serde_json::Value>, JqError> {
        let outputs = self.take(None, Raw::Parsed(input), None, &all)?;
        outputs
            .iter()
            .map(|json| serde_json::from_str(json))
            .collect::<Result<_, _>>()
            .map_err(|_| JqError::Bounds("an output has a number that is out of range"))
    }

    /// Like [`Mapping::run`], from JSON text to JSON texts: numbers that the mapping only passes
    /// on, or hands to `minor_units`, keep every digit.
    ///
    /// # Errors
    /// See [`JqError`].
    pub fn run_json(&self, input: &[u8]) -> Result<Vec<String>, JqError> {
        let text = std::str::from_utf8(input).map_err(|error| JqError::Input {
            offset: error.valid_up_to(),
        })?;
        self.take(None, Raw::Json(text), None, &all)
    }

    /// Whether the input passes this mapping as a filter: its first output is anything but `false`
    /// and `null`. One that yields nothing lets nothing pass. What would come after the first output
    /// is not run.
    ///
    /// # Errors
    /// See [`JqError`].
    pub fn passes(&self, input: &Input, watch: &mut Stopwatch<'_>) -> Result<bool, JqError> {
        self.take(
            Some(&input.value),
            Raw::Json(&input.text),
            Some(watch),
            &first_is_true,
        )
    }

    /// What this mapping makes of the input as a transform, which yields one output: as JSON text.
    ///
    /// # Errors
    /// See [`JqError`].
    pub fn transforms(&self, input: &Input, watch: &mut Stopwatch<'_>) -> Result<String, JqError> {
        self.take(Some(&input.value), Raw::Json(&input.text), Some(watch), &the_only)
    }

    /// Runs on the caller's stack, and again on a roomier one where that is too small. There the
    /// input is read again: a value does not leave its thread.
    fn take<T: Send>(
        &self,
        read: Option<&Value>,
        raw: Raw<'_>,
        watch: Option<&mut Stopwatch<'_>>,
        taker: &impl Taker<T>,
    ) -> Result<T, JqError> {
        let clock = watch.as_ref().map(|watch| watch.clock);
        let input = || read.map_or_else(|| raw.read(), |value| Ok(value.clone()));
        let (mut outcome, mut taken) = timed(clock, || self.attempt(INLINE_STACK_BYTES, input, taker));
        if let Err(Failure::Stack) = outcome {
            let again = || timed(clock, || self.attempt(ROOMY_STACK_BYTES, || raw.read(), taker));
            let (roomy, took) = on_own_thread(THREAD_STACK_BYTES, again)
                .ok_or(JqError::Internal("there is no memory for a thread"))?;
            outcome = roomy;
            taken += took;
        }
        if let Some(watch) = watch {
            watch.taken += taken;
        }
        outcome.map_err(|failure| match failure {
            Failure::Error(error) => error,
            Failure::Stack => JqError::Bounds(TOO_DEEP),
        })
    }

    fn attempt<T>(
        &self,
        stack_bytes: usize,
        input: impl FnOnce() -> Result<Value, JqError>,
        taker: &impl Taker<T>,
    ) -> Result<T, Failure> {
        let evaluate = || {
            let input = input()?;
            meter::grant(input.weight().saturating_mul(WORK_PER_NODE));
            let context = Ctx::<Program>::new(Counted(&self.0.lut), Vars::new([]));
            let mut outputs = self
                .0
                .id
                .run((context, input))
                .map(|output| output.map_err(raised));
            taker(&mut outputs)
        };
        meter::within(WORK_MAX, stack_bytes, evaluate)?.map_err(Failure::Error)
    }
}

/// How long a job takes by `clock`; no time without one.
fn timed<T>(clock: Option<&(dyn Fn() -> Duration + Sync)>, job: impl FnOnce() -> T) -> (T, Duration) {
    let now = || clock.map_or(Duration::ZERO, |clock| clock());
    let began = now();
    let done = job();
    (done, now().saturating_sub(began))
}

fn all(outputs: &mut dyn Iterator<Item = Result<Value, JqError>>) -> Result<Vec<String>, JqError> {
    let mut written = Vec::new();
    let mut bytes = 0;
    for output in outputs {
        let json = write(&output?)?;
        bytes += json.len();
        if bytes > OUTPUT_MAX_BYTES || written.len() == OUTPUT_MAX_VALUES {
            return Err(JqError::Bounds("it yields too much"));
        }
        written.push(json);
    }
    Ok(written)
}

fn first_is_true(outputs: &mut dyn Iterator<Item = Result<Value, JqError>>) -> Result<bool, JqError> {
    let first = outputs.next().transpose()?;
    Ok(first.is_some_and(|first| !matches!(first, Value::Null | Value::Bool(false))))
}

fn the_only(outputs: &mut dyn Iterator<Item = Result<Value, JqError>>) -> Result<String, JqError> {
    let only = outputs.next().ok_or(JqError::Outputs("none"))??;
    let json = write(&only)?;
    match outputs.next() {
        None if json.len() > OUTPUT_MAX_BYTES => Err(JqError::Bounds("it yields too much")),
        None => Ok(json),
        Some(Ok(_)) => Err(JqError::Outputs("more than one")),
        Some(Err(error)) => Err(error),
    }
}

fn write(output: &Value) -> Result<String, JqError> {
    if output.depth() as usize > OUTPUT_MAX_DEPTH {
        return Err(JqError::Bounds("an output nests too deeply"));
    }
    Ok(output.to_json())
}

fn raised(exception: jaq_core::Exn<'_, Value>) -> JqError {
    const REASON_MAX_BYTES: usize = 500;
    match exception.get_err() {
        Ok(error) => {
            let mut reason = match error.into_val() {
                Value::Text(text) => text.to_string(),
                other => other.to_json(),
            };
            reason.truncate(reason.floor_char_boundary(REASON_MAX_BYTES));
            JqError::Raised(Reason(reason))
        }
        Err(_) => JqError::Internal("it broke out of itself"),
    }
}

fn compile(source: &str) -> Result<Mapping, JqFault> {
    let arena = Arena::default();
    let program = File {
        code: source,
        path: (),
    };
    let unreadable = |message: &str| check::fault_at(source, source, message.to_owned());
    let modules = Loader::new(library::definitions())
        .load(&arena, program)
        .map_err(|_| unreadable("the mapping could not be read"))?;
    let filter = jaq_core::Compiler::default()
        .with_funs(library::functions::<Program>())
        .compile(modules)
        .map_err(|files| {
            let first = files.iter().flat_map(|(_, faults)| faults).next();
            first.map_or_else(
                || unreadable("the mapping could not be compiled"),
                |(name, kind)| {
                    check::fault_at(source, name, format!("undefined {}: `{name}`", kind.as_str()))
                },
            )
        })?;
    Ok(Mapping(Arc::new(filter)))
}

#[cfg(test)]
mod tests;
