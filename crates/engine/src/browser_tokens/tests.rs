#![allow(clippy::unwrap_used)]

mod faults;
mod minting;
mod outside;
mod revoking;
mod signing;
mod table;

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use chrono::TimeDelta;
use crossdock_store::StoreError;
use tempfile::TempDir;

use super::*;
use crate::testing::{Moody, database, now};

const ENVIRONMENT: &str = "crossdock:test";
const KEY: &str = "abcdefabcdef";

fn at(second: i64) -> DateTime<Utc> {
    now() + TimeDelta::seconds(second)
}

fn filter(text: &str) -> TopicFilter {
    TopicFilter::new(text).unwrap()
}

fn grantor(topics: &[&str]) -> keys::Grantor {
    keys::Grantor {
        id: KEY.into(),
        topics: topics.iter().map(|text| filter(text)).collect(),
        expires: None,
    }
}

fn asked(topics: &[&str]) -> NewBrowserToken {
    NewBrowserToken {
        topics: topics.iter().map(|&text| text.into()).collect(),
        subject: "customer-1".into(),
        expires_in_s: None,
    }
}

fn no_outbound() -> Outbound {
    Outbound::new(Vec::new()).unwrap()
}

impl BrowserTokens {
    /// What a hub does every few seconds.
    async fn look_again(&self, now: DateTime<Utc>) -> Result<(), EngineError> {
        self.read_revocations(now).await?;
        self.read_keys(now).await
    }
}

/// A database that can be away, and the hubs that use it.
struct Place {
    store: Store,
    database: Arc<Moody>,
    away: Arc<AtomicBool>,
    asked: Arc<AtomicU32>,
    _folder: TempDir,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (away, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (is_away, count) = (away.clone(), asked.clone());
        let database = Moody::store(database(&folder).await, move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            is_away
                .load(Ordering::SeqCst)
                .then(|| StoreError::Unavailable("away".into()))
        });
        Self {
            store: database.clone(),
            database,
            away,
            asked,
            _folder: folder,
        }
    }

    fn hub(&self) -> BrowserTokens {
        self.hub_with(Vec::new(), &no_outbound())
    }

    fn hub_with(&self, issuers: Vec<TokenIssuer>, outbound: &Outbound) -> BrowserTokens {
        BrowserTokens::new(
            self.store.clone(),
            ENVIRONMENT.into(),
            "https://hub.example.com",
            issuers,
            outbound,
        )
    }
}

/// A token for these topics, minted at `now()` for a quarter of an hour.
async fn minted(hub: &BrowserTokens, topics: &[&str]) -> BrowserToken {
    hub.mint(asked(topics), &grantor(&["#"]), now()).await.unwrap()
}
