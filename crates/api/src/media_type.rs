//! The `Content-Type` of a request (RFC 9110, section 8.3), as far as this API looks at it.

use axum::http::{HeaderMap, header};

use crate::{Problem, problem_types as kinds};

/// A media type in lower case with its charset.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MediaType {
    /// `type/subtype`.
    pub(crate) essence: String,
    charset: Option<String>,
}

impl MediaType {
    /// The content type of a request; `None` if it does not say.
    ///
    /// # Errors
    /// When it says so twice or in characters that no media type has.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let mut values = headers.get_all(header::CONTENT_TYPE).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(kinds::MALFORMED_REQUEST.with("the request has more than one Content-Type header"));
        }
        let text = value
            .to_str()
            .map_err(|_| kinds::MALFORMED_REQUEST.with("the Content-Type header is not printable ASCII"))?;
        Ok(Some(Self::parse(text)))
    }

    fn parse(text: &str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let charset = parts
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
            .map(|(_, value)| value.trim().trim_matches('"').to_ascii_lowercase());
        Self { essence, charset }
    }

    /// Whether the text is UTF-8, of which US-ASCII is a part.
    pub(crate) fn is_utf8(&self) -> bool {
        self.charset
            .as_deref()
            .is_none_or(|charset| matches!(charset, "utf-8" | "utf8" | "us-ascii"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_case_are_understood() {
        let plain = MediaType::parse("Application/JSON");
        assert_eq!(plain.essence, "application/json");
        assert!(plain.is_utf8());
        assert!(MediaType::parse("application/json; v=1 ; Charset=\"UTF-8\"").is_utf8());
        assert!(!MediaType::parse("application/json;charset=iso-8859-1").is_utf8());
    }

    #[test]
    fn two_content_types_are_refused() {
        let headers: HeaderMap = [("text/plain"), ("text/html")]
            .into_iter()
            .map(|value| (header::CONTENT_TYPE, value.parse().unwrap()))
            .collect();
        assert!(MediaType::of(&headers).is_err());
        assert_eq!(MediaType::of(&HeaderMap::new()).unwrap(), None);
    }
}
