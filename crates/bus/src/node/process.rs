//! Processes that end with the hub. Each is started and reaped by a thread of its own, because the kernel ties a
//! parent-death signal to the thread that forked, not to its process; where the system has no `setpriv` to ask
//! for that signal, what a killed hub left behind is found by the mark in its environment.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// How long killed processes may take to be gone.
const KILL_DEADLINE: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A child process; dropping it kills it.
pub(super) struct Process {
    pid: Pid,
    unreaped: Arc<Mutex<bool>>,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    /// Runs the command in a process group of its own, so that the terminal's Ctrl+C reaches only the hub.
    pub(super) fn spawn(name: &str, mut command: Command) -> io::Result<Self> {
        command.stdin(Stdio::null()).process_group(0);
        let (started, start) = mpsc::sync_channel(1);
        let (exited, exit) = watch::channel(None);
        let unreaped = Arc::new(Mutex::new(true));
        let keeper = Keeper {
            command,
            exited,
            unreaped: Arc::clone(&unreaped),
        };
        thread::Builder::new()
            .name(format!("{name} keeper"))
            .spawn(move || keeper.run(&started))?;
        let pid = start
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other("its keeper ended")))?;
        Ok(Self { pid, unreaped, exit })
    }

    pub(super) fn id(&self) -> u32 {
        self.pid.as_raw_pid().unsigned_abs()
    }

    /// Resolves when the process has ended, with how it ended.
    pub(super) async fn exited(&self) -> String {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(status)) => status.to_string(),
            _ => "unknown".into(),
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        let unreaped = self.unreaped.lock().unwrap_or_else(PoisonError::into_inner);
        if *unreaped {
            // It can only fail for a process that has just ended by itself.
            let _ = kill_process(self.pid, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

struct Keeper {
    command: Command,
    exited: watch::Sender<Option<ExitStatus>>,
    unreaped: Arc<Mutex<bool>>,
}

impl Keeper {
    fn run(mut self, started: &mpsc::SyncSender<io::Result<Pid>>) {
        let mut child = match self.command.spawn() {
            Ok(child) => child,
            Err(error) => return drop(started.send(Err(error))),
        };
        let pid = Pid::from_child(&child);
        let _ = started.send(Ok(pid));
        // Until it is reaped its id is nobody else's; so it is safe to signal it up to there.
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while matches!(waitid(WaitId::Pid(pid), ended), Err(Errno::INTR)) {}
        *self.unreaped.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.exited.send_replace(child.wait().ok());
    }
}

/// How to start a program so that the kernel kills it when the hub dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tether {
    Kernel,
    /// No `setpriv` here, or one that cannot do it.
    None,
}

impl Tether {
    pub(super) fn probe(path: &OsStr) -> Self {
        let works = Self::Kernel
            .command("true".as_ref())
            .env("PATH", path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if works { Self::Kernel } else { Self::None }
    }

    pub(super) fn command(self, program: &OsStr) -> Command {
        match self {
            Self::Kernel => {
                let mut command = Command::new("setpriv");
                command.args(["--pdeathsig", "KILL"]).arg(program);
                command
            }
            Self::None => Command::new(program),
        }
    }
}

/// What tells the processes of one node from all others: a variable in their environment and the folder they
/// work in. A copy of the folder has the same variable, another folder.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    pub(super) variable: &'static str,
    pub(super) value: String,
    pub(super) folder: PathBuf,
}

impl Mark {
    /// The processes that carry the mark. Where there is no `/proc`, none are found.
    fn bearers(&self) -> Vec<Pid> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries
            .filter(|entry| self.is_borne_by(&entry.path()))
            .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
            .collect()
    }

    fn is_borne_by(&self, process: &Path) -> bool {
        let entry = format!("{}={}", self.variable, self.value);
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == entry.as_bytes())
            && fs::read_link(process.join("cwd")).is_ok_and(|folder| folder == self.folder)
    }

    /// Kills every process that carries the mark and waits until they are gone. Gives how many there were, or
    /// the ids of those that would not go.
    pub(super) async fn end_bearers(&self) -> Result<usize, Vec<i32>> {
        let found = self.bearers().len();
        let deadline = Instant::now() + KILL_DEADLINE;
        loop {
            let alive = self.bearers();
            if alive.is_empty() {
                return Ok(found);
            }
            if Instant::now() > deadline {
                return Err(alive.into_iter().map(Pid::as_raw_pid).collect());
            }
            for pid in alive {
                let _ = kill_process(pid, Signal::KILL);
            }
            sleep(POLL_INTERVAL).await;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sleeper() -> Command {
        let mut command = Command::new("sleep");
        command.arg("600");
        command
    }

    #[tokio::test]
    async fn a_dropped_process_is_killed_and_reaped() {
        let process = Process::spawn("sleeper", sleeper()).unwrap();
        let mut exit = process.exit.clone();
        let folder = format!("/proc/{}", process.id());
        drop(process);
        exit.wait_for(Option::is_some).await.unwrap();
        assert!(!Path::new(&folder).exists());
    }

    #[tokio::test]
    async fn tells_how_it_ended_and_takes_no_signal_afterwards() {
        let process = Process::spawn("false", Command::new("false")).unwrap();
        assert_eq!(process.exited().await, "exit status: 1");
        process.signal(Signal::TERM);
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        assert!(Process::spawn("nothing", Command::new("/nonexistent/program")).is_err());
    }

    #[tokio::test]
    async fn only_processes_with_the_variable_in_the_folder_are_ended() {
        let (here, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mark = |folder: &Path| Mark {
            variable: "CROSSDOCK_TEST_MARK",
            value: "one".into(),
            folder: folder.canonicalize().unwrap(),
        };
        let start = |folder: &Path, value: &str| {
            let mut command = sleeper();
            command.env("CROSSDOCK_TEST_MARK", value).current_dir(folder);
            Process::spawn("sleeper", command).unwrap()
        };
        let ours = start(here.path(), "one");
        let in_the_copy = start(copy.path(), "one");
        let of_another_node = start(here.path(), "two");

        assert_eq!(mark(here.path()).end_bearers().await, Ok(1));
        assert!(ours.exited().await.contains("signal: 9"));
        for innocent in [in_the_copy, of_another_node] {
            assert!(innocent.exit.borrow().is_none());
        }
        assert_eq!(mark(here.path()).end_bearers().await, Ok(0));
    }
}
