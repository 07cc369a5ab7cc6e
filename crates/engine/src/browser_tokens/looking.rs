//! Looks again and again at what other hubs revoked, at their keys, and at the keys of outside issuers. None waits for
//! another: neither a key that is made slowly nor an identity provider that does not answer holds up a revocation.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::BrowserTokens;
use crate::{EngineError, shared::Shared};

/// How often keys and revocations of other hubs are looked for: what one of them revoked is over here so much later.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How many looks at keys pass between two at what can be forgotten.
const LOOKS_TO_FORGETTING: u32 = 300;

/// Looks at what other hubs and outside issuers did, until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let tokens = &shared.browser_tokens;
    let revocations = async {
        loop {
            note(tokens.read_revocations(shared.clock.now()).await);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let keys = async {
        let mut looks = 0_u32;
        loop {
            let forgets = looks.is_multiple_of(LOOKS_TO_FORGETTING);
            note(look_at_keys(tokens, shared.clock.now(), forgets).await);
            looks = looks.wrapping_add(1);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let issuers = async {
        loop {
            tokens.issuers.look_after(shared.clock.now()).await;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = revocations => {}
        () = keys => {}
        () = issuers => {}
    }
}

async fn look_at_keys(tokens: &BrowserTokens, now: DateTime<Utc>, forgets: bool) -> Result<(), EngineError> {
    tokens.read_keys(now).await?;
    if forgets {
        tokens.store.forget_tokens(now).await?;
    }
    Ok(())
}

fn note(looked: Result<(), EngineError>) {
    if let Err(error) = looked {
        tracing::debug!(%error, "what is known of browser tokens could not be read again");
    }
}
