//! The names of everything Crossdock declares in RabbitMQ, and the way back from a name to the
//! adapter it belongs to. Adapters and operators rely on these names: a change is a decision.

use crossdock_model::name::is_adapter_name;

/// Exchange (x-consistent-hash) through which every event enters; the routing key is the partition key.
pub const INGRESS: &str = "crossdock.ingress";
/// Exchange (direct) from which the hub fans out; the keys are queue names.
pub const DELIVER: &str = "crossdock.deliver";
/// Exchange (direct) that takes the adapters' receipts.
pub const RECEIPTS: &str = "crossdock.receipts";
/// Exchange (direct) to which adapter queues dead-letter, each under its adapter's name.
pub const DEAD: &str = "crossdock.dead";
/// Queue of receipts and rejected deliveries, in the order in which they came.
pub const FAILED: &str = "crossdock.failed";
/// Queue of the messages whose delay is over, for the hub to hand over or to delay again.
pub const DUE: &str = "crossdock.due";
/// The delays there are a queue for, in seconds, from the shortest to the longest. Every other delay is made up of
/// these.
pub const DELAYS_S: [u32; 7] = [1, 5, 30, 120, 600, 3_600, 21_600];
/// Queue of the events from which live state is made. As a target of deliveries it is called by this name, which no
/// adapter can have.
pub const STATE: &str = "crossdock.state";
/// Exchange (fanout) through which every hub learns of changed states.
pub const REALTIME: &str = "crossdock.realtime";
/// Queue to which the hub's own queues dead-letter; never empty without an alert.
pub const UNDELIVERABLE: &str = "crossdock.undeliverable";

/// Partitions of the ingress. One, because RabbitMQ deals the keys anew onto the queues of a consistent-hash
/// exchange when it starts again (docs/adr/0006-one-ingress-partition.md).
pub const PARTITIONS: u16 = 1;

const ADAPTER_QUEUE_PREFIX: &str = "crossdock.adapter.";

/// The queue of partition `n`, counted from 0.
pub fn ingress_queue(n: u16) -> String {
    format!("{INGRESS}.{n}")
}

/// The queue in which a message waits so many seconds, one of [`DELAYS_S`], before it comes to [`DUE`].
pub fn delay_queue(seconds: u32) -> String {
    format!("crossdock.delay.{seconds}s")
}

/// The queue from which the adapter consumes.
pub fn adapter_queue(adapter: &str) -> String {
    format!("{ADAPTER_QUEUE_PREFIX}{adapter}")
}

/// The queue of a target of deliveries: an adapter's by its name, the hub's own by theirs.
pub fn queue_of_target(target: &str) -> String {
    match is_own_target(target) {
        true => target.to_owned(),
        false => adapter_queue(target),
    }
}

/// Whether a target of deliveries is a queue of the hub's own. What happens there is nobody's account.
pub fn is_own_target(target: &str) -> bool {
    target == STATE
}

/// The queue in which a hub hears of changed states.
pub fn realtime_queue(hub: &str) -> String {
    format!("{REALTIME}.{hub}")
}

/// Whether a hub hears of changed states in this queue.
pub fn is_realtime_queue(queue: &str) -> bool {
    queue
        .strip_prefix(REALTIME)
        .is_some_and(|hub| hub.starts_with('.'))
}

/// The adapter whose queue this is, if it is an adapter's queue.
pub fn adapter_of_queue(queue: &str) -> Option<&str> {
    queue
        .strip_prefix(ADAPTER_QUEUE_PREFIX)
        .filter(|adapter| is_adapter_name(adapter))
}

/// The RabbitMQ user of the adapter's credentials of that generation, counted from 1.
pub fn user_name(adapter: &str, generation: u32) -> String {
    format!("{adapter}.{generation}")
}

/// The adapter and the generation behind a RabbitMQ user, if it is an adapter's user.
pub fn adapter_of_user(user: &str) -> Option<(&str, u32)> {
    let (adapter, digits) = user.rsplit_once('.')?;
    let generation: u32 = digits.parse().ok()?;
    (is_adapter_name(adapter) && generation > 0 && generation.to_string() == digits)
        .then_some((adapter, generation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_is_found_again_by_its_queue() {
        assert_eq!(adapter_of_queue(&adapter_queue("erp")), Some("erp"));
        assert_eq!(adapter_of_queue("crossdock.adapter."), None);
        assert_eq!(adapter_of_queue("crossdock.adapter.a.b"), None);
        assert_eq!(adapter_of_queue(&ingress_queue(0)), None);
    }

    #[test]
    fn the_hubs_own_targets_are_told_from_adapters() {
        assert_eq!(queue_of_target("erp"), "crossdock.adapter.erp");
        assert_eq!(queue_of_target(STATE), STATE);
        assert!(!is_adapter_name(STATE));
        assert!(is_realtime_queue(&realtime_queue("x")) && !is_realtime_queue(STATE));
    }

    #[test]
    fn an_adapter_is_found_again_by_its_user() {
        assert_eq!(
            adapter_of_user(&user_name("print-shop", 12)),
            Some(("print-shop", 12))
        );
        for stranger in [
            "erp",
            "erp.",
            "erp.0",
            "erp.01",
            "erp.+1",
            ".1",
            "Erp.1",
            "a.b.1",
            "erp.4294967296",
        ] {
            assert_eq!(adapter_of_user(stranger), None, "{stranger}");
        }
    }
}
