//! The log: to standard error, for people on a terminal and as JSON otherwise. Panics go there too, without
//! what they say about values, which may be personal.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// Starts logging. `RUST_LOG` says how much.
pub(super) fn start() {
    let mut filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let quiet = [crossdock_bus::LOG_FILTER, crossdock_realtime::LOG_FILTER]
        .into_iter()
        .chain(crossdock_store::LOG_FILTERS);
    for directive in quiet.filter_map(|directive| directive.parse().ok()) {
        filter = filter.add_directive(directive);
    }
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let started = if io::stderr().is_terminal() {
        let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        log.with_target(false).with_ansi(colours).compact().try_init()
    } else {
        log.json().flatten_event(true).try_init()
    };
    debug_assert!(started.is_ok(), "logging is started once");
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let reason = panic
            .payload()
            .downcast_ref::<&'static str>()
            .copied()
            .unwrap_or("see the source");
        tracing::error!(place, reason, "a task panicked");
    }));
}
