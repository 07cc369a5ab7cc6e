//! Looks again and again at what other hubs did with tokens, and at the keys of outside issuers. Neither waits for the
//! other: an identity provider that does not answer holds up no revocation.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::BrowserTokens;
use crate::{EngineError, shared::Shared};

/// How often keys and revocations of other hubs are looked for: what one of them revoked is over here so much later.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How many looks pass between two at what can be forgotten.
const LOOKS_TO_FORGETTING: u32 = 300;

/// Looks at what other hubs and outside issuers did, until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let tokens = &shared.browser_tokens;
    let hubs = async {
        let mut looks = 0_u32;
        loop {
            let now = shared.clock.now();
            let looked = look(tokens, now, looks.is_multiple_of(LOOKS_TO_FORGETTING)).await;
            if let Err(error) = looked {
                tracing::debug!(%error, "what is known of browser tokens could not be read again");
            }
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
        () = hubs => {}
        () = issuers => {}
    }
}

async fn look(
    tokens: &BrowserTokens,
    now: chrono::DateTime<chrono::Utc>,
    forgets: bool,
) -> Result<(), EngineError> {
    tokens.look_again(now).await?;
    if forgets {
        tokens.store.forget_tokens(now).await?;
    }
    Ok(())
}
