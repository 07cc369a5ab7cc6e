//! Failed sign-ins, and how long the next one has to wait for them: by the pair of name and address, and by the
//! address. A name under attack from many addresses makes each pair of its own stricter, but closes for nobody: from
//! an address of their own its owner gets an attempt a minute whatever others do.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use moka::sync::Cache;

/// Names, addresses and pairs of them remembered at most, each.
const REMEMBERED: u64 = 10_000;
/// How long failures count that nobody adds to.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(15 * 60);
/// Failures of a name from one address before the next has to wait.
const FREE_OF_PAIR: u32 = 5;
/// Failures of a name, from all addresses, from which on no pair has more than one for nothing.
const FREE_OF_NAME: u32 = 20;
/// Failures of an address, with all names, before the next has to wait: an office may share one.
const FREE_OF_ADDRESS: u32 = 30;
/// Nobody waits longer than this: 1, 2, 4, … s up to it.
const WAIT_MAX: TimeDelta = TimeDelta::seconds(60);

#[derive(Clone, Copy, Default)]
struct Failures {
    count: u32,
    /// No attempt before this.
    until: Option<DateTime<Utc>>,
}

impl Failures {
    fn wait(&self, now: DateTime<Utc>) -> Option<TimeDelta> {
        let wait = self.until? - now;
        // A clock that was set back is not to close the door.
        (wait > TimeDelta::zero()).then(|| wait.min(WAIT_MAX))
    }

    /// One more, the first `free` of which cost nothing.
    fn another(self, free: u32, now: DateTime<Utc>) -> Self {
        let count = self.count.saturating_add(1);
        let until = (count >= free).then(|| {
            let doublings = (count - free).min(6);
            now + TimeDelta::seconds(1 << doublings).min(WAIT_MAX)
        });
        Self { count, until }
    }
}

/// Who tried in vain lately.
pub(crate) struct Attempts {
    pairs: Cache<(String, IpAddr), Failures>,
    names: Cache<String, Failures>,
    addresses: Cache<IpAddr, Failures>,
    /// Held while an attempt is judged and counted.
    one_at_a_time: Mutex<()>,
}

/// An attempt that was let through, counted as a failure until it says otherwise.
pub(crate) struct Attempt {
    pair: (String, IpAddr),
    before: [Failures; 2],
}

impl Attempts {
    pub(crate) fn new() -> Self {
        Self {
            pairs: cache(),
            names: cache(),
            addresses: cache(),
            one_at_a_time: Mutex::default(),
        }
    }

    /// Lets an attempt through, or says how many seconds it has to wait. One that is not let through does not count.
    pub(crate) fn begin(&self, name: &str, from: IpAddr, now: DateTime<Utc>) -> Result<Attempt, u32> {
        let _one = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        let address = network(from);
        let pair = (name.to_owned(), address);
        let of_pair = self.pairs.get(&pair).unwrap_or_default();
        let of_address = self.addresses.get(&address).unwrap_or_default();
        let of_name = self.names.get(name).unwrap_or_default();
        if let Some(wait) = of_pair.wait(now).max(of_address.wait(now)) {
            let seconds = (wait.num_milliseconds() + 999) / 1_000;
            return Err(u32::try_from(seconds).unwrap_or(1));
        }
        let free = if of_name.count < FREE_OF_NAME {
            FREE_OF_PAIR
        } else {
            1
        };
        self.pairs.insert(pair.clone(), of_pair.another(free, now));
        self.addresses
            .insert(address, of_address.another(FREE_OF_ADDRESS, now));
        self.names.insert(
            name.to_owned(),
            Failures {
                count: of_name.count.saturating_add(1),
                until: None,
            },
        );
        Ok(Attempt {
            pair,
            before: [of_address, of_name],
        })
    }

    /// The attempt was right: it counts for nothing, and neither does what this pair did before. What the address did
    /// with other names goes on counting.
    pub(crate) fn succeeded(&self, attempt: Attempt) {
        let _one = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        let (name, address) = &attempt.pair;
        self.pairs.invalidate(&attempt.pair);
        let [of_address, of_name] = attempt.before;
        self.give_back(&self.addresses, address, of_address);
        self.give_back(&self.names, name, of_name);
    }

    fn give_back<K>(&self, failures: &Cache<K, Failures>, key: &K, before: Failures)
    where
        K: std::hash::Hash + Eq + Clone + Send + Sync + 'static,
    {
        if let Some(now) = failures.get(key) {
            let count = now.count.saturating_sub(1);
            // Others may have failed meanwhile: then their wait stands.
            let until = if count == before.count {
                before.until
            } else {
                now.until
            };
            failures.insert(key.clone(), Failures { count, until });
        }
    }
}

fn cache<K: std::hash::Hash + Eq + Send + Sync + 'static>() -> Cache<K, Failures> {
    Cache::builder()
        .max_capacity(REMEMBERED)
        .time_to_live(FORGOTTEN_AFTER)
        .build()
}

/// What counts as one address: of IPv6 the network of 64 bits that one customer gets at least.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::now;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn at(second: i64) -> DateTime<Utc> {
        now() + TimeDelta::seconds(second)
    }

    #[test]
    fn waits_double_up_to_a_minute_and_a_refused_attempt_does_not_count() {
        let attempts = Attempts::new();
        let mut waits = Vec::new();
        let mut second = 0;
        for _ in 0..14 {
            match attempts.begin("anna", ip("192.0.2.1"), at(second)) {
                Ok(_) => {}
                Err(wait) => {
                    assert!(attempts.begin("anna", ip("192.0.2.1"), at(second)).is_err());
                    waits.push(wait);
                    second += i64::from(wait);
                    attempts
                        .begin("anna", ip("192.0.2.1"), at(second))
                        .map(drop)
                        .unwrap();
                }
            }
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn another_name_and_another_address_are_not_held_up() {
        let attempts = Attempts::new();
        for _ in 0..FREE_OF_PAIR {
            attempts.begin("anna", ip("192.0.2.1"), at(0)).map(drop).unwrap();
        }
        assert!(attempts.begin("anna", ip("192.0.2.1"), at(0)).is_err());
        assert!(attempts.begin("ben", ip("192.0.2.1"), at(0)).is_ok());
        assert!(attempts.begin("anna", ip("192.0.2.2"), at(0)).is_ok());
    }

    #[test]
    fn an_owner_gets_in_within_a_minute_while_a_thousand_addresses_try() {
        let attempts = Attempts::new();
        for minute in 0..3 {
            for host in 0..1_000_u32 {
                let from = IpAddr::V4((0x0a00_0000 + host).into());
                let _ = attempts.begin("anna", from, at(minute * 60));
            }
        }
        let owner = ip("192.0.2.1");
        let mistyped = attempts.begin("anna", owner, at(200));
        assert!(mistyped.is_ok());
        assert!(attempts.begin("anna", owner, at(200)).is_err());
        let right = attempts.begin("anna", owner, at(261)).unwrap();
        attempts.succeeded(right);
        assert!(attempts.begin("anna", owner, at(261)).is_ok());
    }

    #[test]
    fn an_address_that_tries_every_name_has_to_wait_whatever_it_signs_in_with_between() {
        let attempts = Attempts::new();
        let from = "2001:db8:1:2::";
        for number in 0..FREE_OF_ADDRESS {
            let address = ip(&format!("{from}{number:x}"));
            let begun = attempts.begin(&format!("name-{number}"), address, at(0));
            begun.map(drop).unwrap();
            if number % 3 == 0 && number + 1 < FREE_OF_ADDRESS {
                attempts.succeeded(attempts.begin("own", address, at(0)).unwrap());
            }
        }
        assert!(
            attempts
                .begin("another", ip(&format!("{from}ffff")), at(0))
                .is_err()
        );
        assert!(attempts.begin("another", ip("2001:db8:1:3::1"), at(0)).is_ok());
    }

    #[test]
    fn a_success_frees_its_pair() {
        let attempts = Attempts::new();
        for _ in 0..3 {
            for _ in 1..FREE_OF_PAIR {
                attempts.begin("anna", ip("192.0.2.1"), at(0)).map(drop).unwrap();
            }
            attempts.succeeded(attempts.begin("anna", ip("192.0.2.1"), at(0)).unwrap());
        }
    }
}
