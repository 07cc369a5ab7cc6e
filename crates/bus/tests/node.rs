//! The private node on this machine's real RabbitMQ: what it leaves open, what it survives, what it leaves behind.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crossdock_bus::node::{Node, NodeError, NodeOptions, NodeState};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

const DEADLINE: Duration = Duration::from_secs(90);
const STAND_IN_FOLDER: &str = "CROSSDOCK_TEST_STAND_IN_FOLDER";

fn folder() -> TempDir {
    TempDir::with_prefix("crossdock node test ").unwrap()
}

async fn start(folder: &Path) -> Node {
    Node::start(NodeOptions::new(folder))
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

fn kept(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("node.json")).unwrap()).unwrap()
}

/// Processes whose environment names the node kept in the folder: RabbitMQ, its helpers and its port mapper.
fn processes(folder: &Path) -> Vec<PathBuf> {
    let mark = format!("CROSSDOCK_NODE={}", kept(folder)["node_name"].as_str().unwrap());
    let entries = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let bears_mark = |process: &PathBuf| {
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == mark.as_bytes())
    };
    entries.filter(bears_mark).collect()
}

fn port_mapper(folder: &Path) -> Option<u32> {
    let is_epmd =
        |process: &PathBuf| fs::read_to_string(process.join("comm")).is_ok_and(|name| name == "epmd\n");
    processes(folder)
        .into_iter()
        .find(is_epmd)?
        .file_name()?
        .to_str()?
        .parse()
        .ok()
}

/// Local addresses of listening sockets on any of the node's ports, in the kernel's notation.
fn listening(folder: &Path) -> Vec<String> {
    let kept = kept(folder);
    let ports: Vec<String> = kept["ports"]
        .as_object()
        .unwrap()
        .values()
        .map(|port| format!("{:04X}", port.as_u64().unwrap()))
        .collect();
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    tables
        .iter()
        .flat_map(|table| table.lines().skip(1))
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields[3] == "0A")
        .map(|fields| fields[1].to_owned())
        .filter(|address| ports.iter().any(|port| address.ends_with(port)))
        .collect()
}

async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Ends a node that has shown what it had to, quicker than in order.
async fn end(node: Node) {
    if let Some(pid) = node.pid() {
        kill(pid);
    }
    node.stop().await;
}

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_listens_on_loopback_only_keeps_its_secrets_and_stops_without_a_trace() {
    let folder = folder();
    let node = start(folder.path()).await;
    assert_eq!(node.state(), NodeState::Running);

    let loopback = ["0100007F:", "00000000000000000000000001000000:"];
    let listening_on = listening(folder.path());
    assert!(listening_on.len() >= 4, "{listening_on:?}");
    for address in &listening_on {
        assert!(
            loopback.iter().any(|prefix| address.starts_with(prefix)),
            "{address}"
        );
    }

    for entry in fs::read_dir(folder.path()).unwrap().flatten() {
        let mode = entry.metadata().unwrap().permissions().mode() & 0o077;
        assert_eq!(mode, 0, "{} is open to others", entry.path().display());
    }
    let password = kept(folder.path())["password"].as_str().unwrap().to_owned();
    assert!(!format!("{node:?}").contains(&password));
    for process in processes(folder.path()) {
        let arguments = fs::read(process.join("cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&arguments).contains(&password));
    }

    let management = node.management().unwrap();
    let users: Vec<String> = management
        .users()
        .await
        .unwrap()
        .into_iter()
        .map(|user| user.name)
        .collect();
    assert_eq!(users, [management.user()], "the guest user must not exist");
    let overview = management.overview().await.unwrap();
    assert_eq!(overview.version, node.version());
    assert_eq!(overview.alarms, []);
    let flags = management.feature_flags().await.unwrap();
    assert!(
        flags
            .iter()
            .all(|flag| flag.stability != "stable" || flag.state == "enabled"),
        "{flags:?}"
    );

    lapin::Connection::connect(node.broker_url(), lapin::ConnectionProperties::default())
        .await
        .unwrap();

    assert!(processes(folder.path()).len() >= 2);
    node.stop().await;
    assert_eq!(processes(folder.path()), Vec::<PathBuf>::new());
    assert_eq!(listening(folder.path()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_it_comes_back_at_the_same_addresses_with_its_data_and_so_it_does_after_a_stop() {
    let folder = folder();
    let node = start(folder.path()).await;
    node.management()
        .unwrap()
        .with_vhost("kept")
        .put_vhost()
        .await
        .unwrap();
    let (broker_url, pid) = (node.broker_url().to_owned(), node.pid().unwrap());

    let mut state = node.watch();
    kill(pid);
    let down = timeout(DEADLINE, state.wait_for(|state| *state != NodeState::Running))
        .await
        .unwrap()
        .unwrap()
        .clone();
    assert_eq!(
        down,
        NodeState::Down {
            reason: "RabbitMQ ended with signal: 9 (SIGKILL)".into()
        }
    );
    timeout(DEADLINE, state.wait_for(|state| *state == NodeState::Running))
        .await
        .unwrap()
        .unwrap();
    assert_ne!(node.pid(), Some(pid));
    assert!(
        node.management()
            .unwrap()
            .vhosts()
            .await
            .unwrap()
            .contains(&"kept".to_owned())
    );
    node.stop().await;

    let node = start(folder.path()).await;
    assert_eq!(node.broker_url(), broker_url);
    assert!(
        node.management()
            .unwrap()
            .vhosts()
            .await
            .unwrap()
            .contains(&"kept".to_owned())
    );
    drop(node);
    wait_until("a dropped node ends", || processes(folder.path()).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_run_side_by_side_and_a_folder_belongs_to_one() {
    let (one_folder, other_folder) = (folder(), folder());
    let (one, other) = tokio::join!(start(one_folder.path()), start(other_folder.path()));
    for node in [&one, &other] {
        node.management().unwrap().overview().await.unwrap();
    }

    let killed = port_mapper(one_folder.path()).unwrap();
    kill(killed);
    let replaced = || port_mapper(one_folder.path()).is_some_and(|other| other != killed);
    wait_until("the port mapper is replaced", replaced).await;
    assert_eq!(one.state(), NodeState::Running);

    let refused = Node::start(NodeOptions::new(one_folder.path()))
        .await
        .unwrap_err();
    assert!(matches!(refused, NodeError::InUse(_)), "{refused}");

    end(one).await;
    assert_eq!(processes(one_folder.path()), Vec::<PathBuf>::new());
    other.management().unwrap().overview().await.unwrap();
    end(other).await;
}

/// Not a test of its own: the hub that other tests start as a process, to kill it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by other tests"]
async fn hub_stand_in() {
    let Some(folder) = std::env::var_os(STAND_IN_FOLDER) else {
        return;
    };
    let _node = start(folder.as_ref()).await;
    eprintln!("\nready");
    std::future::pending::<()>().await;
}

struct StandIn(Child);

impl StandIn {
    fn start(mut command: Command, folder: &Path) -> Self {
        command
            .env(STAND_IN_FOLDER, folder)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(
            lines.any(|line| line.unwrap() == "ready"),
            "the stand-in hub did not start its node"
        );
        Self(child)
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn stand_in_program() -> [String; 5] {
    let program = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    [
        program,
        "--exact".into(),
        "hub_stand_in".into(),
        "--ignored".into(),
        "--nocapture".into(),
    ]
}

fn stand_in_command() -> Command {
    let [program, arguments @ ..] = stand_in_program();
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn it_dies_with_a_killed_hub() {
    let folder = folder();
    let hub = StandIn::start(stand_in_command(), folder.path());
    assert!(processes(folder.path()).len() >= 2);
    hub.kill();
    wait_until("the kernel ends the node", || processes(folder.path()).is_empty()).await;
}

/// A PATH like this machine's, but without `setpriv`.
fn path_without_setpriv(folder: &Path) -> PathBuf {
    let programs = folder.join("bin");
    fs::create_dir(&programs).unwrap();
    for entry in
        std::env::split_paths(&std::env::var_os("PATH").unwrap()).filter_map(|path| fs::read_dir(path).ok())
    {
        for program in entry.flatten().filter(|program| program.file_name() != "setpriv") {
            // The first of a name on the PATH wins.
            let _ = symlink(program.path(), programs.join(program.file_name()));
        }
    }
    programs
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_hub_left_is_recognised_and_ended_by_the_next() {
    let (folder, programs) = (folder(), folder());
    let mut command = stand_in_command();
    command.env("PATH", path_without_setpriv(programs.path()));
    StandIn::start(command, folder.path()).kill();
    let left = processes(folder.path());
    assert!(left.len() >= 2, "nothing was left to recognise");

    let node = start(folder.path()).await;
    assert!(
        left.iter()
            .all(|process| !processes(folder.path()).contains(process))
    );
    node.management().unwrap().overview().await.unwrap();
    end(node).await;
    assert_eq!(processes(folder.path()), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_user_without_a_home_runs_it_as_well() {
    if !geteuid().is_root() {
        // Then every other test here has shown it.
        return;
    }
    let parent = folder();
    fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let data = parent.path().join("var/rabbitmq");
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .args(stand_in_program())
        .env_remove("HOME");
    let hub = StandIn::start(command, &data);
    assert!(processes(&data).len() >= 2);
    hub.kill();
    wait_until("the kernel ends the node", || processes(&data).is_empty()).await;
}

/// A RabbitMQ whose server is this script.
fn impostor(script: &str) -> TempDir {
    let home = folder();
    fs::create_dir_all(home.path().join("plugins/rabbit-3.10.8")).unwrap();
    fs::create_dir(home.path().join("sbin")).unwrap();
    let server = home.path().join("sbin/rabbitmq-server");
    fs::write(&server, script).unwrap();
    fs::set_permissions(&server, fs::Permissions::from_mode(0o755)).unwrap();
    home
}

async fn failure_in(data: &Path, script: &str) -> NodeError {
    let home = impostor(script);
    let options = NodeOptions {
        rabbitmq_home: Some(home.path().to_owned()),
        boot_deadline: Duration::from_secs(2),
        ..NodeOptions::new(data)
    };
    let error = Node::start(options).await.unwrap_err();
    assert_eq!(processes(data), Vec::<PathBuf>::new());
    error
}

#[tokio::test]
async fn a_start_that_fails_shows_the_end_of_the_log() {
    let error = failure_in(
        folder().path(),
        "#!/bin/sh\necho 'BOOT FAILED: no room'\nexit 3\n",
    )
    .await;
    assert!(matches!(error, NodeError::Boot { .. }), "{error}");
    let error = error.to_string();
    assert!(error.contains("exit status: 3"), "{error}");
    assert!(error.contains("BOOT FAILED: no room"), "{error}");
}

#[tokio::test]
async fn a_start_that_takes_too_long_is_given_up() {
    let error = failure_in(
        folder().path(),
        "#!/bin/sh\necho 'still thinking'\nexec sleep 600\n",
    )
    .await;
    assert!(matches!(error, NodeError::Boot { .. }), "{error}");
    let error = error.to_string();
    assert!(error.contains("not ready after 2 s"), "{error}");
    assert!(error.contains("still thinking"), "{error}");
}

#[tokio::test]
async fn data_of_a_version_too_far_away_is_left_alone() {
    let folder = folder();
    let broken = "#!/bin/sh\nexit 1\n";
    failure_in(folder.path(), broken).await;
    let mut identity = kept(folder.path());
    identity["rabbitmq_version"] = "2.8.7".into();
    fs::write(folder.path().join("node.json"), identity.to_string()).unwrap();

    let error = failure_in(folder.path(), broken).await;
    assert!(matches!(error, NodeError::UnsupportedUpgrade { .. }), "{error}");
    assert!(error.to_string().contains("written by RabbitMQ 2.8.7"), "{error}");
    assert_eq!(kept(folder.path())["rabbitmq_version"], "2.8.7");
}

#[tokio::test]
async fn a_start_that_fails_does_not_count_as_an_upgrade() {
    let folder = folder();
    let broken = "#!/bin/sh\nexit 1\n";
    failure_in(folder.path(), broken).await;
    let mut identity = kept(folder.path());
    identity["rabbitmq_version"] = "3.9.29".into();
    fs::write(folder.path().join("node.json"), identity.to_string()).unwrap();

    failure_in(folder.path(), broken).await;
    assert_eq!(kept(folder.path())["rabbitmq_version"], "3.9.29");
}
