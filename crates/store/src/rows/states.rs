//! Rows of live state.

use crossdock_model::topic::TopicName;

use crate::projection::Kept;
use crate::states::LatestState;
use crate::stored::{from_json, number, time_if_any};
use crate::{Result, StoreError};

#[derive(sqlx::FromRow)]
pub(crate) struct StateRow {
    topic: String,
    version: i64,
    time: String,
    data: String,
    memory: String,
    expires: Option<i64>,
}

impl StateRow {
    pub(crate) fn kept(self) -> Result<(TopicName, Kept)> {
        let topic = TopicName::new(&self.topic)
            .map_err(|error| StoreError::Corrupt(format!("states.topic: {error}")))?;
        let time = self
            .time
            .parse()
            .map_err(|error| StoreError::Corrupt(format!("states.time: {error}")))?;
        let kept = Kept {
            version: number("states.version", self.version)?,
            time,
            memory: from_json("states.memory", &self.memory)?,
            data: self.data,
            expires: time_if_any(self.expires)?,
        };
        Ok((topic, kept))
    }

    pub(crate) fn state(self) -> Result<LatestState> {
        self.kept().map(|(topic, kept)| kept.state(topic))
    }
}

/// A version as a column holds it.
pub(crate) fn version(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}
