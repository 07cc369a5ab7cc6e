//! Names to addresses, and only to those that may be called. What the client gets from here it connects to, without
//! asking again: an answer that changes between check and connect cannot matter.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use async_trait::async_trait;
use crossdock_config::IpRange;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::{
    OutboundError,
    addresses::{is_covered, speciality},
};

/// Addresses of one name that are looked at.
const ADDRESSES_MAX: usize = 32;

/// Where the addresses of a name are found.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// All of them.
    ///
    /// # Errors
    /// When there are none, or they cannot be had now.
    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The machine's own resolver, with its hosts file.
pub struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((host, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// Which addresses may be called.
#[derive(Clone)]
pub(super) struct Guard {
    pub(super) allow: Arc<[IpRange]>,
    /// Only those that the operator allows: what goes in clear does not go over the Internet.
    pub(super) plaintext: bool,
}

impl Guard {
    /// Whether this one may be called.
    pub(super) fn check(&self, address: IpAddr) -> Result<(), OutboundError> {
        if is_covered(&self.allow, address) {
            return Ok(());
        }
        match speciality(address) {
            Some(kind) => Err(OutboundError::Refused { address, kind }),
            None if self.plaintext => Err(OutboundError::Plaintext { address }),
            None => Ok(()),
        }
    }

    /// Those of a name's addresses that may be called; if there are none, why the first may not.
    fn permitted(&self, found: Vec<IpAddr>) -> Result<Vec<IpAddr>, OutboundError> {
        let mut refusal = OutboundError::Dns("the answer holds no address".to_owned());
        let mut permitted = Vec::new();
        for address in found.into_iter().take(ADDRESSES_MAX).rev() {
            match self.check(address) {
                Ok(()) => permitted.push(address),
                Err(refused) => refusal = refused,
            }
        }
        permitted.reverse();
        if permitted.is_empty() {
            Err(refusal)
        } else {
            Ok(permitted)
        }
    }
}

/// The client's resolver.
#[derive(Clone)]
pub(super) struct GuardedResolver {
    pub(super) lookup: Arc<dyn Lookup>,
    pub(super) guard: Guard,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let Self { lookup, guard } = self.clone();
        Box::pin(async move {
            let found = lookup
                .lookup(name.as_str())
                .await
                .map_err(|error| OutboundError::Dns(error.to_string()))?;
            let permitted = guard.permitted(found)?;
            let addresses = permitted.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn guard(allow: &[&str], plaintext: bool) -> Guard {
        Guard {
            allow: allow.iter().map(|range| range.parse().unwrap()).collect(),
            plaintext,
        }
    }

    fn permitted(guard: &Guard, found: &[&str]) -> Result<Vec<String>, String> {
        let found = found.iter().map(|address| address.parse().unwrap()).collect();
        let permitted = guard.permitted(found).map_err(|error| error.to_string())?;
        Ok(permitted.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn of_several_addresses_only_those_that_may_be_called_are_left() {
        let secure = guard(&["10.1.0.0/16"], false);
        assert_eq!(
            permitted(&secure, &["127.0.0.1", "1.1.1.1", "10.1.2.3", "10.2.0.1", "::1"]).unwrap(),
            ["1.1.1.1", "10.1.2.3"]
        );
        assert_eq!(
            permitted(&secure, &["10.2.0.1", "169.254.169.254"]).unwrap_err(),
            "10.2.0.1 is not called: it is private, and no range under `allow` in [outbound] covers it"
        );
        assert_eq!(
            permitted(&secure, &["::ffff:10.1.0.1"]).unwrap(),
            ["::ffff:10.1.0.1"]
        );
        assert!(permitted(&secure, &[]).unwrap_err().contains("no address"));
    }

    #[test]
    fn plain_http_goes_only_where_the_operator_allows() {
        let plain = guard(&["127.0.0.1", "192.0.2.0/24"], true);
        assert_eq!(
            permitted(&plain, &["1.1.1.1", "127.0.0.1", "192.0.2.9"]).unwrap(),
            ["127.0.0.1", "192.0.2.9"]
        );
        assert!(
            permitted(&plain, &["1.1.1.1"])
                .unwrap_err()
                .contains("plain http://")
        );
        assert!(permitted(&plain, &["10.0.0.1"]).unwrap_err().contains("private"));
    }
}
