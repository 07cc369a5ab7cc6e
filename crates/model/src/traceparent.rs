//! Which trace an event or a request belongs to, as W3C Trace Context, level 1, writes it
//! (<https://www.w3.org/TR/trace-context-1/#traceparent-header>). It is read and written here; what is measured and
//! where it goes is for others to know.

use std::{fmt, str::FromStr};

/// The flag of one whose spans are kept.
const SAMPLED: u8 = 0x01;

/// A trace, and the span in it that what follows belongs under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traceparent {
    trace_id: u128,
    span_id: u64,
    sampled: bool,
}

/// A text that is no `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a W3C traceparent: version, trace id, parent id and flags in lower-case hexadecimal")]
pub struct NoTraceparent;

impl Traceparent {
    /// One of these ids; `None` if either is zero, which no id may be.
    pub fn new(trace_id: u128, span_id: u64, sampled: bool) -> Option<Self> {
        (trace_id != 0 && span_id != 0).then_some(Self {
            trace_id,
            span_id,
            sampled,
        })
    }

    /// The whole of what belongs together.
    pub fn trace_id(&self) -> u128 {
        self.trace_id
    }

    /// The span that wrote it: the parent of those that read it.
    pub fn span_id(&self) -> u64 {
        self.span_id
    }

    /// Whether somebody keeps the spans of this trace.
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }
}

/// Also reads later versions, as far as this one goes, as the specification asks for.
impl FromStr for Traceparent {
    type Err = NoTraceparent;

    fn from_str(text: &str) -> Result<Self, NoTraceparent> {
        let mut parts = text.splitn(5, '-');
        let mut hex = |length| {
            parts
                .next()
                .and_then(|part| hex(part, length))
                .ok_or(NoTraceparent)
        };
        let version = hex(2)?;
        let trace_id = hex(32)?;
        let span_id = u64::try_from(hex(16)?).map_err(|_| NoTraceparent)?;
        let flags = u8::try_from(hex(2)?).map_err(|_| NoTraceparent)?;
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return Err(NoTraceparent);
        }
        Self::new(trace_id, span_id, flags & SAMPLED != 0).ok_or(NoTraceparent)
    }
}

/// Version 00.
impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            trace_id, span_id, ..
        } = self;
        let flags = if self.sampled { SAMPLED } else { 0 };
        write!(f, "00-{trace_id:032x}-{span_id:016x}-{flags:02x}")
    }
}

/// Exactly so many digits, none of them a capital.
fn hex(part: &str, length: usize) -> Option<u128> {
    let digits = part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (part.len() == length && digits)
        .then(|| u128::from_str_radix(part, 16).ok())
        .flatten()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_read_is_written_again() {
        let read: Traceparent = EXAMPLE.parse().unwrap();
        assert_eq!(read.trace_id(), 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!(read.span_id(), 0xb7ad_6b71_6920_3331);
        assert!(read.is_sampled());
        assert_eq!(read.to_string(), EXAMPLE);
        let small = Traceparent::new(1, 2, false).unwrap().to_string();
        assert_eq!(small, "00-00000000000000000000000000000001-0000000000000002-00");
        assert_eq!(small.parse::<Traceparent>().unwrap().to_string(), small);
    }

    #[test]
    fn flags_that_are_not_known_are_not_passed_on() {
        let read = |flags: &str| {
            let text = EXAMPLE.replace("-01", flags);
            text.parse::<Traceparent>().unwrap().to_string()
        };
        assert!(read("-ff").ends_with("-01"));
        assert!(read("-fe").ends_with("-00"));
    }

    #[test]
    fn a_later_version_may_say_more() {
        let later = EXAMPLE.replacen("00", "cc", 1);
        for text in [later.clone(), format!("{later}-more-of-it")] {
            assert_eq!(text.parse::<Traceparent>().unwrap().to_string(), EXAMPLE);
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for invalid in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(invalid.parse::<Traceparent>(), Err(NoTraceparent), "{invalid:?}");
        }
    }
}
