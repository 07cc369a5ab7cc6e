//! Where RabbitMQ is: at the address of the settings, or in a private node that the hub starts.

use std::{fs, path::Path};

use anyhow::{Context as _, anyhow};
use crossdock_bus::node::{Node, NodeOptions};
use crossdock_config::{RabbitMq, Secret};
use crossdock_engine::BrokerAddress;
use reqwest::Url;

use super::data_dir::DataDir;

/// RabbitMQ's management API where the settings name no other.
const MANAGEMENT_PORT: u16 = 15672;
const MANAGEMENT_TLS_PORT: u16 = 15671;

/// The broker, and the node if the hub had to start one.
pub(super) struct Broker {
    pub(super) address: BrokerAddress,
    pub(super) node: Option<Node>,
}

impl Broker {
    /// Reads the address, or starts the private node and waits until it serves.
    pub(super) async fn find(settings: &RabbitMq, data_dir: &DataDir) -> anyhow::Result<Self> {
        let Some(url) = &settings.url else {
            let folder = data_dir.node_folder();
            tracing::info!(folder = %folder.display(), "starting the private RabbitMQ node");
            let node = Node::start(NodeOptions::new(folder)).await?;
            let address = BrokerAddress {
                url: node.broker_url().to_owned(),
                management_url: node.management_url().to_owned(),
                private: true,
            };
            return Ok(Self {
                address,
                node: Some(node),
            });
        };
        let url = read(url).context("rabbitmq.url")?;
        let management_url = match &settings.management_url {
            Some(secret) => read(secret).context("rabbitmq.management_url")?,
            None => management_beside(&url)?,
        };
        Ok(Self {
            address: BrokerAddress {
                url,
                management_url,
                private: false,
            },
            node: None,
        })
    }
}

fn read(secret: &Secret) -> anyhow::Result<String> {
    Ok(secret.resolve(|path: &Path| fs::read_to_string(path))?)
}

/// The management API on the broker's machine at the port that RabbitMQ gives it by default.
fn management_beside(broker_url: &str) -> anyhow::Result<String> {
    let invalid = || anyhow!("rabbitmq.url is not an address such as amqp://user:password@host:5672/vhost");
    let broker = Url::parse(broker_url).map_err(|_| invalid())?;
    let host = broker
        .host_str()
        .filter(|host| !host.is_empty())
        .ok_or_else(invalid)?;
    Ok(match broker.scheme() {
        "amqps" => format!("https://{host}:{MANAGEMENT_TLS_PORT}"),
        _ => format!("http://{host}:{MANAGEMENT_PORT}"),
    })
}

/// An address that may be shown.
pub(super) fn without_credentials(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else {
        return "?".to_owned();
    };
    // Both fail only for addresses that cannot have credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string().trim_end_matches('/').to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_management_api_is_looked_for_beside_the_broker() {
        for (broker, expected) in [
            ("amqp://hub:secret@rabbit:5672/%2f", "http://rabbit:15672"),
            (
                "amqps://rabbit.example.com/shop",
                "https://rabbit.example.com:15671",
            ),
            ("amqp://[::1]:5673", "http://[::1]:15672"),
        ] {
            assert_eq!(management_beside(broker).unwrap(), expected);
        }
        assert!(
            !management_beside("secret")
                .unwrap_err()
                .to_string()
                .contains("secret")
        );
    }

    #[test]
    fn shown_addresses_hold_no_password() {
        assert_eq!(
            without_credentials("http://hub:secret@rabbit:15672/"),
            "http://rabbit:15672"
        );
        assert_eq!(without_credentials("secret"), "?");
    }
}
