//! Signatures of Standard Webhooks 1.0.0
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>): HMAC-SHA256 over
//! id, timestamp and body.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac};
use sha2::Sha256;

const PREFIX: &str = "whsec_";
const KEY_MIN_BYTES: usize = 24;
const KEY_MAX_BYTES: usize = 64;
/// Keys that sign one message at most: the present one and those of a change under way.
const KEYS_MAX: usize = 4;
/// The only version of signatures with a shared key.
const VERSION: &str = "v1";

/// The keys that sign an adapter's messages, the first of them first.
#[derive(Clone)]
pub(super) struct Keys(Vec<Hmac<Sha256>>);

/// Why a text holds no keys. Never says what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyFault {
    #[error("it is not `whsec_` and {KEY_MIN_BYTES} to {KEY_MAX_BYTES} bytes in base64")]
    NoKey,
    #[error("it holds more than {KEYS_MAX} keys")]
    TooMany,
}

impl Keys {
    /// Reads keys with white space between them.
    pub(super) fn parse(text: &str) -> Result<Self, KeyFault> {
        let keys: Vec<_> = text.split_whitespace().map(key).collect::<Result<_, _>>()?;
        match keys.len() {
            0 => Err(KeyFault::NoKey),
            1..=KEYS_MAX => Ok(Self(keys)),
            _ => Err(KeyFault::TooMany),
        }
    }

    /// The header `webhook-signature`: a signature of each key.
    pub(super) fn sign(&self, id: &str, timestamp_s: i64, body: &[u8]) -> String {
        let signatures = self.0.iter().map(|key| {
            let mut signature = key.clone();
            signature.update(format!("{id}.{timestamp_s}.").as_bytes());
            signature.update(body);
            let bytes = signature.finalize().into_bytes();
            format!("{VERSION},{}", BASE64_STANDARD.encode(bytes))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }
}

fn key(text: &str) -> Result<Hmac<Sha256>, KeyFault> {
    let encoded = text.strip_prefix(PREFIX).ok_or(KeyFault::NoKey)?;
    let bytes = BASE64_STANDARD.decode(encoded).map_err(|_| KeyFault::NoKey)?;
    if !(KEY_MIN_BYTES..=KEY_MAX_BYTES).contains(&bytes.len()) {
        return Err(KeyFault::NoKey);
    }
    Hmac::new_from_slice(&bytes).map_err(|_| KeyFault::NoKey)
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The vector that the libraries of Standard Webhooks test themselves with.
    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn a_message_is_signed_as_everybody_signs_it() {
        let sign = |keys: &str| {
            let keys = Keys::parse(keys).unwrap();
            keys.sign(
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                br#"{"test": 2432232314}"#,
            )
        };
        assert_eq!(sign(KEY), SIGNED);
        let other = format!("whsec_{}", BASE64_STANDARD.encode([7; 64]));
        let both = sign(&format!("{other}\n{KEY}\n"));
        assert_eq!(both.split(' ').nth(1), Some(SIGNED));
    }

    #[test]
    fn what_is_no_key_is_said_so_and_not_shown() {
        let of = |bytes: usize| format!("whsec_{}", BASE64_STANDARD.encode(vec![1; bytes]));
        for text in [
            "",
            " ",
            "hunter2",
            "whsec_",
            "whsec_hunter2",
            &of(23),
            &of(65),
            &of(32)[6..],
        ] {
            let fault = Keys::parse(text).unwrap_err();
            assert_eq!(fault, KeyFault::NoKey, "{text}");
            assert!(!fault.to_string().contains("hunter2"));
        }
        for bytes in [24, 32, 64] {
            assert!(Keys::parse(&of(bytes)).is_ok());
        }
        let many = vec![of(24); KEYS_MAX + 1].join(" ");
        assert_eq!(Keys::parse(&many).unwrap_err(), KeyFault::TooMany);
        assert_eq!(format!("{:?}", Keys::parse(KEY).unwrap()), "Keys(1)");
    }
}
