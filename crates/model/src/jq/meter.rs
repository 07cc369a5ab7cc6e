//! The budget of one run of a mapping. jaq has none of its own, so the values and the look-up table
//! that it is given draw on this one, which belongs to the thread for as long as the run takes.
//! Whoever overdraws it is unwound from: unlike an error, that cannot be caught by `try`.

#[cfg(panic = "abort")]
compile_error!("a mapping that overdraws its budget is ended by unwinding, which panic = \"abort\" forbids");

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Which bound a run went over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exhausted {
    /// Steps and sizes together.
    Work,
    /// The nesting of one value.
    Depth,
    /// The stack that the run was given.
    Stack,
}

/// Why a job did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It overdrew its budget.
    Exhausted(Exhausted),
    /// It panicked.
    Panicked,
}

struct Meter {
    work_left: Cell<u64>,
    stack_start: Cell<usize>,
    stack_bytes: Cell<usize>,
}

thread_local! {
    static METER: Meter = const {
        Meter {
            work_left: Cell::new(0),
            stack_start: Cell::new(0),
            stack_bytes: Cell::new(0),
        }
    };
}

/// Runs `job` with a budget of `work` units and `stack_bytes` of stack below this call.
pub(super) fn within<T>(work: u64, stack_bytes: usize, job: impl FnOnce() -> T) -> Result<T, Stop> {
    METER.with(|meter| {
        meter.work_left.set(work);
        meter.stack_start.set(stack_position());
        meter.stack_bytes.set(stack_bytes);
    });
    let outcome = catch_unwind(AssertUnwindSafe(job));
    METER.with(|meter| meter.work_left.set(0));
    outcome.map_err(|payload| match payload.downcast::<Exhausted>() {
        Ok(bound) => Stop::Exhausted(*bound),
        Err(_) => Stop::Panicked,
    })
}

/// Adds to the budget of the run.
pub(super) fn grant(work: u64) {
    METER.with(|meter| meter.work_left.set(meter.work_left.get().saturating_add(work)));
}

/// Draws on the budget of the run.
pub(super) fn charge(work: u64) {
    METER.with(|meter| match meter.work_left.get().checked_sub(work) {
        Some(left) => meter.work_left.set(left),
        None => exhausted(Exhausted::Work),
    });
}

/// Draws on the budget for work on so many bytes of text.
pub(super) fn charge_bytes(bytes: usize) {
    charge(1 + bytes as u64 / 16);
}

/// Makes sure that there is stack left for another level of evaluation.
pub(super) fn check_stack() {
    let (start, bytes) = METER.with(|meter| (meter.stack_start.get(), meter.stack_bytes.get()));
    if start.abs_diff(stack_position()) > bytes {
        exhausted(Exhausted::Stack);
    }
}

/// Ends the run.
pub(super) fn exhausted(bound: Exhausted) -> ! {
    resume_unwind(Box::new(bound))
}

#[inline(never)]
fn stack_position() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&here)).addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_overdraws_is_ended() {
        assert_eq!(within(10, 1 << 16, || charge(10)), Ok(()));
        let over = within(10, 1 << 16, || {
            grant(5);
            charge(16);
        });
        assert_eq!(over, Err(Stop::Exhausted(Exhausted::Work)));
    }

    #[test]
    fn a_job_that_goes_too_deep_is_ended() {
        fn descend(level: u64) -> u64 {
            check_stack();
            if level == u64::MAX {
                0
            } else {
                std::hint::black_box(descend(level + 1) + 1)
            }
        }
        assert_eq!(
            within(10, 1 << 16, || descend(0)),
            Err(Stop::Exhausted(Exhausted::Stack))
        );
    }
}
