//! Which addresses count as one: of IPv4 each for itself, of IPv6 those of a network, since whoever has one has as many
//! addresses as they like.

use std::net::{IpAddr, Ipv6Addr};

/// Bits of an IPv6 site: the most that one customer gets as a rule.
pub const SITE_BITS: u32 = 48;

/// The largest network that is one customer's as a rule: of IPv6 the site, of IPv4 the address.
#[must_use]
pub fn site(address: IpAddr) -> IpAddr {
    network(address, SITE_BITS)
}

/// The first address of an IPv6 network of so many bits, 1 to 128; of IPv4 the address itself.
#[must_use]
pub fn network(address: IpAddr, bits: u32) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let mask = u128::MAX << u128::BITS.saturating_sub(bits).min(u128::BITS - 1);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_site_is_48_bits_of_ipv6_and_one_address_of_ipv4() {
        for (address, expected) in [
            ("2001:db8:1:2::3", "2001:db8:1::"),
            ("2001:db8:1:ffff::1", "2001:db8:1::"),
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(site(ip(address)), ip(expected), "{address}");
        }
        assert_eq!(network(ip("2001:db8:1:2::3"), 64), ip("2001:db8:1:2::"));
        assert_eq!(network(ip("2001:db8::3"), 128), ip("2001:db8::3"));
    }
}
