//! The files of `dashboard/dist` and `storefront/dist` inside the program: which there are, and how one is answered. The build puts `.br` and
//! `.gz` beside a file that they make smaller; a client that takes one gets it as it is. Each has its own ETag.

use std::{borrow::Cow, collections::BTreeSet, future::Ready};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use rust_embed::{EmbeddedFile, RustEmbed};

/// Encodings in the order in which they are preferred, each with the ending of its files.
const ENCODINGS: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];
/// Bytes of the hash that an ETag shows: enough to tell one build from another.
const ETAG_BYTES: usize = 16;

/// What the operators see.
#[derive(RustEmbed)]
#[folder = "dashboard/dist"]
pub(crate) struct Dashboard;

/// What the demo's customers see.
#[derive(RustEmbed)]
#[folder = "storefront/dist"]
pub(crate) struct Storefront;

/// Whether a browser may keep a file.
#[derive(Clone, Copy)]
pub(crate) enum Caching {
    /// For good: its name changes with what is in it.
    Immutable,
    /// It asks each time whether what it has is still right.
    Asked,
}

/// What can be asked for: every file but the compressed ones and those whose name begins with a dot.
pub(crate) fn names<Dist: RustEmbed>() -> BTreeSet<Cow<'static, str>> {
    Dist::iter()
        .filter(|name| !name.starts_with('.') && !ENCODINGS.iter().any(|(_, ending)| name.ends_with(ending)))
        .collect()
}

/// The handler that answers with one file.
pub(crate) fn answer<Dist: RustEmbed>(
    name: impl Into<Cow<'static, str>>,
    caching: Caching,
) -> impl Fn(HeaderMap) -> Ready<Response> + Clone + Send + Sync + 'static {
    let name = name.into();
    move |headers| std::future::ready(file::<Dist>(&name, caching, &headers))
}

fn file<Dist: RustEmbed>(name: &str, caching: Caching, asked: &HeaderMap) -> Response {
    let plain = Dist::get(name).expect("a route is made for files that are there");
    let media_type = media_type(&plain);
    let (encoding, file) = ENCODINGS
        .into_iter()
        .filter(|(encoding, _)| takes(asked, encoding))
        .find_map(|(encoding, ending)| Some((Some(encoding), Dist::get(&format!("{name}{ending}"))?)))
        .unwrap_or((None, plain));
    let etag = etag(&file);
    let is_known = is_known(asked, &etag);

    let body = if is_known {
        Body::empty()
    } else {
        Body::from(bytes(file))
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::ETAG, etag);
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static(match caching {
            Caching::Immutable => "public, max-age=31536000, immutable",
            Caching::Asked => "no-cache",
        }),
    );
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    headers.insert(header::CONTENT_TYPE, media_type);
    if let Some(encoding) = encoding {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

fn bytes(file: EmbeddedFile) -> Bytes {
    match file.data {
        Cow::Borrowed(data) => Bytes::from_static(data),
        Cow::Owned(data) => data.into(),
    }
}

/// Text is UTF-8, whatever it is.
fn media_type(file: &EmbeddedFile) -> HeaderValue {
    let name = file.metadata.mimetype();
    let full = if name.starts_with("text/") {
        format!("{name}; charset=utf-8")
    } else {
        name.to_owned()
    };
    HeaderValue::from_str(&full).expect("a media type is plain text")
}

fn etag(file: &EmbeddedFile) -> HeaderValue {
    let hash = &file.metadata.sha256_hash()[..ETAG_BYTES];
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::from_str(&format!("\"{hex}\"")).expect("hexadecimal digits make a header")
}

/// Whether the client takes an encoding: it names it, and not with a weight of 0.
fn takes(headers: &HeaderMap, encoding: &str) -> bool {
    listed(headers, header::ACCEPT_ENCODING).any(|entry| {
        let (name, weight) = entry.split_once(';').unwrap_or((entry, ""));
        let weight = weight.trim().strip_prefix("q=").map(str::parse::<f32>);
        name.trim().eq_ignore_ascii_case(encoding) && !matches!(weight, Some(Ok(0.0) | Err(_)))
    })
}

/// Whether the client says that it has this file already.
fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    listed(headers, header::IF_NONE_MATCH)
        .any(|entry| entry == "*" || entry.strip_prefix("W/").unwrap_or(entry).as_bytes() == etag.as_bytes())
}

/// The entries of a header that is a list, over all its lines.
fn listed(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn an_encoding_is_taken_where_it_is_named() {
        for (value, brotli, gzip) in [
            ("gzip, deflate, br, zstd", true, true),
            ("GZIP;q=0.5", false, true),
            ("br;q=0, gzip ; q=1.0", false, true),
            ("br;q=0.000,gzip;q=nonsense", false, false),
            ("identity", false, false),
            ("xgzip", false, false),
            ("", false, false),
        ] {
            let asked = headers(header::ACCEPT_ENCODING, value);
            assert_eq!(
                (takes(&asked, "br"), takes(&asked, "gzip")),
                (brotli, gzip),
                "{value:?}"
            );
        }
        assert!(!takes(&HeaderMap::new(), "gzip"));
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        let etag = HeaderValue::from_static("\"a1\"");
        for (value, known) in [
            ("\"a1\"", true),
            ("W/\"a1\"", true),
            ("\"b2\", \"a1\"", true),
            ("*", true),
            ("\"b2\"", false),
            ("a1", false),
        ] {
            assert_eq!(
                is_known(&headers(header::IF_NONE_MATCH, value), &etag),
                known,
                "{value}"
            );
        }
    }

    #[test]
    fn compressed_copies_and_dot_files_have_no_address() {
        for names in [names::<Dashboard>(), names::<Storefront>()] {
            assert!(names.contains("index.html"));
            assert!(
                names
                    .iter()
                    .all(|name| !name.starts_with('.') && !name.ends_with(".gz"))
            );
        }
    }
}
