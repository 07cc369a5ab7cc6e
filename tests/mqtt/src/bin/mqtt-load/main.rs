//! A load generator for any MQTT 3.1.1 broker: one thread, one epoll, packets made by hand, so that it costs as
//! little as can be beside the broker that it measures. What it saw it prints as JSON; it judges nothing.

mod client;
mod fanout;
mod idle;
mod latency;
mod server;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::client::{Door, Login};

/// What every measurement is told.
#[derive(Args, Debug)]
struct Common {
    /// Where the broker listens
    #[arg(long)]
    address: SocketAddr,
    /// The path of MQTT over WebSocket; TCP without
    #[arg(long)]
    websocket: Option<String>,
    /// The broker's process, whose memory and processor time are told
    #[arg(long)]
    pid: Option<u32>,
    #[arg(long, requires = "password")]
    user: Option<String>,
    #[arg(long, env = "MQTT_LOAD_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Begins every client id
    #[arg(long, default_value = "load")]
    client_id: String,
}

#[derive(Parser, Debug)]
#[command(about = "Measures an MQTT broker")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Messages of few publishers to many subscribers of one topic
    Fanout {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        plan: fanout::Plan,
    },
    /// Many clients that do nothing
    Idle {
        #[command(flatten)]
        common: Common,
        #[arg(long)]
        clients: usize,
        /// How long they are held once all are connected
        #[arg(long, default_value_t = 3.0)]
        hold_s: f64,
    },
}

impl Common {
    fn door(&self) -> Door {
        Door {
            address: self.address,
            websocket: self.websocket.clone(),
            login: self
                .user
                .clone()
                .zip(self.password.clone())
                .map(|(user, password)| Login { user, password }),
            client_id: self.client_id.clone(),
        }
    }
}

#[allow(clippy::print_stdout, reason = "what it saw is its output")]
fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    raise_descriptor_limit().context("raising the number of open files")?;
    let report = match cli.what {
        What::Fanout { common, plan } => {
            serde_json::to_value(fanout::run(&common.door(), &plan, common.pid)?)?
        }
        What::Idle {
            common,
            clients,
            hold_s,
        } => {
            let hold = Duration::from_secs_f64(hold_s);
            serde_json::to_value(idle::run(&common.door(), clients, hold, common.pid)?)?
        }
    };
    println!("{report}");
    Ok(())
}

/// As many descriptors as the system lets this process have.
fn raise_descriptor_limit() -> anyhow::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )?;
    Ok(())
}
