//! An adapter as a process: this test's own program, started again as one.

use std::{
    env, fs,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use crossdock_sdk::{Adapter, Failure, Incoming};
use tokio::time::timeout;

use crate::hall::{DEADLINE, Hall, order};

/// Names a file that the child makes when it has an event in hand. The handler goes on when it is gone.
const IN_HAND: &str = "CROSSDOCK_TEST_IN_HAND";

/// Not a test: what the child does.
#[tokio::test]
#[ignore = "runs only as the child of the others"]
async fn child() {
    Adapter::from_env("/erp").unwrap().run(hold).await.unwrap();
}

async fn hold(_order: Incoming) -> Result<Vec<crossdock_sdk::Answer>, Failure> {
    let file = env::var(IN_HAND).map_err(|error| Failure::Dead(error.to_string()))?;
    fs::write(&file, "").map_err(|error| Failure::Dead(error.to_string()))?;
    until(|| !Path::new(&file).exists()).await;
    Ok(Vec::new())
}

async fn until(condition: impl Fn() -> bool) {
    let looking = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, looking).await.expect("it comes in time");
}

fn start(hall: &Hall, in_hand: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "process::child", "--ignored"])
        .env("CROSSDOCK_ADAPTER", &hall.adapter)
        .env("CROSSDOCK_AMQP_URL", &hall.adapter_url)
        .env(IN_HAND, in_hand)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .args(["-s", name, &child.id().to_string()])
        .status();
    assert!(status.unwrap().success());
}

async fn end(mut child: Child) -> ExitStatus {
    let waiting = tokio::task::spawn_blocking(move || child.wait().unwrap());
    timeout(DEADLINE, waiting).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_hand_and_leaves_the_rest() {
    let mut hall = Hall::open().await;
    for id in ["1", "2", "3"] {
        hall.deliver(&order(id), 1).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let in_hand = folder.path().join("in-hand");
    let child = start(&hall, &in_hand);
    until(|| in_hand.exists()).await;
    signal(&child, "TERM");
    fs::remove_file(&in_hand).unwrap();

    assert!(end(child).await.success());
    assert_eq!(hall.receipt().await["event"], "1");
    assert_eq!(hall.waiting().await, ["2", "3"]);
    assert!(!in_hand.exists(), "no other was begun");
}

#[tokio::test]
async fn a_kill_leaves_everything_in_order() {
    let hall = Hall::open().await;
    for id in ["1", "2", "3"] {
        hall.deliver(&order(id), 1).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let in_hand = folder.path().join("in-hand");
    let child = start(&hall, &in_hand);
    until(|| in_hand.exists()).await;
    signal(&child, "KILL");
    assert!(!end(child).await.success());
    hall.has_consumers(0).await;
    assert_eq!(hall.waiting().await, ["1", "2", "3"]);
}

#[tokio::test]
async fn a_stop_is_heard_while_there_is_no_broker() {
    let mut hall = Hall::open().await;
    // Nobody listens on the discard port of this machine.
    hall.adapter_url = "amqp://erp.1:x@127.0.0.1:9/%2f".to_owned();
    let folder = tempfile::tempdir().unwrap();
    let child = start(&hall, &folder.path().join("in-hand"));
    let handles_sigterm = || {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let caught = status
            .lines()
            .find_map(|line| line.strip_prefix("SigCgt:"))
            .unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() >> 14 & 1 == 1
    };
    until(handles_sigterm).await;
    signal(&child, "TERM");
    assert!(end(child).await.success());
}

#[test]
fn without_its_environment_an_adapter_says_what_is_missing() {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "process::child", "--ignored"])
        .env_remove("CROSSDOCK_ADAPTER")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("CROSSDOCK_ADAPTER is not set"), "{said}");
}
