//! A configuration file's contents, and what is wrong with it where.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One file of the configuration folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Path relative to the configuration folder, with `/` between its parts: `adapters/erp.toml`.
    pub path: String,
    /// The whole text.
    pub text: String,
}

/// One fault of the configuration. Its message never repeats a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConfigFault {
    /// The file's path as the [`SourceFile`] gave it, or `environment variable <NAME>`.
    pub file: String,
    /// Counted from 1; 0 for a fault of the environment.
    pub line: usize,
    /// In characters, counted from 1; 0 for a fault of the environment.
    pub column: usize,
    /// What is wrong and what was expected.
    pub message: String,
}

impl ConfigFault {
    pub(crate) fn of_variable(name: &str, message: impl Into<String>) -> Self {
        Self {
            file: format!("environment variable {name}"),
            line: 0,
            column: 0,
            message: message.into(),
        }
    }

    /// The same fault with its file named from where the reader stands: `folder` is put before the
    /// path. Faults of the environment stay as they are.
    #[must_use]
    pub fn in_folder(mut self, folder: &str) -> Self {
        if self.line > 0 {
            self.file = format!("{}/{}", folder.trim_end_matches('/'), self.file);
        }
        self
    }
}

/// `adapters/erp.toml:3:1: message`, the form that editors and terminals turn into a link.
impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.message),
            line => write!(f, "{}:{line}:{}: {}", self.file, self.column, self.message),
        }
    }
}

impl std::error::Error for ConfigFault {}
