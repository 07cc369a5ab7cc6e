//! A process's log in a file that does not grow without end.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::PathBuf,
};

/// A file that is full is kept once as `<name>.1`, and a new one is begun.
const FILE_MAX_BYTES: u64 = 10 * 1024 * 1024;

/// An open log.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    written: u64,
    limit: u64,
}

impl LogFile {
    /// Begins the log anew.
    pub(super) fn begin(path: PathBuf) -> io::Result<Self> {
        Self::with_limit(path, FILE_MAX_BYTES)
    }

    fn with_limit(path: PathBuf, limit: u64) -> io::Result<Self> {
        let file = File::create(&path)?;
        Ok(Self {
            path,
            file,
            written: 0,
            limit,
        })
    }

    /// Adds what a process wrote.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.written + bytes.len() as u64 > self.limit {
            let mut full = self.path.clone().into_os_string();
            full.push(".1");
            fs::rename(&self.path, full)?;
            self.file = File::create(&self.path)?;
            self.written = 0;
        }
        self.file.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_is_kept_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("erp.log");
        fs::write(&path, "of an earlier run").unwrap();
        let mut log = LogFile::with_limit(path.clone(), 10).unwrap();
        for text in ["12345", "67890", "abc", "0123456789", "x"] {
            log.write(text.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "x");
        assert_eq!(
            fs::read_to_string(folder.path().join("erp.log.1")).unwrap(),
            "0123456789"
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
