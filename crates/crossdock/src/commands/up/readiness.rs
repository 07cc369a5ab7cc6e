//! Says in the log when something that the hub needs goes away, and when it is back.

use std::{collections::HashMap, time::Duration};

use crossdock_engine::{Hub, ReadyCheck};
use tokio_util::sync::CancellationToken;

const INTERVAL: Duration = Duration::from_secs(1);

/// What was last said of each check.
type Told = HashMap<String, bool>;

/// Watches the hub's checks until `stop`.
pub(super) async fn announce(hub: Hub, stop: CancellationToken) -> &'static str {
    let mut told = Told::new();
    let mut ticks = tokio::time::interval(INTERVAL);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let Some(checks) = stop.run_until_cancelled(hub.readiness()).await else {
            break;
        };
        let all_ready = checks.iter().all(|check| check.ok);
        for check in changed(&mut told, checks) {
            if check.ok {
                tracing::info!(check = check.name, "{}: {}", check.name, check.detail);
            } else {
                tracing::warn!(check = check.name, "waiting for {}: {}", check.name, check.detail);
            }
        }
        if told.insert(String::new(), all_ready) == Some(false) && all_ready {
            tracing::info!("ready: events flow");
        }
    }
    "the watch over readiness"
}

/// The checks that say something else than before.
fn changed(told: &mut Told, checks: Vec<ReadyCheck>) -> Vec<ReadyCheck> {
    checks.into_iter().filter(|check| told.insert(check.name.clone(), check.ok) != Some(check.ok)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, ok: bool) -> ReadyCheck {
        ReadyCheck { name: name.into(), ok, detail: String::new() }
    }

    #[test]
    fn only_changes_are_told() {
        let mut told = Told::new();
        assert_eq!(changed(&mut told, vec![check("rabbitmq", false), check("database", true)]).len(), 2);
        assert!(changed(&mut told, vec![check("rabbitmq", false), check("database", true)]).is_empty());
        assert_eq!(changed(&mut told, vec![check("rabbitmq", true), check("database", true)]), [check("rabbitmq", true)]);
    }
}
