//! Adapters as operators see them, and their credentials: a RabbitMQ user and an API key per generation,
//! written once to `<data dir>/adapters/<name>.env` (mode 0600). Passwords are in RabbitMQ and that file, and
//! nowhere else.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
};

use crossdock_bus::{credentials, management::QueueInfo, names};
use crossdock_store::AdapterCredential;

use crate::{
    AdapterLedger, AdapterView, EngineError, Hub, IssuedCredentials, NewKey, QueueView, Scope, hub::Shared,
    ledger, routing::Routing,
};

/// What an adapter's key may do besides sending its own events.
const ADAPTER_SCOPES: [Scope; 1] = [Scope::EventsWrite];

/// Makes sure the adapter can connect. First credentials are issued here; users that a new or emptied broker
/// does not know are made again from the env file.
pub(crate) async fn ensure_credentials(
    shared: &Shared,
    adapter: &str,
    credentials: &[AdapterCredential],
    users: &BTreeSet<String>,
) -> Result<(), EngineError> {
    let active: Vec<_> = credentials
        .iter()
        .filter(|c| c.adapter == adapter && c.retired.is_none())
        .collect();
    let Some(newest) = active.iter().map(|c| c.generation).max() else {
        return issue(shared, adapter, credentials).await.map(|_| ());
    };
    let kept = EnvFile::read(shared, adapter);
    for credential in active {
        let user = names::user_name(adapter, credential.generation);
        if users.contains(&user) {
            continue;
        }
        match kept.as_ref().and_then(|file| file.password_of(&user)) {
            Some(password) => {
                credentials::issue(&shared.management, adapter, credential.generation, &password).await?;
                tracing::info!(user, "a user that RabbitMQ did not know was made again");
            }
            None => tracing::warn!(
                user,
                "RabbitMQ does not know this user; `crossdock adapter rotate` issues another"
            ),
        }
    }
    // The private node may have moved to another port, and the hub to another address.
    if let Some(file) = kept
        && let Some(password) = file.password_of(&names::user_name(adapter, newest))
    {
        let user = names::user_name(adapter, newest);
        let url = credentials::url_for(&shared.address.url, &user, &password)?;
        if file.get(ENV_AMQP_URL) != Some(&url) || file.get(ENV_URL) != Some(&shared.public_url) {
            let api_key = file.get(ENV_API_KEY).cloned().unwrap_or_default();
            EnvFile::new(shared, adapter, url, api_key).write(shared, adapter)?;
        }
    }
    Ok(())
}

async fn issue(
    shared: &Shared,
    adapter: &str,
    known: &[AdapterCredential],
) -> Result<IssuedCredentials, EngineError> {
    let generation = known
        .iter()
        .filter(|c| c.adapter == adapter)
        .map(|c| c.generation)
        .max()
        .unwrap_or(0)
        + 1;
    let user = names::user_name(adapter, generation);
    let password = credentials::new_password(&mut rand::rng());
    let amqp_url = credentials::url_for(&shared.address.url, &user, &password)?;
    let now = shared.clock.now();
    let key = NewKey {
        name: user.clone(),
        scopes: ADAPTER_SCOPES.to_vec(),
        adapter: Some(adapter.to_owned()),
        expires: None,
    };
    let (key, api_key) = shared.keys.add(key, now).await?;
    credentials::issue(&shared.management, adapter, generation, &password).await?;
    let env_file = EnvFile::new(shared, adapter, amqp_url.clone(), api_key.clone()).write(shared, adapter)?;
    let credential = AdapterCredential {
        adapter: adapter.to_owned(),
        generation,
        api_key_id: key.id,
        created: now,
        retired: None,
    };
    shared.store.add_adapter_credential(credential).await?;
    tracing::info!(user, file = env_file, "credentials were issued");
    Ok(IssuedCredentials {
        user,
        amqp_url,
        api_key,
        env_file,
    })
}

/// Ends one generation: its RabbitMQ user with all its connections, and its API key.
pub(crate) async fn end_generation(
    shared: &Shared,
    credential: &AdapterCredential,
) -> Result<(), EngineError> {
    let now = shared.clock.now();
    credentials::delete(&shared.management, &credential.adapter, credential.generation).await?;
    shared.keys.revoke(&credential.api_key_id, now).await?;
    shared
        .store
        .retire_adapter_credential(&credential.adapter, credential.generation, now)
        .await?;
    Ok(())
}

impl Hub {
    /// Every adapter of the revision in force, by name.
    ///
    /// # Errors
    /// `Unavailable` without a database. A broker that is away shows as state `unknown`.
    pub async fn adapters(&self) -> Result<Vec<AdapterView>, EngineError> {
        let shared = &self.shared;
        let routing = shared.routing.load_full();
        let queues = shared.management.queues().await.ok().map(by_name);
        let lines = ledger::lines(shared, &routing, queues.as_ref()).await?;
        let credentials = shared.store.adapter_credentials(None).await?;
        Ok(routing
            .adapters
            .keys()
            .map(|name| {
                let users = credentials
                    .iter()
                    .filter(|c| &c.adapter == name && c.retired.is_none());
                let users = users.map(|c| names::user_name(name, c.generation)).collect();
                let queue = queues
                    .as_ref()
                    .map(|known| known.get(&names::adapter_queue(name)));
                view(
                    &routing,
                    name,
                    queue,
                    lines.get(name).cloned().unwrap_or_default(),
                    users,
                )
            })
            .collect())
    }

    /// One adapter.
    ///
    /// # Errors
    /// `NotFound`, or `Unavailable` without a database.
    pub async fn adapter(&self, name: &str) -> Result<AdapterView, EngineError> {
        let found = self
            .adapters()
            .await?
            .into_iter()
            .find(|adapter| adapter.name == name);
        found.ok_or_else(|| self.no_adapter(name))
    }

    /// Issues the next generation of an adapter's credentials; the present ones hold until
    /// [`Hub::finish_rotation`].
    ///
    /// # Errors
    /// `NotFound`; `Unavailable` without database or broker.
    pub async fn rotate(&self, name: &str) -> Result<IssuedCredentials, EngineError> {
        let shared = &self.shared;
        let _one_at_a_time = shared.changing.lock().await;
        if !shared.routing.load().adapters.contains_key(name) {
            return Err(self.no_adapter(name));
        }
        let known = shared.store.adapter_credentials(Some(name)).await?;
        issue(shared, name, &known).await
    }

    /// Ends every generation but the newest and returns the RabbitMQ users that ended.
    ///
    /// # Errors
    /// `NotFound`; `Unavailable` without database or broker.
    pub async fn finish_rotation(&self, name: &str) -> Result<Vec<String>, EngineError> {
        let shared = &self.shared;
        let _one_at_a_time = shared.changing.lock().await;
        if !shared.routing.load().adapters.contains_key(name) {
            return Err(self.no_adapter(name));
        }
        let known = shared.store.adapter_credentials(Some(name)).await?;
        let newest = known.iter().map(|c| c.generation).max().unwrap_or(0);
        let mut ended = Vec::new();
        for credential in known
            .iter()
            .filter(|c| c.retired.is_none() && c.generation != newest)
        {
            end_generation(shared, credential).await?;
            ended.push(names::user_name(name, credential.generation));
        }
        Ok(ended)
    }

    /// The queues of Crossdock, by name.
    ///
    /// # Errors
    /// `Unavailable` without a broker.
    pub async fn queues(&self) -> Result<Vec<QueueView>, EngineError> {
        let queues = self.shared.management.queues().await?;
        let mut views: Vec<_> = queues
            .iter()
            .filter(|queue| queue.name.starts_with("crossdock."))
            .map(queue_view)
            .collect();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(views)
    }

    fn no_adapter(&self, name: &str) -> EngineError {
        let revision = self.shared.routing.load().revision;
        EngineError::NotFound(format!("there is no adapter {name:?} in revision {revision}"))
    }
}

pub(crate) fn by_name(queues: Vec<QueueInfo>) -> BTreeMap<String, QueueInfo> {
    queues
        .into_iter()
        .map(|queue| (queue.name.clone(), queue))
        .collect()
}

/// `queue`: `None` while the broker does not answer, `Some(None)` if it has no such queue.
fn view(
    routing: &Routing,
    name: &str,
    queue: Option<Option<&QueueInfo>>,
    line: ledger::Line,
    users: Vec<String>,
) -> AdapterView {
    let manifest = &routing.adapters[name];
    let known = queue.flatten();
    let waiting = known.map_or(0, |queue| queue.ready.unwrap_or(0) + queue.unacked.unwrap_or(0));
    let state = match (queue, known) {
        (None, _) => "unknown",
        (_, Some(queue)) if queue.consumers > 0 => "live",
        _ if waiting > 0 => "waiting",
        _ => "idle",
    };
    AdapterView {
        name: name.to_owned(),
        description: manifest.description.clone(),
        source: manifest.source.clone(),
        publishes: manifest.publishes.clone(),
        subscribes: manifest
            .subscribe
            .iter()
            .flat_map(|s| s.types.iter().map(ToString::to_string))
            .collect(),
        delivery: "amqp".to_owned(),
        state: state.to_owned(),
        queue: known.map(queue_view),
        auto_ack_consumers: known
            .map(|queue| queue.auto_ack_consumers.clone())
            .unwrap_or_default(),
        oldest_pending: line.oldest_pending,
        last_settled: line.last_settled,
        ledger: AdapterLedger {
            adapter: name.to_owned(),
            ..line.figures
        },
        users,
    }
}

fn queue_view(queue: &QueueInfo) -> QueueView {
    QueueView {
        name: queue.name.clone(),
        ready: queue.ready.unwrap_or(0),
        unacked: queue.unacked.unwrap_or(0),
        consumers: queue.consumers,
    }
}

const ENV_ADAPTER: &str = "CROSSDOCK_ADAPTER";
const ENV_AMQP_URL: &str = "CROSSDOCK_AMQP_URL";
const ENV_URL: &str = "CROSSDOCK_URL";
const ENV_API_KEY: &str = "CROSSDOCK_API_KEY";

/// What an adapter's process gets as its environment: lines of `NAME=value`.
struct EnvFile(BTreeMap<String, String>);

impl EnvFile {
    fn new(shared: &Shared, adapter: &str, amqp_url: String, api_key: String) -> Self {
        let values = [
            (ENV_ADAPTER, adapter.to_owned()),
            (ENV_AMQP_URL, amqp_url),
            (ENV_URL, shared.public_url.clone()),
            (ENV_API_KEY, api_key),
        ];
        Self(
            values
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        )
    }

    fn path(shared: &Shared, adapter: &str) -> PathBuf {
        shared.data_dir.join("adapters").join(format!("{adapter}.env"))
    }

    fn read(shared: &Shared, adapter: &str) -> Option<Self> {
        let text = fs::read_to_string(Self::path(shared, adapter)).ok()?;
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Some(Self(
            pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        ))
    }

    fn get(&self, name: &str) -> Option<&String> {
        self.0.get(name)
    }

    /// The password in the file, if it is this user's. Issued passwords are letters and digits.
    fn password_of(&self, user: &str) -> Option<String> {
        let url = url::Url::parse(self.get(ENV_AMQP_URL)?).ok()?;
        (url.username() == user).then(|| url.password().map(str::to_owned))?
    }

    /// Writes the file whole or not at all, readable by the owner only; returns its path.
    fn write(&self, shared: &Shared, adapter: &str) -> Result<String, EngineError> {
        let path = Self::path(shared, adapter);
        let text: String = self
            .0
            .iter()
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect();
        let written = || -> io::Result<()> {
            let folder = path.parent().unwrap_or(&shared.data_dir);
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            let unfinished = path.with_extension("env.new");
            let _ = fs::remove_file(&unfinished);
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&unfinished)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)
        };
        written().map_err(|error| {
            EngineError::Internal(format!("{} cannot be written: {error}", path.display()))
        })?;
        Ok(path.display().to_string())
    }
}
