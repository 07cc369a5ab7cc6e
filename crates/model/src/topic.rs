//! Topic names and topic filters as both MQTT versions define them (3.1.1 and 5.0, section 4.7). Knows
//! nothing of clients, rights or what a topic means.
//!
//! <https://docs.oasis-open.org/mqtt/mqtt/v5.0/os/mqtt-v5.0-os.html#_Toc3901241>

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The longest topic name or filter that the wire can carry.
pub const MAX_TOPIC_BYTES: usize = 65_535;
/// The most levels of a name or filter that is taken. The protocol sets no bound; matching walks level by level.
pub const MAX_TOPIC_LEVELS: usize = 64;

/// Stands between levels.
pub const SEPARATOR: char = '/';
/// Stands for one level of a name.
pub const ONE_LEVEL: &str = "+";
/// Stands for all levels that are left, none included.
pub const ALL_LEVELS: &str = "#";
const SHARE: &str = "$share";

/// Why a text is no topic name or no topic filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// At least one character is needed.
    #[error("is empty, expected at least one character")]
    Empty,
    /// More bytes than the wire can carry.
    #[error("has {0} bytes, expected at most {MAX_TOPIC_BYTES}")]
    TooLong(usize),
    /// More levels than are taken here.
    #[error("has {0} levels, expected at most {MAX_TOPIC_LEVELS}")]
    TooDeep(usize),
    /// U+0000 is forbidden everywhere.
    #[error("holds the character U+0000 at byte {0}")]
    Null(usize),
    /// A name stands for one topic.
    #[error("holds a wildcard at byte {0}, expected none in a topic name")]
    WildcardInName(usize),
    /// `+` and `#` fill a level; `#` is the last one.
    #[error("holds a wildcard in level {0} (from 1): + and # stand alone in a level, # in the last one")]
    MisplacedWildcard(usize),
    /// `$share/` wants a name without wildcards and a filter.
    #[error("is no shared subscription, expected $share/<name>/<filter>")]
    Share,
}

/// The name of one topic: valid, without wildcards. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Takes a text that names one topic.
    ///
    /// # Errors
    /// Says why it does not.
    pub fn new(text: &str) -> Result<Self, TopicError> {
        check(text)?;
        match text.find(['+', '#']) {
            Some(at) => Err(TopicError::WildcardInName(at)),
            None => Ok(Self(text.into())),
        }
    }

    /// The name as it is on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is one of the server's own (`$SYS/…`), which no leading wildcard matches.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('$')
    }

    /// Level by level.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split(SEPARATOR)
    }
}

/// A pattern of topic names, valid and without a share. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicFilter(Arc<str>);

impl TopicFilter {
    /// Takes a text that is a filter. `$share/…` is no filter but a [`Subscription`] and is refused.
    ///
    /// # Errors
    /// Says why it is none.
    pub fn new(text: &str) -> Result<Self, TopicError> {
        check(text)?;
        if text.split(SEPARATOR).next() == Some(SHARE) {
            return Err(TopicError::Share);
        }
        let levels = text.split(SEPARATOR).count();
        for (at, level) in text.split(SEPARATOR).enumerate() {
            let alone = level.len() == 1;
            let misplaced_hash = level.contains('#') && !(alone && at + 1 == levels);
            if misplaced_hash || (level.contains('+') && !alone) {
                return Err(TopicError::MisplacedWildcard(at + 1));
            }
        }
        Ok(Self(text.into()))
    }

    /// The filter as it is on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it can match more than one topic.
    #[must_use]
    pub fn has_wildcards(&self) -> bool {
        self.levels()
            .any(|level| level == ONE_LEVEL || level == ALL_LEVELS)
    }

    /// Whether the filter matches the name.
    #[must_use]
    pub fn matches(&self, name: &TopicName) -> bool {
        if name.is_reserved() && !self.0.starts_with('$') {
            return false;
        }
        let mut levels = name.levels();
        for wanted in self.levels() {
            if wanted == ALL_LEVELS {
                return true;
            }
            match levels.next() {
                Some(level) if wanted == ONE_LEVEL || wanted == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }

    /// Whether every topic that `other` can match is matched by this filter too. What a client may
    /// subscribe to is granted as filters, so this is the question for rights.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        if self.0.starts_with(['+', '#']) && other.0.starts_with('$') {
            return false;
        }
        let mut theirs = other.levels().peekable();
        for ours in self.levels() {
            if ours == ALL_LEVELS {
                return true;
            }
            match theirs.next() {
                Some(ALL_LEVELS) | None => return false,
                Some(level) if ours == ONE_LEVEL || ours == level => {}
                Some(_) => return false,
            }
        }
        theirs.next().is_none()
    }

    /// Level by level.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split(SEPARATOR)
    }
}

/// What a SUBSCRIBE names: a filter, and with `$share/<name>/<filter>` the group that shares it (MQTT 5.0, section 4.8.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subscription {
    /// The name of the group, where the subscription is a shared one.
    pub share: Option<Arc<str>>,
    /// What it matches.
    pub filter: TopicFilter,
}

impl Subscription {
    /// Takes the text of a subscription.
    ///
    /// # Errors
    /// Says why it is neither a filter nor a shared one.
    pub fn new(text: &str) -> Result<Self, TopicError> {
        let Some(rest) = text
            .strip_prefix(SHARE)
            .and_then(|rest| rest.strip_prefix(SEPARATOR))
        else {
            return TopicFilter::new(text).map(|filter| Self { share: None, filter });
        };
        check(text)?;
        let (group, filter) = rest.split_once(SEPARATOR).ok_or(TopicError::Share)?;
        if group.is_empty() || group.contains(['+', '#']) {
            return Err(TopicError::Share);
        }
        Ok(Self {
            share: Some(group.into()),
            filter: TopicFilter::new(filter)?,
        })
    }
}

fn check(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > MAX_TOPIC_BYTES {
        return Err(TopicError::TooLong(text.len()));
    }
    if let Some(at) = text.find('\0') {
        return Err(TopicError::Null(at));
    }
    let levels = text.split(SEPARATOR).count();
    if levels > MAX_TOPIC_LEVELS {
        return Err(TopicError::TooDeep(levels));
    }
    Ok(())
}

impl fmt::Display for TopicName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for TopicFilter {
    fn borrow(&self) -> &str {
        &self.0
    }
}
