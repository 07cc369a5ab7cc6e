//! Reads a JSON Web Key Set (RFC 7517). A key counts that has a name, is for signatures, and is of a kind with a public
//! half; each verifies by one algorithm. What is not understood is passed over, as section 5 asks for.

use std::{collections::HashMap, sync::Arc};

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

use super::token::{NAME_MAX_BYTES, Verifier};

/// Keys of a set that are looked at.
const KEYS_MAX: usize = 100;

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

/// The keys of a set that count, by name: perhaps none.
///
/// # Errors
/// When it is no set.
pub(super) fn read(json: &[u8]) -> Result<HashMap<String, Arc<Verifier>>, String> {
    let set: KeySet = serde_json::from_slice(json)
        .map_err(|_| "its answer is no JSON Web Key Set, expected an object with keys".to_owned())?;
    Ok(set.keys.into_iter().take(KEYS_MAX).filter_map(key).collect())
}

fn key(value: Value) -> Option<(String, Arc<Verifier>)> {
    let key: Jwk = serde_json::from_value(value).ok()?;
    let kid = key.common.key_id.clone()?;
    if !is_for_signatures(&key) || !(1..=NAME_MAX_BYTES).contains(&kid.len()) {
        return None;
    }
    let algorithm = algorithm(&key)?;
    let verifier = Verifier {
        algorithm,
        key: DecodingKey::from_jwk(&key).ok()?,
    };
    Some((kid, Arc::new(verifier)))
}

/// By what it says of its use and of its operations, either of which may be left out.
fn is_for_signatures(key: &Jwk) -> bool {
    let operations = key.common.key_operations.as_deref();
    matches!(key.common.public_key_use, None | Some(PublicKeyUse::Signature))
        && operations.is_none_or(|known| known.contains(&KeyOperations::Verify))
}

/// The algorithm of a key: the one that it names, if its kind has it, or the usual one of its kind. None of a kind
/// whose secret both sides share.
fn algorithm(key: &Jwk) -> Option<Algorithm> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let possible: &[Algorithm] = match &key.algorithm {
        AlgorithmParameters::RSA(_) => &[RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
            EllipticCurve::P256 => &[ES256],
            EllipticCurve::P384 => &[ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => &[EdDSA],
        _ => return None,
    };
    match key.common.key_algorithm {
        Some(named) => possible.iter().copied().find(|known| named == (*known).into()),
        None => possible.first().copied(),
    }
}
