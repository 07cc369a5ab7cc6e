//! A vhost for one test.

use crossdock_bus::management::Permissions;
use crossdock_bus::{BusError, Management};
use url::Url;

use crate::broker::finish;

const NAME_PREFIX: &str = "test-";

/// A vhost that is one test's own; dropping it deletes it, with the users named by [`unique`](Self::unique).
pub struct TestVhost {
    /// `amqp://user:password@host:port/vhost`, of a user who may do everything in it.
    pub broker_url: String,
    /// `http://host:port`; user and password are those of `broker_url`.
    pub management_url: String,
    /// Its name.
    pub name: String,
    suffix: String,
}

impl TestVhost {
    /// # Panics
    /// When the broker cannot be reached or refuses.
    pub(crate) async fn create(broker_url: &str, management_url: &str) -> Self {
        let suffix = format!("{:016x}", rand::random::<u64>());
        let name = format!("{NAME_PREFIX}{suffix}");
        let mut url = Url::parse(broker_url).expect("a broker's address is a URL");
        url.set_path(&name);
        let vhost = Self {
            broker_url: url.into(),
            management_url: management_url.to_owned(),
            name,
            suffix,
        };
        vhost
            .prepare()
            .await
            .unwrap_or_else(|error| panic!("no vhost for the test: {error}"));
        vhost
    }

    async fn prepare(&self) -> Result<(), BusError> {
        let management = self.management();
        management.put_vhost().await?;
        let everything = || ".*".to_owned();
        let rights = Permissions {
            configure: everything(),
            write: everything(),
            read: everything(),
        };
        management.set_permissions(management.user(), &rights).await
    }

    /// The management API, asking about this vhost.
    ///
    /// # Panics
    /// Never for a vhost that could be made.
    pub fn management(&self) -> Management {
        Management::for_broker(&self.management_url, &self.broker_url).expect("both addresses worked before")
    }

    /// The name with this test's own suffix, `[a-z0-9-]`. Users belong to the whole broker: an adapter whose
    /// credentials a test issues needs such a name.
    pub fn unique(&self, name: &str) -> String {
        format!("{name}-{}", self.suffix)
    }
}

impl Drop for TestVhost {
    fn drop(&mut self) {
        let management = self.management();
        let suffix = self.suffix.clone();
        finish(async move {
            // A broker that a test has stopped or killed keeps nothing of value.
            let users = management.users().await.unwrap_or_default();
            for user in users.iter().filter(|user| user.name.contains(&suffix)) {
                let _ = management.delete_user(&user.name).await;
            }
            let _ = management.delete_vhost().await;
        });
    }
}
