//! Rows of what operators set up, and of hubs.

use crate::adapters::AdapterCredential;
use crate::api_keys::ApiKey;
use crate::endpoints::DisabledEndpoint;
use crate::hubs::HubBeat;
use crate::revisions::{Revision, RevisionFile, RevisionSummary};
use crate::stored::{from_json, number, time, time_if_any};
use crate::{Result, StoreError};

#[derive(sqlx::FromRow)]
pub(crate) struct RevisionRow {
    number: i64,
    created: i64,
    author: String,
    note: Option<String>,
    digest: String,
}

impl RevisionRow {
    pub(crate) fn summary(self) -> Result<RevisionSummary> {
        Ok(RevisionSummary {
            number: number("revisions.number", self.number)?,
            created: time(self.created)?,
            author: self.author,
            note: self.note,
            digest: self.digest,
        })
    }

    /// With its files: path and text.
    pub(crate) fn revision(self, files: Vec<(String, String)>) -> Result<Revision> {
        let files = files
            .into_iter()
            .map(|(path, text)| RevisionFile { path, text })
            .collect();
        Ok(Revision {
            summary: self.summary()?,
            files,
        })
    }
}

#[derive(sqlx::FromRow)]
pub(crate) struct ApiKeyRow {
    id: String,
    name: String,
    hash: Vec<u8>,
    scopes: String,
    topics: String,
    adapter: Option<String>,
    created: i64,
    expires: Option<i64>,
    revoked: Option<i64>,
    last_used: Option<i64>,
}

impl ApiKeyRow {
    pub(crate) fn key(self) -> Result<ApiKey> {
        let hash = self.hash.try_into().map_err(|hash: Vec<u8>| {
            StoreError::Corrupt(format!("api_keys.hash: expected 32 bytes, found {}", hash.len()))
        })?;
        Ok(ApiKey {
            id: self.id,
            name: self.name,
            hash,
            scopes: from_json("api_keys.scopes", &self.scopes)?,
            topics: from_json("api_keys.topics", &self.topics)?,
            adapter: self.adapter,
            created: time(self.created)?,
            expires: time_if_any(self.expires)?,
            revoked: time_if_any(self.revoked)?,
            last_used: time_if_any(self.last_used)?,
        })
    }
}

#[derive(sqlx::FromRow)]
pub(crate) struct CredentialRow {
    adapter: String,
    generation: i64,
    api_key_id: String,
    created: i64,
    retired: Option<i64>,
}

impl CredentialRow {
    pub(crate) fn credential(self) -> Result<AdapterCredential> {
        Ok(AdapterCredential {
            adapter: self.adapter,
            generation: number("adapter_credentials.generation", self.generation)?,
            api_key_id: self.api_key_id,
            created: time(self.created)?,
            retired: time_if_any(self.retired)?,
        })
    }
}

#[derive(sqlx::FromRow)]
pub(crate) struct EndpointRow {
    adapter: String,
    url: String,
    revision: i64,
    reason: String,
    at: i64,
}

impl EndpointRow {
    pub(crate) fn endpoint(self) -> Result<DisabledEndpoint> {
        Ok(DisabledEndpoint {
            adapter: self.adapter,
            url: self.url,
            revision: number("disabled_endpoints.revision", self.revision)?,
            reason: self.reason,
            at: time(self.at)?,
        })
    }
}

#[derive(sqlx::FromRow)]
pub(crate) struct HubRow {
    hub_id: String,
    host: String,
    version: String,
    config_digest: String,
    revision: Option<i64>,
    at: i64,
}

impl HubRow {
    pub(crate) fn beat(self) -> Result<HubBeat> {
        Ok(HubBeat {
            hub_id: self.hub_id,
            host: self.host,
            version: self.version,
            config_digest: self.config_digest,
            revision: self
                .revision
                .map(|value| number("hubs.revision", value))
                .transpose()?,
            at: time(self.at)?,
        })
    }
}
