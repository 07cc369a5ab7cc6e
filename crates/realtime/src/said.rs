//! What somebody can have the log say as often as they like is said once a minute of each, and of no more than some.

use std::sync::{Mutex, PoisonError};

/// Milliseconds after which it is said again.
const EVERY_MS: u64 = 60_000;
/// Of how many it is said meanwhile.
const NAMES_MAX: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct Said(Mutex<Names>);

#[derive(Debug, Default)]
struct Names {
    since_ms: u64,
    names: Vec<Box<str>>,
}

impl Said {
    /// Whether it is to be said of this name.
    pub(crate) fn is_news(&self, name: &str, now_ms: u64) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now_ms >= said.since_ms + EVERY_MS {
            *said = Names {
                since_ms: now_ms,
                names: Vec::new(),
            };
        }
        let is_news = said.names.len() < NAMES_MAX && said.names.iter().all(|before| **before != *name);
        if is_news {
            said.names.push(name.into());
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_said_once_a_minute_and_not_of_everybody() {
        let said = Said::default();
        assert!(said.is_news("a", 1_000_000));
        assert!(!said.is_news("a", 1_059_999));
        let others = (0..1_000).filter(|number| said.is_news(&number.to_string(), 1_000_001));
        assert_eq!(others.count(), NAMES_MAX - 1);
        assert!(said.is_news("a", 1_060_000));
    }
}
