//! Logins of MQTT clients in the last minutes, so that an operator hears of a shop whose pages are not let in. Kept in
//! memory, of this hub's door only, and bounded whoever comes.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};
use crossdock_model::network::site;
use url::{Origin, Url};

use super::{BrowserTokens, Grants, LoginError, TOO_SOON, TokenFault};
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
    Token(TokenFault),
    /// A page of this origin, empty where it cannot be shown.
    Origin(String),
    /// Others from there failed before. Why this one would have is not said: it was not judged to the end.
    TooSoon,
}

/// So many refusals that somebody should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ManyRefused {
    refused: u64,
    admitted: u64,
    mostly: Why,
    /// There are other reasons.
    and_others: bool,
}

impl From<LoginError> for Why {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::TooSoon { .. } => Self::TooSoon,
            LoginError::Refused(fault) => Self::Token(fault),
        }
    }
}

impl Refusals {
    fn admitted(&self, now: DateTime<Utc>) {
        self.minutes(now).back_mut().expect("it has a minute").admitted += 1;
    }

    fn refused(&self, why: Why, from: IpAddr, now: DateTime<Utc>) {
        let mut minutes = self.minutes(now);
        minutes.back_mut().expect("it has a minute").count(why, from);
    }

    /// What an operator should know of the last minutes, if there is something; `clients` are here now.
    pub(crate) fn lately(&self, clients: u64, now: DateTime<Utc>) -> Option<ManyRefused> {
        let minutes = self.minutes(now);
        let (mut reasons, mut addresses) = (BTreeMap::<&Why, u64>::new(), HashMap::<IpAddr, u64>::new());
        for minute in &*minutes {
            for (why, count) in &minute.refused {
                *reasons.entry(why).or_default() += count;
            }
            for (address, count) in &minute.addresses {
                *addresses.entry(*address).or_default() += count;
            }
        }
        let refused: u64 = reasons.values().sum();
        let admitted: u64 = minutes.iter().map(|minute| minute.admitted).sum();
        let of_addresses = addresses.values().map(|count| (*count).min(OF_ONE_ADDRESS_MAX));
        let of_others = minutes.iter().map(|minute| minute.of_others);
        let of_many: u64 = of_addresses.chain(of_others).sum();
        // Behind a proxy that nobody named all have one address.
        let nobody_is_in = clients == 0 && admitted == 0;
        let is_shut = nobody_is_in && refused >= REFUSALS_MIN && reasons.keys().any(|why| why.is_of_a_page());
        if !is_shut && (of_many < REFUSALS_MIN || of_many < admitted) {
            return None;
        }
        // Who has to wait is one of those who failed before.
        if reasons.len() > 1 {
            reasons.remove(&Why::TooSoon);
        }
        let (mostly, _) = reasons.iter().max_by_key(|(_, count)| **count)?;
        Some(ManyRefused {
            refused,
            admitted,
            mostly: Why::clone(mostly),
            and_others: reasons.len() > 1,
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
    /// Whether something with the form of a token or an API key was shown, or a page came: not by whoever tries names and
    /// passwords.
    fn is_of_a_page(&self) -> bool {
        !matches!(self, Self::Token(TokenFault::Malformed) | Self::TooSoon)
    }

    /// What it is about, as the log, metrics and docs/browser-tokens.md call it, and what is wrong.
    fn told(&self) -> (&'static str, &'static str, String) {
        match self {
            Self::Token(fault) => ("token", fault.word(), fault.to_string()),
            Self::Origin(origin) => {
                let origin = Some(origin.as_str()).filter(|origin| !origin.is_empty());
                let pages = format!("pages of {} may not connect", origin.unwrap_or("it"));
                ("origin", "origin", pages)
            }
            Self::TooSoon => (
                "address",
                TOO_SOON,
                "too many others from there failed".to_owned(),
            ),
        }
    }

    fn remedy(&self) -> &'static str {
        let fault = match self {
            Self::Token(fault) => fault,
            Self::Origin(_) => {
                return "if they are yours, list it in `allowed_origins` of [http] and restart the hub";
            }
            Self::TooSoon => return "behind a reverse proxy set `trusted_proxies` in [http]",
        };
        match fault {
            TokenFault::Malformed => "the MQTT password has to be the token, as the hub gave it",
            TokenFault::ApiKey => "that is for their backend to do",
            TokenFault::Expired => "a page has to fetch a fresh one at each connect",
            TokenFault::NotYet => "compare the clock of who issues them with the hub's",
            TokenFault::Revoked => "somebody did, or removed the API key that minted it",
            TokenFault::UnknownKey | TokenFault::Signature => {
                "it is of another environment, was cut off on the way, or `jwks_url` is another issuer's"
            }
            TokenFault::UnknownIssuer => {
                "it is of another environment, or no `issuer` under [[mqtt.issuer]] is its `iss` to the letter"
            }
            TokenFault::Audience => "`audience` under [[mqtt.issuer]] has to be its `aud` to the letter",
            TokenFault::Topics => "look at `topics`, or `within`, under [[mqtt.issuer]]",
            TokenFault::TooLong
            | TokenFault::Critical
            | TokenFault::NoKeyId
            | TokenFault::Algorithm
            | TokenFault::LivesTooLong
            | TokenFault::Claim(_) => "have the identity provider issue others",
            TokenFault::KeysUnavailable => "the hub's log says why",
        }
    }
}

#[cfg(test)]
impl ManyRefused {
    pub(crate) fn of_expired_tokens(refused: u64) -> Self {
        Self {
            refused,
            admitted: 0,
            mostly: Why::Token(TokenFault::Expired),
            and_others: false,
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
        let mostly = if self.and_others { "mostly " } else { "" };
        let ((what, word, wrong), remedy) = (self.mostly.told(), self.mostly.remedy());
        write!(
            out,
            "{refused} refused in the last {WINDOW_MINUTES} minutes and {admitted} let in, {mostly}because of their {what} \
             (`{word}`: {wrong}): {remedy}"
        )
    }
}

impl BrowserTokens {
    /// A login to stay, which counts: one page reads topics over HTTP as often as it likes.
    pub(crate) async fn connect(
        &self,
        token: &str,
        from: IpAddr,
        now: DateTime<Utc>,
    ) -> Result<Grants, LoginError> {
        let login = self.log_in(token, from, now).await;
        match &login {
            Ok(_) => self.refusals.admitted(now),
            Err(error) => self.refusals.refused((*error).into(), from, now),
        }
        login
    }
}

impl Hub {
    /// As [`log_in_browser`](Hub::log_in_browser), for somebody who connects to MQTT: the operator is told where many are
    /// refused.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub async fn connect_browser(&self, token: &str, from: IpAddr) -> Result<Grants, LoginError> {
        let now = self.shared.clock.now();
        self.shared.browser_tokens.connect(token, from, now).await
    }

    /// A page of another origin than those that may connect came from this address and was turned away.
    pub fn note_refused_origin(&self, origin: &str, from: IpAddr) {
        let (shared, now) = (&self.shared, self.shared.clock.now());
        let why = Why::Origin(shown(origin));
        shared.browser_tokens.refusals.refused(why, from, now);
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
