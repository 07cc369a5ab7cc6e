//! Finds the RabbitMQ and the Erlang port mapper installed on this machine, and judges whether that RabbitMQ
//! can take over data written by another version.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::NodeError;

/// Where Debian, Ubuntu and Fedora put the server; several versions may lie side by side.
const PACKAGED: &str = "/usr/lib/rabbitmq/lib";
const SERVER: &str = "sbin/rabbitmq-server";
/// For a hub started without a PATH.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A RabbitMQ that can be run.
#[derive(Debug, Clone)]
pub(super) struct Installation {
    pub(super) server: PathBuf,
    pub(super) epmd: PathBuf,
    pub(super) version: Version,
    /// The PATH to run it with.
    pub(super) path: OsString,
}

impl Installation {
    /// Looks in `home` if given, and nowhere else; otherwise on `path`, then where packages put it.
    pub(super) fn find(home: Option<&Path>, path: Option<OsString>) -> Result<Self, NodeError> {
        let path = path
            .filter(|path| !path.is_empty())
            .unwrap_or_else(|| USUAL_PATH.into());
        let (server, version) = match home {
            Some(home) => at_home(home).ok_or_else(|| not_installed("RabbitMQ", vec![home.to_owned()]))?,
            None => on_path(&path).or_else(packaged).ok_or_else(|| {
                let mut searched: Vec<PathBuf> = env::split_paths(&path).collect();
                searched.push(PACKAGED.into());
                not_installed("RabbitMQ", searched)
            })?,
        };
        let epmd = epmd(&path)
            .ok_or_else(|| not_installed("Erlang (erl, epmd)", env::split_paths(&path).collect()))?;
        Ok(Self {
            server,
            epmd,
            version,
            path,
        })
    }
}

fn not_installed(missing: &'static str, searched: Vec<PathBuf>) -> NodeError {
    NodeError::NotInstalled { missing, searched }
}

fn at_home(home: &Path) -> Option<(PathBuf, Version)> {
    let server = home.join(SERVER);
    let version = fs::read_dir(home.join("plugins")).ok()?.find_map(|plugin| {
        let name = plugin.ok()?.file_name().into_string().ok()?;
        name.strip_prefix("rabbit-")?.trim_end_matches(".ez").parse().ok()
    })?;
    server.is_file().then_some((server, version))
}

/// A distribution's wrapper script on the PATH leads nowhere from here; RabbitMQ's own script to its folder.
fn on_path(path: &OsString) -> Option<(PathBuf, Version)> {
    executables("rabbitmq-server", path)
        .filter_map(|script| script.canonicalize().ok())
        .find_map(|script| at_home(script.parent()?.parent()?))
}

fn packaged() -> Option<(PathBuf, Version)> {
    fs::read_dir(PACKAGED)
        .ok()?
        .filter_map(|home| at_home(&home.ok()?.path()))
        .max_by_key(|(_, version)| *version)
}

fn epmd(path: &OsString) -> Option<PathBuf> {
    executables("epmd", path).next().or_else(|| {
        let erl = executables("erl", path).next()?.canonicalize().ok()?;
        let bin = erl.parent()?;
        let runtimes = fs::read_dir(bin.parent()?).ok()?;
        let beside_runtime = runtimes.filter_map(|entry| Some(entry.ok()?.path().join("bin/epmd")));
        std::iter::once(bin.join("epmd"))
            .chain(beside_runtime)
            .find(|epmd| epmd.is_file())
    })
}

fn executables(name: &'static str, path: &OsString) -> impl Iterator<Item = PathBuf> {
    env::split_paths(path)
        .map(move |folder| folder.join(name))
        .filter(|file| file.is_file())
}

/// A RabbitMQ version; what follows the three numbers (`-rc.1`) is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

impl Version {
    /// Whether this version opens data that `old` wrote: patch releases in both directions, else one minor
    /// step up, and into the 4.x series from 3.13 (<https://www.rabbitmq.com/docs/upgrade>).
    pub(super) fn takes_over_from(self, old: Self) -> bool {
        match (old.major, self.major) {
            (3, 4) => old.minor == 13 && self.minor <= 2,
            (from, to) => from == to && (self.minor == old.minor || self.minor == old.minor + 1),
        }
    }
}

impl FromStr for Version {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut numbers = text.splitn(3, '.').map(|part| {
            let digits = part
                .find(|c: char| !c.is_ascii_digit())
                .map_or(part, |end| &part[..end]);
            digits.parse().map_err(|_| ())
        });
        let mut number = || numbers.next().unwrap_or(Err(()));
        Ok(Self {
            major: number()?,
            minor: number()?,
            patch: number()?,
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn versions_are_read_and_compared_as_numbers() {
        assert!(version("3.9.29") < version("3.10.8"));
        assert_eq!(version("4.1.0-rc.1").to_string(), "4.1.0");
        for wrong in ["", "3", "3.10", "x.1.2", "common-3.10.8"] {
            assert!(wrong.parse::<Version>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn data_moves_up_one_step_at_a_time() {
        for (old, new) in [
            ("3.10.8", "3.10.8"),
            ("3.10.8", "3.10.25"),
            ("3.10.25", "3.10.8"),
            ("3.10.8", "3.11.0"),
            ("3.13.7", "4.0.5"),
            ("4.0.5", "4.1.0"),
        ] {
            assert!(version(new).takes_over_from(version(old)), "{old} to {new}");
        }
        for (old, new) in [
            ("3.10.8", "4.0.5"),
            ("3.10.8", "3.12.0"),
            ("3.11.0", "3.10.8"),
            ("4.0.5", "3.13.7"),
            ("4.0.5", "4.2.0"),
        ] {
            assert!(!version(new).takes_over_from(version(old)), "{old} to {new}");
        }
    }

    fn lay_out(home: &Path, plugin: &str) {
        fs::create_dir_all(home.join("sbin")).unwrap();
        fs::create_dir_all(home.join("plugins").join("rabbit_common-9.9.9")).unwrap();
        fs::create_dir_all(home.join("plugins").join(plugin)).unwrap();
        fs::write(home.join(SERVER), "").unwrap();
    }

    #[test]
    fn a_server_on_the_path_is_found_through_its_link() {
        let folder = tempfile::tempdir().unwrap();
        let (home, bin) = (folder.path().join("opt/rabbitmq"), folder.path().join("bin"));
        lay_out(&home, "rabbit-3.13.7.ez");
        fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(home.join(SERVER), bin.join("rabbitmq-server")).unwrap();
        fs::write(bin.join("epmd"), "").unwrap();

        let found = Installation::find(None, Some(bin.clone().into())).unwrap();
        assert_eq!(found.server, home.canonicalize().unwrap().join(SERVER));
        assert_eq!(found.version, version("3.13.7"));
        assert_eq!(found.epmd, bin.join("epmd"));
    }

    #[test]
    fn nothing_installed_says_what_to_install_and_where_it_looked() {
        let folder = tempfile::tempdir().unwrap();
        let error = Installation::find(Some(folder.path()), None)
            .unwrap_err()
            .to_string();
        assert!(error.contains("Install the package rabbitmq-server"), "{error}");
        assert!(error.contains(&folder.path().display().to_string()), "{error}");
    }

    #[test]
    fn erlang_missing_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        lay_out(folder.path(), "rabbit-3.13.7");
        let error = Installation::find(Some(folder.path()), Some(folder.path().into())).unwrap_err();
        assert!(error.to_string().starts_with("Erlang"), "{error}");
    }

    #[test]
    fn the_port_mapper_is_found_beside_erlangs_runtime() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("lib/erlang");
        let (bin, runtime) = (root.join("bin"), root.join("erts-13.1/bin"));
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(&runtime).unwrap();
        fs::write(bin.join("erl"), "").unwrap();
        fs::write(runtime.join("epmd"), "").unwrap();
        let found = epmd(&bin.into()).unwrap();
        assert_eq!(found, runtime.canonicalize().unwrap().join("epmd"));
    }
}
