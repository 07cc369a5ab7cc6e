//! Failed sign-ins, and how long the next one has to wait for them: by the pair of name and address, by the address,
//! and of IPv6 by the site, since whoever has a site has as many addresses as they like. A name under attack from many
//! addresses makes each pair of its own stricter, but closes for nobody: from an address of their own its owner gets an
//! attempt a minute whatever others do.

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use crossdock_model::network::{network, site};
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
/// Failures of an IPv6 site, with all names, before the next has to wait: a provider may share one among customers.
const FREE_OF_SITE: u32 = 120;
/// Bits of what counts as one IPv6 address: the network that one customer gets at least.
const ADDRESS_BITS: u32 = 64;
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
    sites: Cache<IpAddr, Failures>,
    /// Held while an attempt is judged and counted.
    one_at_a_time: Mutex<()>,
}

/// An attempt that was let through, counted as a failure until it says otherwise.
pub(crate) struct Attempt {
    pair: (String, IpAddr),
    site: Option<IpAddr>,
    before: Before,
}

/// What stood there before an attempt.
struct Before {
    pair: Failures,
    address: Failures,
    site: Failures,
    name: Failures,
}

impl Attempts {
    pub(crate) fn new() -> Self {
        Self {
            pairs: cache(),
            names: cache(),
            addresses: cache(),
            sites: cache(),
            one_at_a_time: Mutex::default(),
        }
    }

    /// Lets an attempt through, or says how many seconds it has to wait. One that is not let through does not count.
    pub(crate) fn begin(&self, name: &str, from: IpAddr, now: DateTime<Utc>) -> Result<Attempt, u32> {
        let _one = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        let address = network(from, ADDRESS_BITS);
        let site = ipv6_site(from);
        let pair = (name.to_owned(), address);
        let before = Before {
            pair: self.pairs.get(&pair).unwrap_or_default(),
            address: self.addresses.get(&address).unwrap_or_default(),
            site: site.and_then(|site| self.sites.get(&site)).unwrap_or_default(),
            name: self.names.get(name).unwrap_or_default(),
        };
        let waits = [before.pair, before.address, before.site].map(|failures| failures.wait(now));
        if let Some(wait) = waits.into_iter().flatten().max() {
            return Err(seconds(wait));
        }
        let free = if before.name.count < FREE_OF_NAME {
            FREE_OF_PAIR
        } else {
            1
        };
        self.pairs.insert(pair.clone(), before.pair.another(free, now));
        self.addresses
            .insert(address, before.address.another(FREE_OF_ADDRESS, now));
        if let Some(site) = site {
            self.sites.insert(site, before.site.another(FREE_OF_SITE, now));
        }
        self.names.insert(
            name.to_owned(),
            Failures {
                count: before.name.count.saturating_add(1),
                until: None,
            },
        );
        Ok(Attempt { pair, site, before })
    }

    /// How many seconds somebody from this address has to wait who names nobody: for what failed from there, whatever
    /// the names were.
    pub(crate) fn wait(&self, from: IpAddr, now: DateTime<Utc>) -> Option<u32> {
        let of_address = self.addresses.get(&network(from, ADDRESS_BITS));
        let of_site = ipv6_site(from).and_then(|site| self.sites.get(&site));
        let waits = [of_address, of_site].into_iter().flatten();
        waits.filter_map(|failures| failures.wait(now)).max().map(seconds)
    }

    /// An attempt from this address, which named nobody, was wrong.
    pub(crate) fn failed(&self, from: IpAddr, now: DateTime<Utc>) {
        let _one = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        let address = network(from, ADDRESS_BITS);
        let before = self.addresses.get(&address).unwrap_or_default();
        self.addresses
            .insert(address, before.another(FREE_OF_ADDRESS, now));
        if let Some(site) = ipv6_site(from) {
            let before = self.sites.get(&site).unwrap_or_default();
            self.sites.insert(site, before.another(FREE_OF_SITE, now));
        }
    }

    /// The attempt was right: it counts for nothing, and neither does what this pair did before. What the address did
    /// with other names goes on counting.
    pub(crate) fn succeeded(&self, attempt: Attempt) {
        let _one = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        self.pairs.invalidate(&attempt.pair);
        self.give_back_all_but_the_pair(&attempt);
    }

    /// Nobody looked at the password: the attempt counts for nothing.
    pub(crate) fn was_not_judged(&self, attempt: Attempt) {
        let _one = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        give_back(&self.pairs, &attempt.pair, attempt.before.pair);
        self.give_back_all_but_the_pair(&attempt);
    }

    fn give_back_all_but_the_pair(&self, Attempt { pair, site, before }: &Attempt) {
        let (name, address) = pair;
        give_back(&self.addresses, address, before.address);
        if let Some(site) = site {
            give_back(&self.sites, site, before.site);
        }
        give_back(&self.names, name, before.name);
    }
}

fn give_back<K>(failures: &Cache<K, Failures>, key: &K, before: Failures)
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

fn cache<K: std::hash::Hash + Eq + Send + Sync + 'static>() -> Cache<K, Failures> {
    Cache::builder()
        .max_capacity(REMEMBERED)
        .time_to_live(FORGOTTEN_AFTER)
        .build()
}

fn ipv6_site(address: IpAddr) -> Option<IpAddr> {
    address.to_canonical().is_ipv6().then(|| site(address))
}

/// A wait in whole seconds.
fn seconds(wait: TimeDelta) -> u32 {
    u32::try_from((wait.num_milliseconds() + 999) / 1_000).unwrap_or(1)
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
    fn an_ipv6_site_has_to_wait_whatever_address_and_name_it_takes_next() {
        let attempts = Attempts::new();
        for number in 0..FREE_OF_SITE {
            let address = ip(&format!("2001:db8:1:{number:x}::1"));
            let begun = attempts.begin(&format!("name-{number}"), address, at(0));
            begun.map(drop).unwrap();
        }
        assert!(attempts.begin("anna", ip("2001:db8:1:ffff::1"), at(0)).is_err());
        assert!(attempts.begin("anna", ip("2001:db8:2:1::1"), at(0)).is_ok());
        assert!(attempts.begin("anna", ip("192.0.2.1"), at(0)).is_ok());
        assert!(attempts.begin("anna", ip("2001:db8:1:ffff::1"), at(61)).is_ok());
    }

    #[test]
    fn an_attempt_that_nobody_judged_counts_for_nothing() {
        let attempts = Attempts::new();
        let from = ip("2001:db8:1:2::1");
        for number in 0..2 * FREE_OF_SITE {
            let name = format!("name-{}", number % 2);
            let begun = attempts.begin(&name, from, at(0)).unwrap();
            attempts.was_not_judged(begun);
        }
        for _ in 0..FREE_OF_PAIR {
            attempts.begin("name-0", from, at(0)).map(drop).unwrap();
        }
        let early = attempts.begin("name-0", from, at(0));
        assert!(early.is_err());
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

    #[test]
    fn who_names_nobody_waits_for_what_failed_from_there() {
        let attempts = Attempts::new();
        let from = ip("2001:db8:1:2::1");
        for failure in 0..FREE_OF_ADDRESS {
            assert_eq!(attempts.wait(from, at(0)), None, "{failure}");
            attempts.failed(from, at(0));
        }
        assert_eq!(attempts.wait(ip("2001:db8:1:2:ffff::1"), at(0)), Some(1));
        assert_eq!(attempts.wait(ip("2001:db8:1:3::1"), at(0)), None);
        assert_eq!(attempts.wait(from, at(1)), None);
        for network in 0..FREE_OF_SITE - FREE_OF_ADDRESS {
            attempts.failed(ip(&format!("2001:db8:1:1{network:x}::1")), at(1));
        }
        assert_eq!(attempts.wait(ip("2001:db8:1:3::1"), at(1)), Some(1));
        assert_eq!(attempts.wait(ip("192.0.2.1"), at(1)), None);
    }
}
