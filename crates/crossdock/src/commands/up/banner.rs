//! What `up` tells the person who started it: where everything is and what to try next.

use std::{io, path::PathBuf};

use serde::Serialize;

use super::first_admin::FirstAdmin;
use crate::output::Output;

/// Where everything is.
#[derive(Debug, Serialize)]
pub(super) struct Banner {
    /// The hub's address.
    pub(super) url: String,
    /// The demo's shop page, where the demo runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) shop: Option<String>,
    /// Where MQTT over TCP is; over WebSocket it is at `/mqtt` below `url`.
    pub(super) mqtt_url: String,
    /// RabbitMQ's management API and pages.
    pub(super) management_url: String,
    /// The file that holds the private node's user and password; none for a broker of the settings.
    pub(super) private_node: Option<PathBuf>,
    pub(super) data_dir: PathBuf,
    /// The file that holds the operators' API key.
    pub(super) admin_key: PathBuf,
    /// How the first person signs in; none where others have been added and no password lies about.
    pub(super) first_admin: Option<FirstAdmin>,
}

pub(super) fn print(output: Output, banner: &Banner) -> io::Result<()> {
    if output.is_json() {
        return output.json_line(banner);
    }
    for line in lines(banner) {
        output.line(line)?;
    }
    Ok(())
}

fn lines(banner: &Banner) -> Vec<String> {
    let Banner {
        url,
        shop,
        mqtt_url,
        management_url,
        private_node,
        data_dir,
        admin_key,
        first_admin,
    } = banner;
    let rabbitmq = match private_node {
        Some(file) => format!(
            "{management_url}  (private node; user and password in {})",
            file.display()
        ),
        None => management_url.clone(),
    };
    let sign_in = first_admin.as_ref().map(|admin| match admin {
        FirstAdmin::Password { name, password, .. } => {
            format!("  sign in   as {name}, password {password}  (shown this once)")
        }
        FirstAdmin::File(file) => format!("  sign in   as admin  (first password in {})", file.display()),
    });
    let dashboard = [
        format!("crossdock {} is up", env!("CARGO_PKG_VERSION")),
        format!("  dashboard {url}"),
    ];
    let shop = shop.as_ref().map(|shop| format!("  shop      {shop}"));
    let places = [
        format!("  API docs  {url}/docs"),
        format!(
            "  MQTT      {mqtt_url}  (browsers: {}/mqtt)",
            url.replacen("http", "ws", 1)
        ),
        format!("  RabbitMQ  {rabbitmq}"),
        format!(
            "  data      {}  (operators' API key in {})",
            data_dir.display(),
            admin_key.display()
        ),
    ];
    let next = [
        "In another terminal:".to_owned(),
        "  crossdock status        what runs, what waits, what wants attention".to_owned(),
        "  crossdock event tail    events as they are accepted".to_owned(),
        "  crossdock prove         that none is lost".to_owned(),
    ];
    dashboard
        .into_iter()
        .chain(sign_in)
        .chain(shop)
        .chain(places)
        .chain(next)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_fits_and_names_every_place() {
        let banner = Banner {
            url: "http://127.0.0.1:8080".into(),
            shop: Some("http://127.0.0.1:8080/shop".into()),
            mqtt_url: "mqtt://127.0.0.1:1883".into(),
            management_url: "http://127.0.0.1:25673".into(),
            private_node: Some("var/rabbitmq/node.json".into()),
            data_dir: "var".into(),
            admin_key: "var/admin.key".into(),
            first_admin: Some(FirstAdmin::File("var/admin.password".into())),
        };
        let text = lines(&banner).join("\n");
        for place in [
            "http://127.0.0.1:8080/docs",
            "http://127.0.0.1:8080/shop",
            "http://127.0.0.1:25673",
            "var/rabbitmq/node.json",
            "var/admin.key",
            "var/admin.password",
        ] {
            assert!(text.contains(place), "{place}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 100));
    }
}
