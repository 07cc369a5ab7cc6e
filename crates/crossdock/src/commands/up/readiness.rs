//! Says in the log when something that the hub needs stays away, when it is back, and when all is there.

use std::{collections::BTreeMap, time::Duration};

use crossdock_engine::{Hub, ReadyCheck};
use tokio_util::sync::CancellationToken;

const INTERVAL: Duration = Duration::from_secs(1);
/// What is away for fewer readings in a row is not worth a line.
const READINGS: u32 = 3;

/// Something worth a line.
#[derive(Debug, PartialEq, Eq)]
enum News {
    Away { check: String, reason: String },
    Back { check: String },
    Ready,
}

/// Watches the hub's checks until `stop`.
pub(super) async fn announce(hub: Hub, stop: CancellationToken) -> &'static str {
    let mut watch = Watch::default();
    let mut ticks = tokio::time::interval(INTERVAL);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let Some(checks) = stop.run_until_cancelled(hub.readiness()).await else {
            break;
        };
        for news in watch.read(checks) {
            match news {
                News::Away { check, reason } => tracing::warn!("waiting for {check}: {reason}"),
                News::Back { check } => tracing::info!("{check} is back"),
                News::Ready => tracing::info!("ready: events flow"),
            }
        }
    }
    "the watch over readiness"
}

/// For how many readings each check has failed.
#[derive(Default)]
struct Watch {
    failing: BTreeMap<String, u32>,
    ready: bool,
}

impl Watch {
    fn read(&mut self, checks: Vec<ReadyCheck>) -> Vec<News> {
        let ready = checks.iter().all(|check| check.ok);
        let mut news = Vec::new();
        for ReadyCheck { name, ok, detail } in checks {
            if ok {
                let failed = self.failing.remove(&name).unwrap_or(0);
                if failed >= READINGS {
                    news.push(News::Back { check: name });
                }
                continue;
            }
            let failing = self.failing.entry(name.clone()).or_default();
            *failing = failing.saturating_add(1);
            if *failing == READINGS {
                self.ready = false;
                news.push(News::Away {
                    check: name,
                    reason: detail,
                });
            }
        }
        if ready && !self.ready {
            self.ready = true;
            news.push(News::Ready);
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(rabbitmq: bool) -> Vec<ReadyCheck> {
        let check = |name: &str, ok| ReadyCheck {
            name: name.into(),
            ok,
            detail: "refused".into(),
        };
        vec![check("database", true), check("rabbitmq", rabbitmq)]
    }

    #[test]
    fn what_stays_away_is_told_once_and_again_when_it_is_back() {
        let mut watch = Watch::default();
        let away = News::Away {
            check: "rabbitmq".into(),
            reason: "refused".into(),
        };
        let told: Vec<_> = (0..5).flat_map(|_| watch.read(checks(false))).collect();
        assert_eq!(told, [away]);
        assert_eq!(
            watch.read(checks(true)),
            [
                News::Back {
                    check: "rabbitmq".into()
                },
                News::Ready
            ]
        );
        assert!(watch.read(checks(true)).is_empty());
    }

    #[test]
    fn a_blink_is_not_worth_a_line() {
        let mut watch = Watch::default();
        assert_eq!(watch.read(checks(true)), [News::Ready]);
        assert!(watch.read(checks(false)).is_empty());
        assert!(watch.read(checks(true)).is_empty());
    }
}
