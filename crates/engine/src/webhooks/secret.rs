//! Where an adapter's keys come from: a file or an environment variable of this hub's machine. A secret that cannot be
//! had is an alarm, and its events wait.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::{PART, Webhook, signature::Keys};
use crate::shared::Shared;

/// What of a file is read for keys.
const FILE_MAX_BYTES: u64 = 16 * 1024;
/// How often a secret that cannot be had is looked for.
const MISSING_ROUND: Duration = Duration::from_secs(2);

/// Looks for the keys until they are there; `None` if the sender stops first.
pub(super) async fn wait_for(
    shared: &Arc<Shared>,
    webhook: &Webhook,
    stop: &CancellationToken,
) -> Option<Keys> {
    loop {
        match look(shared, webhook).await {
            Ok(keys) => {
                shared.webhooks.is_well(shared, &webhook.adapter);
                return Some(keys);
            }
            Err(reason) => {
                shared.webhooks.is_troubled(&webhook.adapter, &reason);
                tokio::select! {
                    () = stop.cancelled() => return None,
                    () = tokio::time::sleep(MISSING_ROUND) => {}
                }
            }
        }
    }
}

/// The keys as they are now. Where there are none the alarm says why.
pub(super) async fn look(shared: &Arc<Shared>, webhook: &Webhook) -> Result<Keys, String> {
    let (reference, data_dir) = (webhook.secret.clone(), shared.data_dir.clone());
    let variable = shared.webhooks.variable;
    let looked = tokio::task::spawn_blocking(move || {
        let text = reference
            .resolve(|path| read(&data_dir.join(path)), variable)
            .map_err(|error| error.to_string())?;
        Keys::parse(&text).map_err(|fault| fault.to_string())
    })
    .await;
    let about = format!("{} secret", webhook.adapter);
    let reason = match looked {
        Ok(Ok(keys)) => {
            shared.alarms.clear(PART, &about);
            return Ok(keys);
        }
        Ok(Err(reason)) => reason,
        Err(error) => error.to_string(),
    };
    let reason = format!("the secret cannot be used on {}: {reason}", shared.host);
    shared
        .alarms
        .raise(PART, &about, format!("{}: {reason}", webhook.adapter));
    Err(reason)
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}
