//! The configuration as it lies on the disk: which folder, which files, and the settings read from them
//! and from the environment. What the files mean is `crossdock-config`'s business.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use crossdock_config::{ConfigFault, Settings, SourceFile, load_shared};

/// Read where no `--config` is given, if it exists.
const DEFAULT_FILE: &str = "config/crossdock.toml";
/// Where the files that all hubs share are, and what they end in.
const SHARED_FOLDERS: [(&str, &str); 2] = [("adapters", "toml"), ("schemas", "json")];
/// The other file that all hubs share, if there is one.
const STATE_FILE: &str = "state.toml";

/// Every file of a configuration folder.
#[derive(Debug)]
pub(crate) struct Configuration {
    folder: PathBuf,
    settings_file: Option<SourceFile>,
    /// The files that revisions are made of, sorted by path.
    pub(crate) shared_files: Vec<SourceFile>,
}

/// Everything wrong with a configuration, with paths as seen from the working directory.
#[derive(Debug, thiserror::Error)]
#[error("{}", list(.0))]
pub(crate) struct Faults(pub(crate) Vec<ConfigFault>);

fn list(faults: &[ConfigFault]) -> String {
    faults
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

impl Configuration {
    /// Reads `file`, else `config/crossdock.toml` if there is one, and beside it the adapters' manifests in the
    /// folder `adapters`, the shop's own schemas in the folder `schemas` and the rules of live state in `state.toml`.
    pub(crate) fn read(file: Option<&Path>) -> anyhow::Result<Self> {
        let path = file.unwrap_or(Path::new(DEFAULT_FILE));
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let settings_file = match fs::read_to_string(path) {
            Ok(text) => {
                let name = path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                Some(SourceFile { path: name, text })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && file.is_none() => None,
            Err(error) => return Err(unreadable(path, error)),
        };
        let mut shared_files = Vec::new();
        for (name, extension) in SHARED_FOLDERS {
            read_folder(&folder, name, extension, &mut shared_files)?;
        }
        let states = folder.join(STATE_FILE);
        match fs::read_to_string(&states) {
            Ok(text) => shared_files.push(SourceFile {
                path: STATE_FILE.to_owned(),
                text,
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(&states, error)),
        }
        shared_files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(Self {
            folder,
            settings_file,
            shared_files,
        })
    }

    /// The settings of this machine, and what is worth a warning about them.
    pub(crate) fn settings(&self) -> Result<(Settings, Vec<String>), Faults> {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Settings::load(self.settings_file.as_ref(), environment).map_err(|faults| self.place(faults))
    }

    /// Whether the settings that `file` has now are others than these. Of a file that cannot be read, or has faults, that
    /// is not known.
    pub(crate) fn differs(file: Option<&Path>, from: &Settings) -> bool {
        let now = Self::read(file)
            .ok()
            .and_then(|configuration| configuration.settings().ok());
        now.is_some_and(|(now, _)| now != *from)
    }

    /// Every fault of the settings and of the shared files at once; otherwise the settings and their warnings.
    pub(crate) fn check(&self) -> Result<(Settings, Vec<String>), Faults> {
        match (self.settings(), load_shared(&self.shared_files)) {
            (Ok(settings), Ok(_)) => Ok(settings),
            (Err(faults), Ok(_)) => Err(faults),
            (Ok(_), Err(faults)) => Err(self.place(faults)),
            (Err(mut all), Err(faults)) => {
                all.0.extend(self.place(faults).0);
                Err(all)
            }
        }
    }

    /// Faults with their files named as seen from the working directory.
    pub(crate) fn place(&self, faults: Vec<ConfigFault>) -> Faults {
        let folder = self.folder.to_string_lossy();
        if folder.is_empty() {
            return Faults(faults);
        }
        Faults(faults.into_iter().map(|fault| fault.in_folder(&folder)).collect())
    }

    /// What was read, for people: `config/crossdock.toml and 3 adapters`.
    pub(crate) fn summary(&self) -> String {
        let settings = match &self.settings_file {
            Some(file) => self.folder.join(&file.path).display().to_string(),
            None => "no settings file (all defaults)".to_owned(),
        };
        let in_folder = |folder: &str| {
            let inside = |file: &&SourceFile| file.path.starts_with(folder);
            self.shared_files.iter().filter(inside).count()
        };
        let adapters = match in_folder("adapters/") {
            1 => "1 adapter".to_owned(),
            number => format!("{number} adapters"),
        };
        let schemas = match in_folder("schemas/") {
            0 => String::new(),
            1 => ", 1 schema".to_owned(),
            number => format!(", {number} schemas"),
        };
        let states = match in_folder(STATE_FILE) {
            0 => "",
            _ => ", rules of live state",
        };
        format!("{settings}, {adapters}{schemas}{states}")
    }
}

/// Where something that listens on `listen` is reached from its own machine.
pub(crate) fn reachable(listen: SocketAddr) -> SocketAddr {
    let loopback = match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        named => named,
    };
    SocketAddr::new(loopback, listen.port())
}

/// Reads the files of a folder, if there is one, that end in `extension` and are not hidden.
fn read_folder(root: &Path, name: &str, extension: &str, files: &mut Vec<SourceFile>) -> anyhow::Result<()> {
    let folder = root.join(name);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unreadable(&folder, error)),
    };
    for entry in entries {
        let path = entry
            .with_context(|| format!("cannot list {}", folder.display()))?
            .path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden || path.extension().is_none_or(|found| found != extension) {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        files.push(SourceFile {
            path: format!("{name}/{file}"),
            text,
        });
    }
    Ok(())
}

/// Why a file cannot be read, in a sentence.
pub(crate) fn unreadable(path: &Path, error: io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::NotFound => anyhow!("{} does not exist", path.display()),
        io::ErrorKind::InvalidData => anyhow!("{} is not UTF-8 text", path.display()),
        io::ErrorKind::PermissionDenied => anyhow!("this user may not read {}", path.display()),
        _ => anyhow!("cannot read {}: {error}", path.display()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, _) in SHARED_FOLDERS {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        folder
    }

    #[test]
    fn reads_manifests_and_schemas_and_nothing_else_in_order() {
        let folder = folder();
        for name in [
            "adapters/shop.toml",
            "adapters/erp.toml",
            "adapters/.hidden.toml",
            "adapters/notes.md",
            "schemas/points.earned.v1.json",
            "schemas/.points.earned.v1.json",
            "schemas/README",
            "state.toml",
            "state.schema.json",
        ] {
            fs::write(folder.path().join(name), "name = 1").unwrap();
        }
        let file = folder.path().join("crossdock.toml");
        fs::write(&file, "").unwrap();
        let configuration = Configuration::read(Some(&file)).unwrap();
        let paths: Vec<_> = configuration
            .shared_files
            .iter()
            .map(|file| file.path.as_str())
            .collect();
        assert_eq!(
            paths,
            [
                "adapters/erp.toml",
                "adapters/shop.toml",
                "schemas/points.earned.v1.json",
                "state.toml"
            ]
        );
        assert!(
            configuration
                .summary()
                .ends_with("crossdock.toml, 2 adapters, 1 schema, rules of live state")
        );
    }

    #[test]
    fn settings_differ_by_what_they_say() {
        let folder = folder();
        let file = folder.path().join("crossdock.toml");
        let write = |text: &str| fs::write(&file, text).unwrap();
        write("[retention]\nevents_days = 30\n");
        let (settings, _) = Configuration::read(Some(&file)).unwrap().settings().unwrap();
        for (text, differs) in [
            ("# for a month\n[retention]\nevents_days = 30", false),
            ("[retention]\nevents_days = 31", true),
            ("", true),
            ("[retention]\nevents_days = ", false),
        ] {
            write(text);
            assert_eq!(Configuration::differs(Some(&file), &settings), differs, "{text}");
        }
        fs::remove_file(&file).unwrap();
        assert!(!Configuration::differs(Some(&file), &settings));
    }

    #[test]
    fn faults_are_named_from_where_the_reader_stands() {
        let folder = folder();
        fs::write(folder.path().join("adapters/erp.toml"), "name = ").unwrap();
        fs::write(folder.path().join("schemas/points.earned.v1.json"), "{\n,").unwrap();
        fs::write(folder.path().join("state.toml"), "\n[[state]]\ntopic = 7\n").unwrap();
        let file = folder.path().join("crossdock.toml");
        fs::write(&file, "[http]\nlisten = \"nowhere\"\n").unwrap();
        let faults = Configuration::read(Some(&file))
            .unwrap()
            .check()
            .unwrap_err()
            .to_string();
        let here = folder.path().display();
        assert!(faults.contains(&format!("{here}/crossdock.toml:2:")), "{faults}");
        assert!(
            faults.contains(&format!("{here}/adapters/erp.toml:1:")),
            "{faults}"
        );
        assert!(
            faults.contains(&format!("{here}/schemas/points.earned.v1.json:2:")),
            "{faults}"
        );
        assert!(faults.contains(&format!("{here}/state.toml:3:")), "{faults}");
    }

    #[test]
    fn whatever_listens_everywhere_is_reached_on_loopback() {
        let reached =
            ["0.0.0.0:8080", "[::]:8080", "192.0.2.7:80"].map(|listen| reachable(listen.parse().unwrap()));
        assert_eq!(
            reached.map(|address| address.to_string()),
            ["127.0.0.1:8080", "[::1]:8080", "192.0.2.7:80"]
        );
    }

    #[test]
    fn a_file_that_was_named_must_exist() {
        let error = Configuration::read(Some(Path::new("nowhere/crossdock.toml"))).unwrap_err();
        assert_eq!(error.to_string(), "nowhere/crossdock.toml does not exist");
    }
}
