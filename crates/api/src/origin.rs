//! Whether a request that changes something was made by the hub's own pages. Browsers say so themselves
//! (`Sec-Fetch-Site`, or `Origin` where they are older), so no tokens are needed in pages and forms.

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use url::{Origin, Url};

use crate::{ApiState, Problem, problem_types as kinds};

const SEC_FETCH_SITE: &str = "sec-fetch-site";
const SAME_ORIGIN: &str = "same-origin";

/// What it means that a client says nothing of where its request comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// A browser sends its cookie along whoever asked for the request: it has to say.
    Refused,
    /// The request proves by itself who it is from.
    Accepted,
}

/// Refuses what another site's page asked a browser to do.
pub(crate) fn check(parts: &Parts, api: &ApiState, silence: Silence) -> Result<(), Problem> {
    if is_safe(&parts.method) {
        return Ok(());
    }
    match is_own(&parts.headers, api.hub().public_url()) {
        Some(true) => Ok(()),
        None if silence == Silence::Accepted => Ok(()),
        Some(false) => Err(kinds::CROSS_ORIGIN.with("the request comes from another site's page")),
        None => Err(kinds::CROSS_ORIGIN.with(
            "the request shows a session, but neither Sec-Fetch-Site nor Origin says where it comes from",
        )),
    }
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Whether a page of this hub made the request; nothing if the client does not say.
fn is_own(headers: &HeaderMap, public_url: &str) -> Option<bool> {
    let one = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let first = values.next().map(|value| value.to_str().unwrap_or_default())?;
        // Two of them are no answer of a browser's.
        Some(if values.next().is_some() { "" } else { first })
    };
    if let Some(site) = one(SEC_FETCH_SITE) {
        return Some(site == SAME_ORIGIN);
    }
    let said = one(header::ORIGIN.as_str())?;
    let Some(origin) = read(said) else {
        return Some(false);
    };
    let scheme = said.split_once(':').map_or("", |(scheme, _)| scheme);
    let asked = one(header::HOST.as_str()).and_then(|host| read(&format!("{scheme}://{host}")));
    Some(asked.as_ref() == Some(&origin) || read(public_url) == Some(origin))
}

/// Scheme, host and port of an address.
fn read(address: &str) -> Option<Origin> {
    let origin = Url::parse(address).ok()?.origin();
    origin.is_tuple().then_some(origin)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PUBLIC: &str = "https://hub.example";

    fn own(headers: &[(&'static str, &str)]) -> Option<bool> {
        let pairs = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        is_own(&pairs.collect(), PUBLIC)
    }

    #[test]
    fn what_the_browser_says_goes_before_the_origin() {
        for (site, expected) in [
            ("same-origin", true),
            ("same-site", false),
            ("cross-site", false),
            ("none", false),
        ] {
            let said = [
                ("sec-fetch-site", site),
                ("origin", "https://hub.example"),
                ("host", "hub.example"),
            ];
            assert_eq!(own(&said), Some(expected), "{site}");
        }
    }

    #[test]
    fn an_origin_is_the_host_asked_for_or_the_public_address() {
        for (origin, host, expected) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080", true),
            ("http://127.0.0.1:8081", "127.0.0.1:8080", false),
            ("http://[::1]:8080", "[::1]:8080", true),
            ("http://hub.internal", "hub.internal:80", true),
            ("https://HUB.example", "10.0.0.7:8080", true),
            ("https://hub.example:443", "10.0.0.7:8080", true),
            ("http://hub.example", "10.0.0.7:8080", false),
            ("https://hub.example.evil.example", "hub.example", false),
            ("https://evil.example", "hub.example", false),
            ("null", "hub.example", false),
            ("", "", false),
            ("hub.example", "hub.example", false),
        ] {
            let said = [("origin", origin), ("host", host)];
            assert_eq!(own(&said), Some(expected), "{origin} at {host}");
        }
        assert_eq!(own(&[("host", "hub.example")]), None);
        let two = [
            ("origin", "http://a.example"),
            ("origin", "http://hub.example"),
            ("host", "hub.example"),
        ];
        let mut headers = HeaderMap::new();
        for (name, value) in two {
            headers.append(name, value.parse().unwrap());
        }
        assert_eq!(is_own(&headers, PUBLIC), Some(false));
    }

    #[test]
    fn only_what_changes_nothing_is_safe() {
        for (method, safe) in [
            ("GET", true),
            ("HEAD", true),
            ("POST", false),
            ("DELETE", false),
            ("PATCH", false),
        ] {
            assert_eq!(is_safe(&method.parse().unwrap()), safe);
        }
    }
}
