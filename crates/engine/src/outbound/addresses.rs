//! Which addresses the hub calls: public ones, and those that the operator allows. Everything else stands for a
//! machine that trusts the hub's network: the hub itself, its neighbours, the cloud's metadata.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crossdock_config::IpRange;

/// IPv4 addresses that are nobody's on the public Internet, by what they are for (the registry of RFC 6890), and one
/// public address at which a cloud gives its machines their secrets.
const SPECIAL_V4: [([u8; 4], u32, &str); 18] = [
    ([0, 0, 0, 0], 8, "unspecified or of this network"),
    ([10, 0, 0, 0], 8, "private"),
    ([100, 64, 0, 0], 10, "carrier-grade NAT"),
    ([127, 0, 0, 0], 8, "loopback"),
    ([168, 63, 129, 16], 32, "cloud metadata"),
    ([169, 254, 0, 0], 16, "link-local or cloud metadata"),
    ([172, 16, 0, 0], 12, "private"),
    ([192, 0, 0, 0], 24, "reserved for protocols"),
    ([192, 0, 2, 0], 24, "documentation"),
    ([192, 31, 196, 0], 24, "reserved for protocols"),
    ([192, 52, 193, 0], 24, "reserved for protocols"),
    ([192, 88, 99, 0], 24, "a 6to4 relay"),
    ([192, 168, 0, 0], 16, "private"),
    ([192, 175, 48, 0], 24, "reserved for protocols"),
    ([198, 18, 0, 0], 15, "benchmarking"),
    ([198, 51, 100, 0], 24, "documentation"),
    ([203, 0, 113, 0], 24, "documentation"),
    // Multicast, the reserved class E and broadcast.
    ([224, 0, 0, 0], 3, "multicast or reserved"),
];

/// What IPv6 has outside the unicast addresses of the Internet (2000::/3), for those who ask why.
const OUTSIDE_V6: [(u128, u32, &str); 8] = [
    (0, 128, "unspecified"),
    (1, 128, "loopback"),
    (0, 96, "an IPv4 address in IPv6 form"),
    (0x0064_ff9b << 96, 32, "NAT64"),
    (0xfc00 << 112, 7, "unique local"),
    (0xfe80 << 112, 10, "link-local"),
    (0xfec0 << 112, 10, "site-local"),
    (0xff00 << 112, 8, "multicast"),
];

/// What is special inside 2000::/3.
const SPECIAL_V6: [(u128, u32, &str); 5] = [
    (0x2001_0000 << 96, 32, "Teredo"),
    (0x2001 << 112, 23, "reserved for protocols"),
    (0x2001_0db8 << 96, 32, "documentation"),
    (0x2002 << 112, 16, "6to4"),
    (0x3fff << 112, 20, "documentation"),
];

const UNICAST_V6: (u128, u32) = (0x2000 << 112, 3);

/// What an address is, if it is not one of the public Internet.
pub(super) fn speciality(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => of_v4(v4),
        IpAddr::V6(v6) => of_v6(v6),
    }
}

/// Whether a range of the operator's covers it.
pub(super) fn is_covered(allow: &[IpRange], address: IpAddr) -> bool {
    allow.iter().any(|range| range.contains(address))
}

fn of_v4(address: Ipv4Addr) -> Option<&'static str> {
    let bits = address.to_bits();
    let within = |(network, prefix, _): &&([u8; 4], u32, &str)| {
        (bits ^ u32::from_be_bytes(*network)).leading_zeros() >= *prefix
    };
    SPECIAL_V4.iter().find(within).map(|(_, _, kind)| *kind)
}

fn of_v6(address: Ipv6Addr) -> Option<&'static str> {
    // Whatever it is mapped from: a resolver has no reason to answer in this form.
    if address.to_ipv4_mapped().is_some() {
        return Some("an IPv4 address in IPv6 form");
    }
    let bits = address.to_bits();
    let within = |network: u128, prefix: u32| (bits ^ network).leading_zeros() >= prefix;
    let named = |kinds: &[(u128, u32, &'static str)]| {
        let mut kinds = kinds.iter();
        kinds
            .find(|(network, prefix, _)| within(*network, *prefix))
            .map(|(_, _, kind)| *kind)
    };
    if within(UNICAST_V6.0, UNICAST_V6.1) {
        named(&SPECIAL_V6)
    } else {
        Some(named(&OUTSIDE_V6).unwrap_or("reserved"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_public_internet_are_nothing_special() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2000::1",
            "2001:200::1",
            "2003::1",
            "2606:4700:4700::1111",
            "3ffe:ffff::1",
        ] {
            assert_eq!(speciality(address.parse().unwrap()), None, "{address}");
        }
    }

    #[test]
    fn every_other_address_says_what_it_is() {
        for (address, kind) in [
            ("0.0.0.0", "unspecified or of this network"),
            ("0.1.2.3", "unspecified or of this network"),
            ("10.0.0.1", "private"),
            ("100.64.0.1", "carrier-grade NAT"),
            ("100.100.100.200", "carrier-grade NAT"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.254", "loopback"),
            ("168.63.129.16", "cloud metadata"),
            ("169.254.169.254", "link-local or cloud metadata"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.0.0.192", "reserved for protocols"),
            ("192.0.2.1", "documentation"),
            ("192.88.99.1", "a 6to4 relay"),
            ("192.168.1.1", "private"),
            ("198.18.0.1", "benchmarking"),
            ("198.19.255.255", "benchmarking"),
            ("198.51.100.1", "documentation"),
            ("203.0.113.1", "documentation"),
            ("224.0.0.1", "multicast or reserved"),
            ("240.0.0.1", "multicast or reserved"),
            ("255.255.255.255", "multicast or reserved"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::127.0.0.1", "an IPv4 address in IPv6 form"),
            ("::ffff:127.0.0.1", "an IPv4 address in IPv6 form"),
            ("::ffff:1.1.1.1", "an IPv4 address in IPv6 form"),
            ("64:ff9b::a00:1", "NAT64"),
            ("64:ff9b:1::1", "NAT64"),
            ("100::1", "reserved"),
            ("2001::1", "Teredo"),
            ("2001:2::1", "reserved for protocols"),
            ("2001:20::1", "reserved for protocols"),
            ("2001:db8::1", "documentation"),
            ("2002:7f00:1::1", "6to4"),
            ("3fff::1", "documentation"),
            ("4000::1", "reserved"),
            ("5f00::1", "reserved"),
            ("fc00::1", "unique local"),
            ("fd00:ec2::254", "unique local"),
            ("fe80::1", "link-local"),
            ("fec0::1", "site-local"),
            ("ff02::1", "multicast"),
        ] {
            assert_eq!(speciality(address.parse().unwrap()), Some(kind), "{address}");
        }
    }
}
