//! Places for connections. Each has one before its first byte is read, so that no more are accepted than fit; an address
//! has its share and no more, so that nobody alone shuts all others out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use crossdock_model::network::site;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::locked;

/// Of all places an address has at most one in so many.
const SHARE: usize = 4;

#[derive(Debug)]
pub(super) struct Seats {
    free: Arc<Semaphore>,
    all: usize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// The place of one connection, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(super) peer: IpAddr,
    address: Option<IpAddr>,
    seats: Arc<Seats>,
    _place: OwnedSemaphorePermit,
}

/// Why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoSeat {
    #[error("this address has too many MQTT connections")]
    Share,
    #[error("too many MQTT clients are connected")]
    Full,
}

impl Seats {
    pub(super) fn new(all: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(all)),
            all,
            by_address: Mutex::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        self.all - self.free.available_permits()
    }

    /// Waits until one is free.
    pub(super) async fn wait(self: &Arc<Self>, peer: IpAddr) -> Result<Seat, NoSeat> {
        let place = self.free.clone().acquire_owned().await;
        self.seat(peer, place.map_err(|_closed| NoSeat::Full)?)
    }

    /// One that is free now.
    pub(super) fn take(self: &Arc<Self>, peer: IpAddr) -> Result<Seat, NoSeat> {
        let place = self.free.clone().try_acquire_owned();
        self.seat(peer, place.map_err(|_none| NoSeat::Full)?)
    }

    fn seat(self: &Arc<Self>, peer: IpAddr, place: OwnedSemaphorePermit) -> Result<Seat, NoSeat> {
        let address = counted(peer);
        if let Some(address) = address {
            let mut by_address = locked(&self.by_address);
            let held = by_address.entry(address).or_default();
            if *held >= self.all.div_ceil(SHARE) {
                return Err(NoSeat::Share);
            }
            *held += 1;
        }
        Ok(Seat {
            peer,
            address,
            seats: self.clone(),
            _place: place,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut by_address = locked(&self.seats.by_address);
        if let Some(held) = by_address.get_mut(&address) {
            *held -= 1;
            if *held == 0 {
                by_address.remove(&address);
            }
        }
    }
}

/// As what it counts; none for this machine itself, where a proxy may stand for everybody.
fn counted(peer: IpAddr) -> Option<IpAddr> {
    (!peer.is_loopback()).then(|| site(peer))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_its_share_and_gives_it_back() {
        let seats = Arc::new(Seats::new(8));
        let greedy = ["203.0.113.7"; 2].map(|peer| seats.take(address(peer)).unwrap());
        assert_eq!(seats.take(address("203.0.113.7")).unwrap_err(), NoSeat::Share);
        assert!(seats.take(address("203.0.113.8")).is_ok());
        assert_eq!(seats.taken(), 2, "who is refused takes none");
        drop(greedy);
        assert!(seats.take(address("203.0.113.7")).is_ok());
        assert!(locked(&seats.by_address).is_empty());
    }

    #[test]
    fn a_site_of_ipv6_is_one_address_and_this_machine_is_none() {
        let seats = Arc::new(Seats::new(8));
        let _one = ["2001:db8:7::1", "2001:db8:7:1::2"].map(|peer| seats.take(address(peer)).unwrap());
        assert_eq!(
            seats.take(address("2001:db8:7:ffff::4")).unwrap_err(),
            NoSeat::Share
        );
        assert!(seats.take(address("2001:db8:8::1")).is_ok());
        let _here = ["127.0.0.1", "::1"].map(|peer| [(); 3].map(|()| seats.take(address(peer)).unwrap()));
        assert_eq!(seats.take(address("203.0.113.7")).unwrap_err(), NoSeat::Full);
    }
}
