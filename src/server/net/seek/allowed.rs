//! Addresses at which another server can be. The DNS of a stranger decides where we connect to, so it must not make
//! us talk to ourselves, to our neighbours, or to nobody (XEP-0368 and RFC 6120 leave this to the implementation).

use std::net::IpAddr;

/// Whether another server may be at `address`: not loopback, unspecified, multicast, broadcast or link-local, and not
/// such an IPv4 address in an IPv6 one. Private networks are allowed: servers behind one roof talk over them.
pub(super) fn is_elsewhere(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !(v4.is_loopback()
                || v4.is_unspecified()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.is_link_local()
                || v4.octets()[0] == 0)
        }
        IpAddr::V6(v6) => {
            if let Some(v4) = v6.to_ipv4_mapped() {
                return is_elsewhere(IpAddr::V4(v4));
            }
            // `::a.b.c.d` (RFC 4291 section 2.5.5.1, deprecated) and `64:ff9b::a.b.c.d` (RFC 6052) reach an IPv4 host.
            let [a, b, c, d, e, f, high, low] = v6.segments();
            if [a, b, c, d, e, f] == [0, 0, 0, 0, 0, 0] || [a, b, c, d, e, f] == [0x64, 0xff9b, 0, 0, 0, 0] {
                let [one, two] = high.to_be_bytes();
                let [three, four] = low.to_be_bytes();
                return is_elsewhere(IpAddr::from([one, two, three, four]));
            }
            !(v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() || v6.is_unicast_link_local())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_elsewhere;

    #[test]
    fn only_other_machines_are_dialled() {
        let refused = [
            "127.0.0.1",
            "127.8.9.1",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "169.254.1.1",
            "::1",
            "::",
            "ff02::1",
            "fe80::1",
            "::ffff:127.0.0.1",
            "::ffff:0.0.0.0",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
        ];
        let allowed =
            ["192.0.2.1", "10.0.0.1", "172.16.0.1", "2001:db8::1", "fd00::1", "::ffff:192.0.2.1", "64:ff9b::c000:201"];
        for text in refused {
            assert!(!is_elsewhere(text.parse().unwrap_or_else(|_| unreachable!())), "{text}");
        }
        for text in allowed {
            assert!(is_elsewhere(text.parse().unwrap_or_else(|_| unreachable!())), "{text}");
        }
    }
}
