//! The node's ports on the loopback interface.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::NodeError;

/// Below the ports that systems hand out to outgoing connections, so that a remembered port stays free.
const RANGE: RangeInclusive<u16> = 20_000..=31_999;
const TRIES: usize = 1_000;

/// What the node listens on, all at 127.0.0.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ports {
    pub(super) amqp: u16,
    pub(super) management: u16,
    pub(super) distribution: u16,
    pub(super) epmd: u16,
}

impl Ports {
    /// The remembered ports as far as they are free, and free ones in place of the others.
    pub(super) fn settle(remembered: Option<Self>, rng: &mut impl Rng) -> Result<Self, NodeError> {
        let mut held = Vec::new();
        let mut settle = |port: Option<u16>| {
            let listener = match port.and_then(listen) {
                Some(listener) => Some(listener),
                None => (0..TRIES).find_map(|_| listen(rng.random_range(RANGE))),
            };
            let listener = listener.ok_or(NodeError::NoFreePort {
                first: *RANGE.start(),
                last: *RANGE.end(),
            })?;
            let port = listener
                .local_addr()
                .map_err(NodeError::files("127.0.0.1".as_ref()))?
                .port();
            held.push(listener);
            Ok(port)
        };
        Ok(Self {
            amqp: settle(remembered.map(|ports| ports.amqp))?,
            management: settle(remembered.map(|ports| ports.management))?,
            distribution: settle(remembered.map(|ports| ports.distribution))?,
            epmd: settle(remembered.map(|ports| ports.epmd))?,
        })
    }

    /// Whether each of them could be listened on now.
    pub(super) fn are_free(self) -> bool {
        [self.amqp, self.management, self.distribution, self.epmd]
            .into_iter()
            .all(|port| listen(port).is_some())
    }
}

fn listen(port: u16) -> Option<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn free_ports_are_kept_and_a_taken_one_replaced() {
        let rng = &mut rand::rng();
        let ports = Ports::settle(None, rng).unwrap();
        assert!(ports.are_free());
        assert_eq!(Ports::settle(Some(ports), rng).unwrap(), ports);

        let _taken = listen(ports.management).unwrap();
        assert!(!ports.are_free());
        let moved = Ports::settle(Some(ports), rng).unwrap();
        assert_ne!(moved.management, ports.management);
        assert_eq!(
            Ports {
                management: ports.management,
                ..moved
            },
            ports
        );
    }

    #[test]
    fn the_four_ports_differ() {
        let ports = Ports::settle(None, &mut rand::rng()).unwrap();
        let mut all = vec![ports.amqp, ports.management, ports.distribution, ports.epmd];
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 4);
    }
}
