//! Logins of the last minutes, so that an operator hears of a shop whose pages are all refused, and not of a robot that
//! knocks. Kept in memory, of this hub's door only, and bounded whoever comes.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};
use crossdock_model::network::site;
use url::{Origin, Url};

use super::TokenFault;
use crate::{Hub, words::counted};

/// How long a login counts, in minutes; the one that is not over is the last of them.
const WINDOW_MINUTES: i64 = 5;
/// Fewer refusals are not worth a sentence.
const REFUSALS_MIN: u64 = 20;
/// So many refusals of one address, or IPv6 site, are held against the logins that were let in: one page that cannot
/// stop is no trouble of the shop.
const OF_ONE_ADDRESS_MAX: u64 = 5;
/// Addresses that are told apart in a minute.
const ADDRESSES_MAX: usize = 200;
/// Origins that are told apart in a minute.
const ORIGINS_MAX: usize = 8;
/// A longer origin is not shown.
const ORIGIN_BYTES_MAX: usize = 100;
/// As metrics call it.
const TOO_SOON: &str = "too_soon";

/// What was refused lately, and whether more was.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<VecDeque<Minute>>);

#[derive(Default)]
struct Minute {
    /// Since 1970.
    number: i64,
    admitted: u64,
    refused: BTreeMap<Why, u64>,
    addresses: HashMap<IpAddr, u64>,
    /// Refusals of addresses that are not told apart.
    of_others: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    /// As metrics call it.
    Token(&'static str),
    /// A page of this origin, empty where it cannot be shown.
    Origin(String),
}

/// So many refusals that somebody should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ManyRefused {
    refused: u64,
    admitted: u64,
    mostly: Why,
    of_these: u64,
}

impl Refusals {
    pub(super) fn admitted(&self, now: DateTime<Utc>) {
        self.minutes(now).back_mut().expect("it has a minute").admitted += 1;
    }

    pub(super) fn refused(&self, fault: TokenFault, from: IpAddr, now: DateTime<Utc>) {
        self.count(Why::Token(fault.word()), from, now);
    }

    /// Somebody from an address that has to wait: nobody was asked for keys that are not known.
    pub(super) fn refused_soon(&self, fault: TokenFault, from: IpAddr, now: DateTime<Utc>) {
        let word = match fault {
            TokenFault::UnknownKey => TOO_SOON,
            known => known.word(),
        };
        self.count(Why::Token(word), from, now);
    }

    pub(super) fn refused_origin(&self, origin: &str, from: IpAddr, now: DateTime<Utc>) {
        self.count(Why::Origin(shown(origin)), from, now);
    }

    fn count(&self, why: Why, from: IpAddr, now: DateTime<Utc>) {
        let mut minutes = self.minutes(now);
        minutes.back_mut().expect("it has a minute").count(why, from);
    }

    /// What an operator should know of the last minutes, if there is something.
    pub(crate) fn lately(&self, now: DateTime<Utc>) -> Option<ManyRefused> {
        let minutes = self.minutes(now);
        let (mut refused, mut addresses) = (BTreeMap::<&Why, u64>::new(), HashMap::<IpAddr, u64>::new());
        for minute in &*minutes {
            for (why, count) in &minute.refused {
                *refused.entry(why).or_default() += count;
            }
            for (address, count) in &minute.addresses {
                *addresses.entry(*address).or_default() += count;
            }
        }
        let admitted: u64 = minutes.iter().map(|minute| minute.admitted).sum();
        let of_addresses = addresses.values().map(|count| (*count).min(OF_ONE_ADDRESS_MAX));
        let of_others = minutes.iter().map(|minute| minute.of_others);
        let of_many: u64 = of_addresses.chain(of_others).sum();
        // Behind a proxy that nobody named all have one address.
        let pages = refused.iter().filter(|(why, _)| why.is_of_a_page());
        let is_shut = admitted == 0 && pages.map(|(_, count)| count).sum::<u64>() >= REFUSALS_MIN;
        if !is_shut && (of_many < REFUSALS_MIN || of_many < admitted) {
            return None;
        }
        let (mostly, of_these) = refused.iter().max_by_key(|(_, count)| **count)?;
        Some(ManyRefused {
            refused: refused.values().sum(),
            admitted,
            mostly: Why::clone(mostly),
            of_these: *of_these,
        })
    }

    /// Those that still count, this one last.
    fn minutes(&self, now: DateTime<Utc>) -> MutexGuard<'_, VecDeque<Minute>> {
        let mut minutes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = now.timestamp().div_euclid(60);
        // Of a clock that was set back nothing is known.
        minutes.retain(|minute| (number - WINDOW_MINUTES + 1..=number).contains(&minute.number));
        if minutes.back().is_none_or(|minute| minute.number != number) {
            minutes.push_back(Minute {
                number,
                ..Minute::default()
            });
        }
        minutes
    }
}

impl Minute {
    fn count(&mut self, why: Why, from: IpAddr) {
        let is_known = self.refused.contains_key(&why);
        let why = match why {
            Why::Origin(_) if !is_known && self.origins() >= ORIGINS_MAX => Why::Origin(String::new()),
            why => why,
        };
        *self.refused.entry(why).or_default() += 1;
        let address = site(from);
        if self.addresses.len() < ADDRESSES_MAX || self.addresses.contains_key(&address) {
            *self.addresses.entry(address).or_default() += 1;
        } else {
            self.of_others += 1;
        }
    }

    fn origins(&self) -> usize {
        self.refused
            .keys()
            .filter(|why| matches!(why, Why::Origin(_)))
            .count()
    }
}

impl Why {
    /// Whether it takes a token, an API key or a page to be refused so. Robots that try names and passwords have none.
    fn is_of_a_page(&self) -> bool {
        !matches!(
            self,
            Self::Token("too_long" | "malformed" | "critical_extension" | "no_key_id" | TOO_SOON)
        )
    }

    fn because(&self) -> String {
        let because = match self {
            Self::Origin(origin) if origin.is_empty() => "pages of their origin may not connect",
            Self::Origin(origin) => return format!("pages of {origin} may not connect"),
            Self::Token("api_key") => "they show an API key",
            Self::Token("expired") => "their tokens have expired",
            Self::Token("not_yet") => "their tokens are not good yet",
            Self::Token("revoked") => "their tokens were revoked",
            Self::Token("unknown_key" | "signature" | "algorithm") => {
                "the hub knows no key that signed their tokens"
            }
            Self::Token("unknown_issuer") => "the issuer of their tokens is unknown",
            Self::Token("audience") => "their tokens are for another audience",
            Self::Token("lives_too_long") => "their tokens live for longer than an hour",
            Self::Token("topics") => "their tokens' topics are not what the issuer may open",
            Self::Token("claim") => "a claim of their tokens is missing or unfit",
            Self::Token("keys_unavailable") => "the keys that verify their tokens cannot be had",
            Self::Token(TOO_SOON) => "too many others from their address failed",
            Self::Token(_) => "what they show is no browser token",
        };
        because.to_owned()
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::Origin(_) => {
                "if they are yours, list their origin in `allowed_origins` of [http] and restart the hub"
            }
            Self::Token("api_key") => {
                "their backend has to exchange it for a token at POST /v1/browser-tokens"
            }
            Self::Token("expired") => "a page has to fetch a fresh one at each connect",
            Self::Token("not_yet") => "compare the clock of who issues them with the hub's",
            Self::Token("revoked") => "somebody did, or removed the API key that minted them",
            Self::Token("unknown_key" | "signature" | "algorithm") => {
                "they are of another environment, or were cut off on the way"
            }
            Self::Token("unknown_issuer") => {
                "they are of another environment, or no `issuer` under [[mqtt.issuer]] is their `iss` to the letter"
            }
            Self::Token("audience") => "`audience` under [[mqtt.issuer]] has to be their `aud` to the letter",
            Self::Token("lives_too_long") => "have the identity provider issue shorter ones",
            Self::Token("topics") => "look at `topics`, or `within`, under [[mqtt.issuer]]",
            Self::Token("claim" | "keys_unavailable") => "the hub's log has the details",
            Self::Token(TOO_SOON) => "behind a reverse proxy set `trusted_proxies` in [http]",
            Self::Token(_) => "the MQTT password has to be the token, as the hub gave it",
        }
    }
}

#[cfg(test)]
impl ManyRefused {
    pub(crate) fn of_expired_tokens(refused: u64) -> Self {
        Self {
            refused,
            admitted: 0,
            mostly: Why::Token(TokenFault::Expired.word()),
            of_these: refused,
        }
    }
}

impl fmt::Display for ManyRefused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refused = counted(self.refused, "login of a page was", "logins of pages were");
        let admitted = match self.admitted {
            0 => "none was".to_owned(),
            some => counted(some, "was", "were"),
        };
        let mostly = if self.of_these < self.refused {
            "mostly "
        } else {
            ""
        };
        let (because, remedy) = (self.mostly.because(), self.mostly.remedy());
        write!(
            out,
            "{refused} refused in the last {WINDOW_MINUTES} minutes and {admitted} let in, {mostly}because {because}: {remedy}"
        )
    }
}

impl Hub {
    /// A page of another origin than those that may connect came from this address and was turned away.
    pub fn note_refused_origin(&self, origin: &str, from: IpAddr) {
        let (shared, now) = (&self.shared, self.shared.clock.now());
        shared.browser_tokens.refusals.refused_origin(origin, from, now);
    }
}

/// An origin that a sentence may repeat: an address of a page, and nothing else that somebody sends.
fn shown(origin: &str) -> String {
    let origin = Url::parse(origin).map(|url| url.origin());
    match origin {
        Ok(origin @ Origin::Tuple(..)) => Some(origin.ascii_serialization()),
        _ => None,
    }
    .filter(|text| text.len() <= ORIGIN_BYTES_MAX)
    .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::testing::now;

    fn address(number: u64) -> IpAddr {
        let [.., third, fourth] = number.to_be_bytes();
        [10, 0, third, fourth].into()
    }

    fn of_different(refusals: &Refusals, number: u64, fault: TokenFault) {
        (0..number).for_each(|number| refusals.refused(fault, address(number), now()));
    }

    fn said(refusals: &Refusals) -> Option<String> {
        refusals.lately(now()).map(|many| many.to_string())
    }

    #[test]
    fn a_shop_whose_pages_are_all_refused_is_said_with_the_reason_and_is_over_by_itself() {
        let refusals = Refusals::default();
        let proxy = address(1);
        for _ in 0..19 {
            refusals.refused(TokenFault::UnknownIssuer, proxy, now());
        }
        assert_eq!(said(&refusals), None);
        refusals.refused(TokenFault::UnknownIssuer, proxy, now());
        let all = "20 logins of pages were refused in the last 5 minutes and none was let in, because the issuer of their \
                   tokens is unknown: they are of another environment, or no `issuer` under [[mqtt.issuer]] is their `iss` to the letter";
        assert_eq!(said(&refusals).as_deref(), Some(all));
        refusals.refused(TokenFault::Expired, proxy, now());
        let mostly = said(&refusals).unwrap_or_default();
        assert!(
            mostly.contains("21 logins") && mostly.contains("mostly because the issuer"),
            "{mostly}"
        );
        assert!(
            refusals
                .lately(now() + TimeDelta::minutes(WINDOW_MINUTES))
                .is_none()
        );
    }

    #[test]
    fn it_is_said_while_as_many_are_refused_as_let_in() {
        let refusals = Refusals::default();
        of_different(&refusals, 30, TokenFault::Expired);
        (0..30).for_each(|_| refusals.admitted(now()));
        let sentence = said(&refusals).unwrap_or_default();
        assert!(
            sentence.starts_with("30 logins of pages were refused in the last 5 minutes and 30 were let in"),
            "{sentence}"
        );
        refusals.admitted(now());
        assert_eq!(said(&refusals), None);
    }

    #[test]
    fn one_robot_or_one_page_that_cannot_stop_is_no_alarm() {
        let robot = Refusals::default();
        (0..1_000).for_each(|_| robot.refused(TokenFault::Malformed, address(1), now()));
        (0..1_000).for_each(|_| robot.refused_soon(TokenFault::UnknownKey, address(1), now()));
        for number in 0..1_000_u16 {
            let of_one_site = [0x2001, 0xdb8, 1, number, 0, 0, 0, 1];
            robot.refused(TokenFault::Malformed, of_one_site.into(), now());
        }
        assert_eq!(said(&robot), None, "nobody else is there");

        let page = Refusals::default();
        page.admitted(now());
        (0..1_000).for_each(|_| page.refused(TokenFault::Expired, address(1), now()));
        assert_eq!(said(&page), None, "others are let in");

        let robots = Refusals::default();
        of_different(&robots, REFUSALS_MIN, TokenFault::Malformed);
        assert!(said(&robots).is_some(), "of many addresses it is one");
    }

    #[test]
    fn of_an_origin_only_what_is_one_is_repeated() {
        for (origin, expected) in [
            ("https://shop.example.com", "https://shop.example.com"),
            ("https://Shop.example.com:443/x?y#z", "https://shop.example.com"),
            ("https://a\u{1b}[31m.example", ""),
            ("null", ""),
            ("", ""),
            ("data:text/html,call 0800", ""),
        ] {
            assert_eq!(shown(origin), expected, "{origin}");
        }
        assert_eq!(shown(&format!("https://{}.example", "a.".repeat(60))), "");
        let refusals = Refusals::default();
        (0..20).for_each(|_| refusals.refused_origin("https://shop.example.com", address(1), now()));
        let sentence = said(&refusals).unwrap_or_default();
        assert!(
            sentence.contains("because pages of https://shop.example.com may not connect: "),
            "{sentence}"
        );
    }

    #[test]
    fn it_is_bounded_whoever_comes() {
        let refusals = Refusals::default();
        for minute in 0..100 {
            let now = now() + TimeDelta::minutes(minute);
            for number in 0..1_000 {
                refusals.refused_origin(&format!("https://{number}.example"), address(number), now);
            }
        }
        let minutes = refusals.minutes(now() + TimeDelta::minutes(99));
        assert_eq!(minutes.len(), 5);
        for minute in &*minutes {
            assert_eq!(minute.addresses.len(), ADDRESSES_MAX);
            assert!(minute.origins() <= ORIGINS_MAX + 1);
            assert_eq!(minute.of_others, 800);
        }
    }
}
