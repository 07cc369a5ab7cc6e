//! Sessions whose clients are away: when their wills are due, and when they are forgotten. Each is here
//! once, however often its client comes and goes, and one principal has not more than its share.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::session::Session;

/// The most sessions of one principal that wait for their clients.
const OWN_MAX: usize = 100;

#[derive(Debug, Default)]
pub(super) struct Away {
    /// By time and number.
    by_due: BTreeMap<(u64, u64), Left>,
    due: HashMap<u64, u64>,
    by_principal: HashMap<Arc<str>, BTreeSet<(u64, u64)>>,
}

/// A session as its last connection left it.
#[derive(Debug, Clone)]
pub(super) struct Left {
    pub(super) session: Arc<Session>,
    pub(super) epoch: u64,
    /// When it is forgotten.
    pub(super) expires_ms: u64,
}

/// What is due.
#[derive(Debug)]
pub(super) enum Due {
    Will(Left),
    Expiry(Left),
}

impl Away {
    /// Its client is away; `will_ms` is when its will is due, before it is forgotten. Gives the one of the same principal
    /// that has to go for it.
    #[must_use]
    pub(super) fn put(&mut self, left: Left, will_ms: Option<u64>) -> Option<Left> {
        let number = left.session.number;
        self.back(number);
        let due_ms = will_ms.unwrap_or(left.expires_ms).min(left.expires_ms);
        let own = self
            .by_principal
            .entry(left.session.key.principal.clone())
            .or_default();
        own.insert((due_ms, number));
        let goes = (own.len() > OWN_MAX).then(|| own.first().copied()).flatten();
        self.due.insert(number, due_ms);
        self.by_due.insert((due_ms, number), left);
        goes.and_then(|(_, number)| self.back(number))
    }

    /// Its client is back, or it was forgotten.
    pub(super) fn back(&mut self, number: u64) -> Option<Left> {
        let at = (self.due.remove(&number)?, number);
        let left = self.by_due.remove(&at)?;
        let principal = &left.session.key.principal;
        if let Some(own) = self.by_principal.get_mut(principal) {
            own.remove(&at);
            if own.is_empty() {
                self.by_principal.remove(principal);
            }
        }
        Some(left)
    }

    pub(super) fn len(&self) -> usize {
        self.due.len()
    }

    /// The next that is due at this time.
    pub(super) fn next_due(&mut self, now_ms: u64) -> Option<Due> {
        let (&(due_ms, _), _) = self.by_due.first_key_value()?;
        if due_ms > now_ms {
            return None;
        }
        let left = self.first_to_go()?;
        if left.expires_ms <= now_ms {
            return Some(Due::Expiry(left));
        }
        // It was among the principal's own before: none has to go for it.
        let _ = self.put(left.clone(), None);
        Some(Due::Will(left))
    }

    /// The one whose time is nearest, to make room for another.
    pub(super) fn first_to_go(&mut self) -> Option<Left> {
        let (&(_, number), _) = self.by_due.first_key_value()?;
        self.back(number)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::session::Key;
    use super::*;
    use crate::session::{Client, Limits, Rights, Terms};
    use crate::wire::Version;

    struct Nobody;

    impl Rights for Nobody {
        fn principal(&self) -> &'static str {
            "nobody"
        }
    }

    fn left(number: u64, expires_ms: u64) -> Left {
        let terms = Terms {
            version: Version::V5,
            session_expiry_s: 0,
            will: None,
            in_flight: 1,
        };
        let limits = Limits {
            messages: 1,
            bytes: 1,
            in_flight: 1,
        };
        let key = Key {
            principal: "nobody".into(),
            client_id: "x".into(),
        };
        let client = Client::new(terms, 1, limits);
        Left {
            session: Arc::new(Session::new(number, key, client, Arc::new(Nobody))),
            epoch: 0,
            expires_ms,
        }
    }

    fn due(away: &mut Away, now_ms: u64) -> Option<(&'static str, u64)> {
        away.next_due(now_ms).map(|due| match due {
            Due::Will(left) => ("will", left.session.number),
            Due::Expiry(left) => ("expiry", left.session.number),
        })
    }

    #[test]
    fn a_will_is_due_before_its_session_goes() {
        let mut away = Away::default();
        assert!(away.put(left(1, 500), Some(300)).is_none());
        assert!(away.put(left(2, 400), None).is_none());
        assert_eq!(due(&mut away, 299), None);
        assert_eq!(due(&mut away, 300), Some(("will", 1)));
        assert_eq!(due(&mut away, 300), None);
        assert_eq!(due(&mut away, 900), Some(("expiry", 2)));
        assert_eq!(due(&mut away, 900), Some(("expiry", 1)));
        assert_eq!(due(&mut away, 900), None);
    }

    #[test]
    fn however_often_a_client_comes_and_goes_it_is_there_once() {
        let mut away = Away::default();
        for second in 0..1_000 {
            assert!(away.put(left(1, second * 1000), None).is_none());
        }
        assert_eq!((away.by_due.len(), away.due.len()), (1, 1));
        assert!(away.back(1).is_some());
        assert!(away.by_due.is_empty() && away.due.is_empty() && away.by_principal.is_empty());
        assert!(away.put(left(1, 2), None).is_none() && away.put(left(2, 1), None).is_none());
        assert_eq!(away.first_to_go().unwrap().session.number, 2);
    }
    #[test]
    fn a_principal_has_its_share_and_its_own_go_for_its_own() {
        let mut away = Away::default();
        for number in 0..OWN_MAX as u64 {
            assert!(away.put(left(number, 1_000 + number), None).is_none());
        }
        let goes = away.put(left(500, 9_000), None).unwrap();
        assert_eq!((goes.session.number, away.due.len()), (0, OWN_MAX));
        let goes = away.put(left(501, 5), None).unwrap();
        assert_eq!(goes.session.number, 501, "the nearest in time is itself");
    }
}
