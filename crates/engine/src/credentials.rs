//! Adapters' credentials: a RabbitMQ user and an API key per generation, written once to the adapter's env file.
//! Passwords are in RabbitMQ and that file, and nowhere else. A webhook adapter has the key only: nobody but the hub
//! reads its queue.
//!
//! The steps of issuing are in an order that a crash between any two of them, or another hub that does the same,
//! leaves nothing to mend by hand: the file is written aside, the database decides who issues, the file is put in
//! place, and upkeep makes users that RabbitMQ does not know from the file.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use crossdock_bus::{credentials, names};
use crossdock_store::{AdapterCredential, StoreError};

use crate::{
    EngineError, IssuedCredentials, NewKey, Scope, env_file::EnvFile, keys, routing::is_webhook,
    shared::Shared,
};

/// How long another hub may take to make the user of a generation that it has issued.
const ISSUING_TAKES: TimeDelta = TimeDelta::minutes(1);

/// Brings credentials into line with the revision in force: every adapter of it has a user and a key, those of
/// adapters that are gone end. What could not be done is in the answer, as a sentence by adapter; one adapter's
/// trouble is nobody else's.
///
/// `thoroughly`: also gives every user its rights again, which RabbitMQ may have lost with its data.
pub(crate) async fn align(
    shared: &Shared,
    thoroughly: bool,
) -> Result<BTreeMap<String, String>, EngineError> {
    if is_aligned(shared).await? && !thoroughly {
        return Ok(BTreeMap::new());
    }
    let _one_at_a_time = shared.change().await?;
    let routing = shared.routing.load_full();
    let users = known_users(shared).await?;
    let credentials = shared.store.adapter_credentials(None).await?;
    let mut troubles = BTreeMap::new();
    for (name, manifest) in &routing.adapters {
        let active: Vec<_> = active_of(&credentials, name).collect();
        let trouble = if active.is_empty() {
            match issue(shared, name, &credentials).await {
                // Another hub does it.
                Ok(_) | Err(EngineError::Conflict(_)) => None,
                Err(error) => Some(error.to_string()),
            }
        } else if is_webhook(manifest) {
            let withdrawn = withdraw_users(shared, name, &active, &users).await;
            withdrawn.err().map(|error| error.to_string())
        } else {
            ensure(shared, name, &active, &users, thoroughly)
                .await
                .unwrap_or_else(|error| Some(error.to_string()))
        };
        if let Some(trouble) = trouble {
            troubles.insert(name.clone(), format!("credentials of {name}: {trouble}"));
        }
    }
    // Another hub may have applied a revision, and issued credentials by it, that this one does not know yet.
    let current = shared.store.current_revision().await?;
    if current.is_none_or(|current| current.summary.number != routing.revision) {
        return Ok(troubles);
    }
    for credential in credentials
        .iter()
        .filter(|c| c.retired.is_none() && !routing.adapters.contains_key(&c.adapter))
    {
        let name = &credential.adapter;
        match end_generation(shared, credential).await {
            Ok(()) => tracing::info!(
                adapter = name,
                "the adapter is gone from the revision: its access ended"
            ),
            Err(error) => {
                let sentence = format!("credentials of {name}, which is gone, could not be ended: {error}");
                troubles.insert(name.clone(), sentence);
            }
        }
    }
    Ok(troubles)
}

/// Whether there is nothing to do, found without keeping anybody from changing something.
async fn is_aligned(shared: &Shared) -> Result<bool, EngineError> {
    let routing = shared.routing.load_full();
    let users = known_users(shared).await?;
    let credentials = shared.store.adapter_credentials(None).await?;
    let all_known = credentials.iter().filter(|c| c.retired.is_none()).all(|c| {
        let is_known = users.contains(&names::user_name(&c.adapter, c.generation));
        let adapter = routing.adapters.get(&c.adapter);
        adapter.is_some_and(|manifest| is_known != is_webhook(manifest))
    });
    let all_issued = routing
        .adapters
        .keys()
        .all(|name| active_of(&credentials, name).next().is_some());
    Ok(all_known && all_issued)
}

async fn known_users(shared: &Shared) -> Result<BTreeSet<String>, EngineError> {
    let users = shared.management.users().await?;
    Ok(users.into_iter().map(|user| user.name).collect())
}

fn active_of<'a>(
    credentials: &'a [AdapterCredential],
    adapter: &str,
) -> impl Iterator<Item = &'a AdapterCredential> {
    credentials
        .iter()
        .filter(move |c| c.adapter == adapter && c.retired.is_none())
}

/// Deletes the users of an adapter that consumed its queue before the hub did it for it. Its API keys stay.
async fn withdraw_users(
    shared: &Shared,
    adapter: &str,
    active: &[&AdapterCredential],
    users: &BTreeSet<String>,
) -> Result<(), EngineError> {
    for credential in active {
        let user = names::user_name(adapter, credential.generation);
        if users.contains(&user) {
            credentials::delete(&shared.management, adapter, credential.generation).await?;
            tracing::info!(user, "a user was deleted: the hub takes the adapter's events now");
        }
    }
    let path = EnvFile::path(&shared.data_dir, adapter);
    if let Some(kept) = EnvFile::read(&path) {
        let right = kept.with_addresses(None, &shared.public_url);
        if right != kept {
            right.stage(&path)?.publish()?;
        }
    }
    Ok(())
}

/// Makes users that a new or emptied broker does not know again from the env file, and keeps the addresses in the
/// file right. Returns what it could not do.
async fn ensure(
    shared: &Shared,
    adapter: &str,
    active: &[&AdapterCredential],
    users: &BTreeSet<String>,
    thoroughly: bool,
) -> Result<Option<String>, EngineError> {
    let path = EnvFile::path(&shared.data_dir, adapter);
    let kept = EnvFile::read(&path);
    let mut trouble = None;
    for credential in active {
        let user = names::user_name(adapter, credential.generation);
        let is_known = users.contains(&user);
        if is_known && !thoroughly {
            continue;
        }
        let password = kept.as_ref().and_then(|file| file.password_of(&user));
        match password {
            Some(password) if !is_known => {
                credentials::issue(&shared.management, adapter, credential.generation, &password).await?;
                tracing::info!(user, "a user that RabbitMQ did not know was made");
            }
            _ if is_known => {
                let rights = credentials::rights(adapter);
                if shared.management.permissions(&user).await?.as_ref() != Some(&rights) {
                    shared.management.set_permissions(&user, &rights).await?;
                    tracing::info!(user, "a user's rights were set right");
                }
            }
            _ if shared.clock.now() - credential.created > ISSUING_TAKES => {
                trouble = Some(format!(
                    "RabbitMQ does not know the user {user}, and its password is not in {}: \
                     `crossdock adapter rotate {adapter}` issues others",
                    path.display()
                ));
            }
            _ => {}
        }
    }
    let newest = active.iter().map(|c| c.generation).max().unwrap_or_default();
    let user = names::user_name(adapter, newest);
    if let Some(file) = kept
        && let Some(password) = file.password_of(&user)
    {
        let url = credentials::url_for(&shared.address.url, &user, &password)?;
        let right = file.with_addresses(Some(&url), &shared.public_url);
        if right != file {
            right.stage(&path)?.publish()?;
        }
    }
    Ok(trouble)
}

/// Issues the next generation. Needs the right to change; see [`Shared::change`].
pub(crate) async fn issue(
    shared: &Shared,
    adapter: &str,
    known: &[AdapterCredential],
) -> Result<IssuedCredentials, EngineError> {
    // RabbitMQ's users belong to the whole broker: another environment on it may have used the next number.
    let used = credentials::generations(&shared.management, adapter).await?;
    let recorded = known
        .iter()
        .filter(|c| c.adapter == adapter)
        .map(|c| c.generation);
    let generation = recorded.chain(used).max().unwrap_or(0) + 1;
    let user = names::user_name(adapter, generation);
    let password = credentials::new_password(&mut rand::rng());
    let has_user = !shared
        .routing
        .load()
        .adapters
        .get(adapter)
        .is_some_and(is_webhook);
    let amqp_url = match has_user {
        true => Some(credentials::url_for(&shared.address.url, &user, &password)?),
        false => None,
    };
    let (key_id, api_key) = keys::new_text();

    let path = EnvFile::path(&shared.data_dir, adapter);
    let staged = EnvFile::new(adapter, amqp_url.as_deref(), &shared.public_url, &api_key).stage(&path)?;
    claim(shared, adapter, generation, &user, &api_key).await?;
    let env_file = match staged.publish() {
        Ok(path) => path,
        Err(error) => {
            give_back(shared, adapter, generation, &key_id).await;
            return Err(error);
        }
    };
    if has_user {
        credentials::issue(&shared.management, adapter, generation, &password).await?;
    }
    tracing::info!(user, file = env_file, "credentials were issued");
    Ok(IssuedCredentials {
        user,
        amqp_url,
        api_key,
        env_file,
    })
}

/// Makes the key and takes the generation's number; of two hubs that try, one does.
async fn claim(
    shared: &Shared,
    adapter: &str,
    generation: u32,
    user: &str,
    api_key: &str,
) -> Result<(), EngineError> {
    let now = shared.clock.now();
    let key = NewKey {
        name: user.to_owned(),
        scopes: vec![Scope::EventsWrite],
        topics: Vec::new(),
        adapter: Some(adapter.to_owned()),
        expires: None,
    };
    let key = shared.keys.add_with_text(key, api_key, now).await?;
    let credential = AdapterCredential {
        adapter: adapter.to_owned(),
        generation,
        api_key_id: key.id.clone(),
        created: now,
        retired: None,
    };
    let Err(error) = shared.store.add_adapter_credential(credential).await else {
        return Ok(());
    };
    if let Err(error) = shared.keys.revoke(&key.id, now).await {
        tracing::warn!(key = key.id, %error, "an API key that nobody holds could not be revoked");
    }
    Err(match error {
        StoreError::Conflict(_) => EngineError::Conflict(format!(
            "another hub issues credentials of {adapter} at this moment"
        )),
        other => other.into(),
    })
}

/// Undoes a claim whose secrets could not be kept.
async fn give_back(shared: &Shared, adapter: &str, generation: u32, key_id: &str) {
    let now = shared.clock.now();
    let revoked = shared.keys.revoke(key_id, now).await;
    let retired = shared
        .store
        .retire_adapter_credential(adapter, generation, now)
        .await;
    if let Err(error) = revoked.and(retired.map_err(EngineError::from)) {
        tracing::warn!(adapter, generation, %error, "credentials that nobody holds could not be ended");
    }
}

/// Ends one generation: its RabbitMQ user with all its connections, and its API key. Doing it again is safe.
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
