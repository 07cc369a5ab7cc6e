//! Which pages may connect. A browser says of what origin a page is and lends it what it knows, so a page of another
//! origin is refused. Beside it a token is needed in any case.

use axum::http::{HeaderMap, HeaderName, header};
use url::{Host, Origin, Url};

const LOCALHOST: &str = "localhost";

/// Pages that may connect, beside those that come from the host they connect to.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    allowed: Vec<String>,
    public: Option<Origin>,
}

impl Origins {
    /// Pages of these origins. With the hub's public address, pages of the host they connect to may connect only if
    /// that is the public one or no name at all: any name can be made to mean the hub's address (DNS rebinding).
    #[must_use]
    pub fn new(allowed: Vec<String>, public_url: Option<&str>) -> Self {
        let public = public_url.and_then(read);
        Self { allowed, public }
    }

    /// Who sends no origin is no page in a browser.
    pub(crate) fn allow(&self, headers: &HeaderMap) -> bool {
        if !headers.contains_key(header::ORIGIN) {
            return true;
        }
        let Some(text) = only(headers, &header::ORIGIN) else {
            return false;
        };
        if self.allowed.iter().any(|allowed| allowed == text) {
            return true;
        }
        let Some(origin) = read(text) else {
            return false;
        };
        if self.public.as_ref() == Some(&origin) {
            return true;
        }
        let Origin::Tuple(scheme, name, _) = &origin else {
            return false;
        };
        let asked = only(headers, &header::HOST).and_then(|host| read(&format!("{scheme}://{host}")));
        asked.as_ref() == Some(&origin) && self.trust(name)
    }

    /// Whether a page of that host is the hub's, though all that says so is the name by which it was asked.
    fn trust(&self, name: &Host) -> bool {
        match (&self.public, name) {
            (None, _) | (_, Host::Ipv4(_) | Host::Ipv6(_)) => true,
            (_, Host::Domain(domain)) if domain == LOCALHOST => true,
            (Some(public), _) => matches!(public, Origin::Tuple(_, known, _) if known == name),
        }
    }
}

/// Scheme, host and port of an address of a page.
fn read(text: &str) -> Option<Origin> {
    let origin = Url::parse(text).ok()?.origin();
    matches!(&origin, Origin::Tuple(scheme, ..) if scheme == "http" || scheme == "https").then_some(origin)
}

/// A header that is there once; of two no browser would be the author.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(first)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SHOP: &str = "https://shop.example.com";

    fn allow(origins: &Origins, said: &[(&str, &[u8])]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in said {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, axum::http::HeaderValue::from_bytes(value).unwrap());
        }
        origins.allow(&headers)
    }

    fn at(origins: &Origins, origin: &str, host: &str) -> bool {
        let said = [("origin", origin.as_bytes()), ("host", host.as_bytes())];
        allow(origins, &said)
    }

    #[test]
    fn a_page_of_the_host_it_connects_to_may_and_one_of_another_may_not() {
        let origins = Origins::new(vec![SHOP.to_owned()], None);
        for (origin, host, may) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080", true),
            ("http://127.0.0.1:8081", "127.0.0.1:8080", false),
            ("http://[::1]:8080", "[::1]:8080", true),
            ("http://Hub.internal", "hub.internal:80", true),
            ("https://hub.internal", "hub.internal:80", false),
            (SHOP, "hub.internal", true),
            ("https://shop.example.com.evil.example", "hub.internal", false),
            ("null", "hub.internal", false),
            ("", "", false),
            ("x://", "", false),
            ("http://", "", false),
            ("http://:80", ":80", false),
            ("x://hub.internal", "hub.internal", false),
            ("hub.internal", "hub.internal", false),
        ] {
            assert_eq!(at(&origins, origin, host), may, "{origin} at {host}");
        }
        assert!(allow(&origins, &[("host", b"hub.internal")]));
        assert!(!allow(&origins, &[("origin", b"\xff://a"), ("host", b"a")]));
        let two = [
            ("origin", &b"http://a"[..]),
            ("origin", b"http://b"),
            ("host", b"a"),
        ];
        assert!(!allow(&origins, &two));
    }

    #[test]
    fn a_name_that_was_turned_to_the_hub_is_not_its_public_one() {
        let origins = Origins::new(Vec::new(), Some("https://hub.example.com/"));
        for (origin, host, may) in [
            ("https://hub.example.com", "hub.example.com", true),
            ("https://hub.example.com", "10.0.0.7:8080", true),
            ("http://hub.example.com:8080", "hub.example.com:8080", true),
            ("http://hub.example.com:8080", "10.0.0.7:8080", false),
            ("http://evil.example", "evil.example", false),
            ("http://evil.example:8080", "evil.example:8080", false),
            ("http://10.0.0.7:8080", "10.0.0.7:8080", true),
            ("http://[fd00::1]:8080", "[fd00::1]:8080", true),
            ("http://localhost:8080", "localhost:8080", true),
            ("http://localhost.evil.example", "localhost.evil.example", false),
        ] {
            assert_eq!(at(&origins, origin, host), may, "{origin} at {host}");
        }
    }
}
