//! Where a request comes from: the peer of the connection, or what a trusted proxy says about it.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap};
use crossdock_config::IpRange;

const X_FORWARDED_FOR: &str = "x-forwarded-for";
/// Headers by which a proxy makes itself known.
const PROXY_HEADERS: [&str; 3] = [X_FORWARDED_FOR, "forwarded", "x-real-ip"];

/// Whether the request comes from this machine without a proxy in between. A proxy on this machine
/// is a peer on loopback too, so any sign of one counts against it.
pub(crate) fn is_local(extensions: &Extensions, headers: &HeaderMap) -> bool {
    peer(extensions).is_some_and(|peer| peer.is_loopback())
        && !PROXY_HEADERS.iter().any(|name| headers.contains_key(*name))
}

/// The client's address: the peer, or while that is a trusted proxy, the address before it in
/// `X-Forwarded-For`. `None` if the server did not say who the peer is.
pub fn address(extensions: &Extensions, headers: &HeaderMap, trusted: &[IpRange]) -> Option<IpAddr> {
    let mut address = peer(extensions)?;
    let values: Vec<_> = headers.get_all(X_FORWARDED_FOR).iter().collect();
    let hops = values
        .iter()
        .rev()
        .flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
    for hop in hops {
        if !trusted.iter().any(|range| range.contains(address)) {
            break;
        }
        match hop.trim().parse::<IpAddr>() {
            Ok(before) => address = before.to_canonical(),
            Err(_) => break,
        }
    }
    Some(address)
}

fn peer(extensions: &Extensions) -> Option<IpAddr> {
    extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map(|ConnectInfo(peer)| peer.ip().to_canonical())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn from(peer: &str) -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1)));
        extensions
    }

    fn forwarded(values: &[&str]) -> HeaderMap {
        let pairs = values
            .iter()
            .map(|value| (X_FORWARDED_FOR.parse().unwrap(), value.parse().unwrap()));
        pairs.collect()
    }

    #[test]
    fn only_a_direct_loopback_peer_is_local() {
        assert!(is_local(&from("127.0.0.1"), &HeaderMap::new()));
        assert!(is_local(&from("::1"), &HeaderMap::new()));
        assert!(is_local(&from("::ffff:127.0.0.1"), &HeaderMap::new()));
        assert!(!is_local(&from("10.0.0.1"), &HeaderMap::new()));
        assert!(!is_local(&from("127.0.0.1"), &forwarded(&["127.0.0.1"])));
        assert!(!is_local(&from("127.0.0.1"), &forwarded(&[""])));
        assert!(!is_local(&Extensions::new(), &HeaderMap::new()));
    }

    #[test]
    fn forwarding_is_believed_as_far_as_the_proxies_are_trusted() {
        let trusted: Vec<IpRange> = vec!["10.0.0.0/8".parse().unwrap()];
        let seen = |peer: &str, values: &[&str]| {
            address(&from(peer), &forwarded(values), &trusted)
                .unwrap()
                .to_string()
        };
        assert_eq!(seen("203.0.113.9", &["1.2.3.4"]), "203.0.113.9");
        assert_eq!(seen("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &["1.2.3.4"]), "1.2.3.4");
        assert_eq!(seen("10.0.0.1", &["6.6.6.6, 1.2.3.4, 10.0.0.2"]), "1.2.3.4");
        assert_eq!(seen("10.0.0.1", &["6.6.6.6", "1.2.3.4"]), "1.2.3.4");
        assert_eq!(seen("10.0.0.1", &["no address"]), "10.0.0.1");
    }
}
