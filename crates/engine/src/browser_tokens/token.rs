//! A JSON Web Token (RFC 7519, signed as RFC 7515 says) as it comes: taken apart, verified with one key by the one
//! algorithm of that key, and held against the clock. It knows nothing of whose key it is or what the topics mean.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::TokenFault;
use crate::keys::KEY_PREFIX;

/// The longest browser token that is looked at, in bytes.
pub const BROWSER_TOKEN_MAX_BYTES: usize = 8 * 1024;
/// The longest that a token lives.
pub(crate) const LIFE_MAX: TimeDelta = TimeDelta::hours(1);
/// How far the clocks of those who issue and those who verify may be apart.
pub(super) const SKEW: TimeDelta = TimeDelta::seconds(60);

/// The longest name of a key or a token, and the longest subject, in bytes.
pub(super) const NAME_MAX_BYTES: usize = 255;

/// A token that nobody has verified.
pub(super) struct Unverified<'a> {
    head: Head,
    claims: Map<String, Value>,
    /// What is signed.
    message: &'a str,
    signature: &'a str,
}

#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood; none is here.
    crit: Option<Value>,
}

/// What a key that verifies can be asked.
pub(super) struct Verifier {
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// What a verified token says.
pub(super) struct Claims(Map<String, Value>);

/// When a token was issued and when it ends, within the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lifetime {
    pub(super) issued: DateTime<Utc>,
    pub(super) expires: DateTime<Utc>,
}

impl<'a> Unverified<'a> {
    pub(super) fn read(token: &'a str) -> Result<Self, TokenFault> {
        if token.len() > BROWSER_TOKEN_MAX_BYTES {
            return Err(TokenFault::TooLong);
        }
        if token.starts_with(KEY_PREFIX) {
            return Err(TokenFault::ApiKey);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenFault::Malformed)?;
        let (head, claims) = message.split_once('.').ok_or(TokenFault::Malformed)?;
        let unverified = Self {
            head: part(head)?,
            claims: part(claims)?,
            message,
            signature,
        };
        match unverified.head.crit {
            Some(_) => Err(TokenFault::Critical),
            None => Ok(unverified),
        }
    }

    /// Who it says has issued it: only whose keys are to be asked.
    pub(super) fn issuer(&self) -> Result<&str, TokenFault> {
        let issuer = self.claims.get("iss").and_then(Value::as_str);
        issuer.ok_or(TokenFault::Claim("iss"))
    }

    /// The key by which it says it was signed.
    pub(super) fn kid(&self) -> Result<&str, TokenFault> {
        let kid = self.head.kid.as_deref().filter(|kid| !kid.is_empty());
        let kid = kid.ok_or(TokenFault::NoKeyId)?;
        match kid.len() <= NAME_MAX_BYTES {
            true => Ok(kid),
            false => Err(TokenFault::UnknownKey),
        }
    }

    /// Its claims, if that key signed it by its own algorithm and no other.
    pub(super) fn verified(self, by: &Verifier) -> Result<Claims, TokenFault> {
        if self.head.alg.parse() != Ok(by.algorithm) {
            return Err(TokenFault::Algorithm);
        }
        match crypto::verify(self.signature, self.message.as_bytes(), &by.key, by.algorithm) {
            Ok(true) => Ok(Claims(self.claims)),
            Ok(false) | Err(_) => Err(TokenFault::Signature),
        }
    }
}

fn part<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, TokenFault> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| TokenFault::Malformed)
}

impl Claims {
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A claim that is a text of a length that names have.
    pub(super) fn name(&self, claim: &'static str) -> Result<&str, TokenFault> {
        let name = self.0.get(claim).and_then(Value::as_str);
        name.filter(|name| (1..=NAME_MAX_BYTES).contains(&name.len()))
            .ok_or(TokenFault::Claim(claim))
    }

    /// The texts of a claim that is a list of them.
    pub(super) fn list(&self, claim: &str) -> Option<Vec<&str>> {
        let items = self.0.get(claim)?.as_array()?;
        items.iter().map(Value::as_str).collect()
    }

    /// That it is for `audience`, among others perhaps.
    pub(super) fn must_be_for(&self, audience: &str) -> Result<(), TokenFault> {
        let is_for = match self.0.get("aud") {
            Some(Value::String(one)) => one == audience,
            Some(Value::Array(several)) => several.iter().any(|one| one == audience),
            Some(_) => false,
            None => return Err(TokenFault::Claim("aud")),
        };
        is_for.then_some(()).ok_or(TokenFault::Audience)
    }

    /// That it is good at `now`, and does not live longer than any token may.
    pub(super) fn lifetime(&self, now: DateTime<Utc>) -> Result<Lifetime, TokenFault> {
        let time = |claim| self.time(claim)?.ok_or(TokenFault::Claim(claim));
        let (issued, expires) = (time("iat")?, time("exp")?);
        if expires - issued > LIFE_MAX {
            return Err(TokenFault::LivesTooLong);
        }
        if expires <= now || expires <= issued {
            return Err(TokenFault::Expired);
        }
        let begins = self.time("nbf")?.unwrap_or(issued).max(issued);
        if begins > now + SKEW {
            return Err(TokenFault::NotYet);
        }
        Ok(Lifetime { issued, expires })
    }

    /// A NumericDate (RFC 7519, section 2), whose fraction of a second is cut off.
    fn time(&self, claim: &'static str) -> Result<Option<DateTime<Utc>>, TokenFault> {
        let Some(value) = self.0.get(claim) else {
            return Ok(None);
        };
        let seconds = value
            .as_i64()
            .or_else(|| value.as_f64().map(|seconds| seconds.floor() as i64))
            .filter(|seconds| (0..YEAR_9999_S).contains(seconds));
        let time = seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        time.map(Some).ok_or(TokenFault::Claim(claim))
    }
}

/// The end of the year 9999, in seconds since 1970: beyond it are no times here.
const YEAR_9999_S: i64 = 253_402_300_800;
