//! The distribution's PostgreSQL, and how its programs are started: never as root, and ended with whoever starts them.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Where Debian's packages put each major version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// The system user of the distribution's packages.
const SYSTEM_USER: &str = "postgres";
/// From here on a database can order texts by ICU's rules.
const FIRST_WITH_ICU: u32 = 15;

/// The newest PostgreSQL on this machine.
#[derive(Debug)]
pub(super) struct Installation {
    folder: PathBuf,
    major: u32,
    user: Option<User>,
}

/// Whom the programs run as instead of root.
#[derive(Debug, Clone, Copy)]
struct User {
    id: u32,
    group: u32,
}

impl Installation {
    pub(super) fn find() -> Result<Self> {
        let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
        let newest = versions
            .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())))
            .map(|(major, folder)| (major, folder.join("bin")))
            .filter(|(_, folder)| folder.join("initdb").is_file())
            .max();
        let (major, folder) = newest.map_or_else(on_path, Ok)?;
        let user = if rustix::process::geteuid().is_root() {
            Some(system_user()?)
        } else {
            None
        };
        Ok(Self { folder, major, user })
    }

    /// Gives a file or folder to the user that the programs run as.
    pub(super) fn hand_over(&self, path: &Path) -> Result<()> {
        if let Some(user) = self.user {
            chown(path, Some(user.id), Some(user.group)).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    /// A program of PostgreSQL that the kernel ends when the thread that started it does.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        // QUIT: at once, as after a crash. What a dead test's database holds is worth nothing.
        command.args(["--pdeathsig", "QUIT"]);
        if let Some(user) = self.user {
            command
                .arg(format!("--reuid={}", user.id))
                .arg(format!("--regid={}", user.group))
                .arg("--clear-groups");
        }
        command
            .arg(self.folder.join(program))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LANG", "C.UTF-8");
        command
    }

    /// Makes the files of an empty server. Where it can, texts are ordered by a language's rules unless a statement
    /// asks otherwise, so that whoever forgets to ask is found out.
    pub(super) fn init(&self, data: &Path, user: &str, password_file: &Path) -> Result<()> {
        let mut command = self.command("initdb");
        command
            .arg("--pgdata")
            .arg(data)
            .args(["--username", user])
            .arg("--pwfile")
            .arg(password_file)
            // Quicker than SCRAM, which is made slow on purpose.
            .args(["--auth", "md5"])
            .args(["--encoding", "UTF8", "--locale", "C.UTF-8"])
            .args(["--no-sync", "--no-instructions"]);
        if self.major >= FIRST_WITH_ICU {
            command.args(["--locale-provider", "icu", "--icu-locale", "en-US"]);
        }
        let done = command.output().context("setpriv, of util-linux, does not run")?;
        ensure!(
            done.status.success(),
            "initdb failed: {}",
            String::from_utf8_lossy(&done.stderr).trim()
        );
        Ok(())
    }
}

fn on_path() -> Result<(u32, PathBuf)> {
    let missing = "PostgreSQL is not installed: tests/run installs it";
    let path = std::env::var_os("PATH").context(missing)?;
    let Some(folder) = std::env::split_paths(&path).find(|folder| folder.join("initdb").is_file()) else {
        bail!(missing)
    };
    let said = Command::new(folder.join("postgres")).arg("--version").output()?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    // postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)
    let major = said
        .split_whitespace()
        .find_map(|word| word.split('.').next()?.parse().ok())
        .with_context(|| format!("no version in {said:?}"))?;
    Ok((major, folder))
}

fn system_user() -> Result<User> {
    let users = fs::read_to_string("/etc/passwd")?;
    let line = users
        .lines()
        .find(|line| line.split(':').next() == Some(SYSTEM_USER))
        .with_context(|| format!("PostgreSQL refuses to run as root, and there is no user {SYSTEM_USER}"))?;
    let mut ids = line.split(':').skip(2).map(str::parse);
    match (ids.next(), ids.next()) {
        (Some(Ok(id)), Some(Ok(group))) => Ok(User { id, group }),
        _ => bail!("/etc/passwd: {line:?}"),
    }
}
