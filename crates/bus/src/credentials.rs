//! An adapter's access to RabbitMQ: one user per generation of its credentials, with rights on its own
//! queue and on nothing else. Which generation is current, and who was told the password, is kept elsewhere.

use rand::distr::{Alphanumeric, SampleString};
use rand::{CryptoRng, Rng};
use url::Url;

use crate::error::BusError;
use crate::management::{Management, Permissions};
use crate::names::{adapter_of_user, adapter_queue, user_name};

/// Letters and digits of a new password: 190 bits.
const PASSWORD_LENGTH: usize = 32;

/// Rights are regular expressions; these and the adapter's own queue are all there is.
const NOTHING: &str = "^$";
const PUBLISHING: &str = r"^crossdock\.(ingress|receipts)$";

/// A new password of letters and digits, so that it stands in a URL as it is.
pub fn new_password(rng: &mut (impl Rng + CryptoRng)) -> String {
    Alphanumeric.sample_string(rng, PASSWORD_LENGTH)
}

/// What an adapter may do: publish events and receipts, consume its own queue.
pub fn rights(adapter: &str) -> Permissions {
    Permissions {
        read: format!("^{}$", adapter_queue(adapter).replace('.', r"\.")),
        ..rights_while_paused()
    }
}

/// What an adapter may do while it is paused: all but consume.
pub fn rights_while_paused() -> Permissions {
    Permissions {
        configure: NOTHING.into(),
        write: PUBLISHING.into(),
        read: NOTHING.into(),
    }
}

/// Makes the user of that generation with the adapter's rights, or gives it this password again.
///
/// # Errors
/// [`BusError::Unavailable`] or [`BusError::Refused`]; doing it again after either is safe.
pub async fn issue(
    management: &Management,
    adapter: &str,
    generation: u32,
    password: &str,
) -> Result<(), BusError> {
    let user = user_name(adapter, generation);
    management.put_user(&user, password, &[]).await?;
    management.set_permissions(&user, &rights(adapter)).await
}

/// The generations that RabbitMQ knows of the adapter, oldest first.
///
/// # Errors
/// [`BusError::Unavailable`] or [`BusError::Refused`].
pub async fn generations(management: &Management, adapter: &str) -> Result<Vec<u32>, BusError> {
    let users = management.users().await?;
    let mut generations: Vec<u32> = users
        .iter()
        .filter_map(|user| adapter_of_user(&user.name))
        .filter_map(|(owner, generation)| (owner == adapter).then_some(generation))
        .collect();
    generations.sort_unstable();
    Ok(generations)
}

/// Takes the right to consume from every generation and closes their connections: RabbitMQ asks for the
/// right when consuming begins, not while it goes on. A client that reconnected in between is closed by
/// doing this again; the queue without consumers is the sign that it is done.
///
/// # Errors
/// [`BusError::Unavailable`] or [`BusError::Refused`]; doing it again after either is safe.
pub async fn withdraw_reading(management: &Management, adapter: &str, reason: &str) -> Result<(), BusError> {
    for generation in generations(management, adapter).await? {
        let user = user_name(adapter, generation);
        management.set_permissions(&user, &rights_while_paused()).await?;
        management.close_connections(&user, reason).await?;
    }
    Ok(())
}

/// Gives the right to consume back to every generation.
///
/// # Errors
/// [`BusError::Unavailable`] or [`BusError::Refused`]; doing it again after either is safe.
pub async fn restore_reading(management: &Management, adapter: &str) -> Result<(), BusError> {
    for generation in generations(management, adapter).await? {
        management
            .set_permissions(&user_name(adapter, generation), &rights(adapter))
            .await?;
    }
    Ok(())
}

/// Deletes the user of that generation; RabbitMQ closes its connections, and what they had not yet
/// acknowledged is delivered again to another.
///
/// # Errors
/// [`BusError::Unavailable`] or [`BusError::Refused`]; doing it again after either is safe.
pub async fn delete(management: &Management, adapter: &str, generation: u32) -> Result<(), BusError> {
    management.delete_user(&user_name(adapter, generation)).await
}

/// The broker's address for another user: host, vhost and parameters of `broker_url` stay.
///
/// # Errors
/// [`BusError::Url`] when `broker_url` is no `amqp` or `amqps` address with a host.
pub fn url_for(broker_url: &str, user: &str, password: &str) -> Result<String, BusError> {
    let unusable = || BusError::Url("it must be amqp:// or amqps:// and a host".into());
    let mut url = Url::parse(broker_url)
        .ok()
        .filter(|url| matches!(url.scheme(), "amqp" | "amqps"))
        .ok_or_else(unusable)?;
    url.set_username(user).map_err(|()| unusable())?;
    url.set_password(Some(password)).map_err(|()| unusable())?;
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn rights_name_the_adapters_queue_and_the_two_exchanges() {
        let rights = rights("print-shop");
        assert_eq!(rights.configure, "^$");
        assert_eq!(rights.write, r"^crossdock\.(ingress|receipts)$");
        assert_eq!(rights.read, r"^crossdock\.adapter\.print-shop$");
        assert_eq!(
            rights_while_paused(),
            Permissions {
                read: "^$".into(),
                ..rights
            }
        );
    }

    #[test]
    fn passwords_are_long_plain_and_different() {
        let mut rng = StdRng::seed_from_u64(7);
        let (one, other) = (new_password(&mut rng), new_password(&mut rng));
        assert_eq!(one.len(), PASSWORD_LENGTH);
        assert!(one.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_ne!(one, other);
    }

    #[test]
    fn an_address_for_another_user_keeps_everything_else() {
        let url = url_for(
            "amqps://hub:secret@broker.example:5673/%2fshop?heartbeat=10",
            "erp.1",
            "pw",
        )
        .unwrap();
        assert_eq!(url, "amqps://erp.1:pw@broker.example:5673/%2fshop?heartbeat=10");
        assert!(url_for("http://broker.example", "erp.1", "pw").is_err());
        assert!(url_for("amqp:broker", "erp.1", "pw").is_err());
    }
}
