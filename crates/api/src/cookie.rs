//! The cookie that holds a person's session: out of reach of scripts, never sent along by another site's page, and
//! where the hub is reached over TLS, never without it (RFC 6265bis).

use axum::http::{HeaderMap, HeaderValue, header};

use crate::ApiState;

const NAME: &str = "crossdock_session";
/// Browsers take a cookie of this name only from the host itself, over TLS, for all paths.
const NAME_OVER_TLS: &str = "__Host-crossdock_session";
/// How long a browser keeps it: as long as a session may last.
const MAX_AGE_S: u32 = 7 * 24 * 3600;
/// No token is as long as this, in bytes.
const TOKEN_MAX_BYTES: usize = 256;

/// The token of the session that a request shows. Of two cookies nobody knows which is right.
pub(crate) fn session<'a>(headers: &'a HeaderMap, api: &ApiState) -> Option<&'a str> {
    find(headers, name(is_over_tls(api)))
}

/// Gives a browser the token of its session.
pub(crate) fn set(token: &str, api: &ApiState) -> HeaderValue {
    text(token, MAX_AGE_S, is_over_tls(api))
}

/// Makes a browser forget it.
pub(crate) fn forget(api: &ApiState) -> HeaderValue {
    text("", 0, is_over_tls(api))
}

fn is_over_tls(api: &ApiState) -> bool {
    api.hub().public_url().starts_with("https://")
}

fn name(over_tls: bool) -> &'static str {
    if over_tls { NAME_OVER_TLS } else { NAME }
}

fn text(value: &str, max_age_s: u32, over_tls: bool) -> HeaderValue {
    let secure = if over_tls { "; Secure" } else { "" };
    let name = name(over_tls);
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={max_age_s}{secure}");
    HeaderValue::from_str(&text).expect("a token has letters, digits and underscores only")
}

fn find<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let mut found = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == wanted)
        .map(|(_, value)| value);
    let token = found.next()?;
    let is_only_one = found.next().is_none();
    (is_only_one && !token.is_empty() && token.len() <= TOKEN_MAX_BYTES).then_some(token)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn with(values: &[&str]) -> HeaderMap {
        let pairs = values
            .iter()
            .map(|value| (header::COOKIE, HeaderValue::from_str(value).unwrap()));
        pairs.collect()
    }

    #[test]
    fn the_one_cookie_of_the_name_is_read() {
        for cookies in [
            &["crossdock_session=a"][..],
            &["x=1; crossdock_session=a"],
            &["x=1", "crossdock_session=a; y"],
        ] {
            assert_eq!(find(&with(cookies), NAME), Some("a"), "{cookies:?}");
        }
        let long = format!("crossdock_session={}", "a".repeat(TOKEN_MAX_BYTES + 1));
        for cookies in [
            &[][..],
            &["crossdock_session="],
            &["xcrossdock_session=a"],
            &["crossdock_session=a; crossdock_session=b"],
            &["crossdock_session=a", "crossdock_session=b"],
            &["__Host-crossdock_session=a"],
            &[long.as_str()],
        ] {
            assert_eq!(find(&with(cookies), NAME), None, "{cookies:?}");
        }
    }

    #[test]
    fn it_says_what_browsers_may_do_with_it() {
        let plain = text("t", 5, false);
        assert_eq!(
            plain,
            "crossdock_session=t; Path=/; HttpOnly; SameSite=Strict; Max-Age=5"
        );
        let over_tls = text("t", 5, true);
        assert_eq!(
            over_tls,
            "__Host-crossdock_session=t; Path=/; HttpOnly; SameSite=Strict; Max-Age=5; Secure"
        );
    }
}
