//! Values that must not be seen: written in place, or referred to as a file or an environment
//! variable. They show in no `Debug` output and in no error.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::schema;

/// A secret of the settings. Written as a text, as `{ file = "…" }`, or as `{ env = "…" }`; the
/// last is replaced by the variable's value when the settings are loaded.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Secret {
    /// The secret itself.
    Value(String),
    /// The file that holds it.
    File {
        /// As written; a relative path counts from wherever the reader takes it.
        file: PathBuf,
    },
}

/// Why a secret could not be had. Never says what was found.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file could not be read.
    #[error("the secret's file {} cannot be read", path.display())]
    Unreadable {
        /// The file that was named.
        path: PathBuf,
        /// What the reader said.
        source: io::Error,
    },
    /// The file holds nothing but white space.
    #[error("the secret's file {} is empty", path.display())]
    Empty {
        /// The file that was named.
        path: PathBuf,
    },
    /// The environment variable is not set, or is empty.
    #[error("the environment variable {name} is not set")]
    Unset {
        /// The variable that was named.
        name: String,
    },
}

impl Secret {
    /// The secret's text: as written, or what `read` finds in its file, without the white space
    /// around it.
    ///
    /// # Errors
    /// When the file cannot be read or is empty.
    pub fn resolve(&self, read: impl Fn(&Path) -> io::Result<String>) -> Result<String, SecretError> {
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::File { file } => read_file(file, read),
        }
    }
}

fn read_file(path: &Path, read: impl Fn(&Path) -> io::Result<String>) -> Result<String, SecretError> {
    let text = read(path).map_err(|source| SecretError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    match text.trim() {
        "" => Err(SecretError::Empty {
            path: path.to_owned(),
        }),
        secret => Ok(secret.to_owned()),
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self::Value(value.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(_) => f.write_str("Secret(…)"),
            Self::File { file } => write!(f, "Secret(file {})", file.display()),
        }
    }
}

/// Where a secret of a manifest is found: `{ file = "…" }` or `{ env = "…" }`. A manifest is kept
/// in the database as it is written, so it never holds the secret itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretReference {
    /// The file that holds the secret.
    File(PathBuf),
    /// The environment variable that holds it.
    Env(String),
}

impl SecretReference {
    /// The secret's text, without the white space around it: what `read` finds in the file, or `variable` in
    /// the environment.
    ///
    /// # Errors
    /// When it cannot be read or is empty.
    pub fn resolve(
        &self,
        read: impl Fn(&Path) -> io::Result<String>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<String, SecretError> {
        match self {
            Self::File(path) => read_file(path, read),
            Self::Env(name) => match variable(name).as_deref().map(str::trim) {
                None | Some("") => Err(SecretError::Unset { name: name.clone() }),
                Some(secret) => Ok(secret.to_owned()),
            },
        }
    }
}

impl JsonSchema for SecretReference {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "SecretReference".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema::secret_reference()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_and_never_shown() {
        let written = Secret::from("hunter2");
        assert_eq!(written.resolve(|_| unreachable!()).unwrap(), "hunter2");
        assert_eq!(format!("{written:?}"), "Secret(…)");

        let in_file: Secret = serde_json::from_str(r#"{"file": "/run/secrets/amqp"}"#).unwrap();
        assert_eq!(in_file.resolve(|_| Ok(" hunter2\n".into())).unwrap(), "hunter2");
        let empty = in_file.resolve(|_| Ok("\n".into())).unwrap_err();
        assert_eq!(empty.to_string(), "the secret's file /run/secrets/amqp is empty");
        let unreadable = in_file.resolve(|_| Err(io::Error::other("gone"))).unwrap_err();
        assert!(matches!(unreadable, SecretError::Unreadable { .. }));
    }

    #[test]
    fn a_reference_leads_to_a_file_or_a_variable() {
        let file: SecretReference = serde_json::from_str(r#"{"file": "secrets/shop"}"#).unwrap();
        let path = |path: &Path| Ok(format!(" {}\n", path.display()));
        assert_eq!(file.resolve(path, |_| unreachable!()).unwrap(), "secrets/shop");
        let env: SecretReference = serde_json::from_str(r#"{"env": "SHOP"}"#).unwrap();
        let name = |name: &str| Some(format!("{name}\n"));
        assert_eq!(env.resolve(|_| unreachable!(), name).unwrap(), "SHOP");
        for missing in [None, Some(" ".to_owned())] {
            let error = env.resolve(|_| unreachable!(), |_| missing.clone()).unwrap_err();
            assert_eq!(error.to_string(), "the environment variable SHOP is not set");
        }
    }
}
