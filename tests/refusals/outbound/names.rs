//! Names that lead nowhere, to ourselves, or to too many places.

use std::time::Duration;

use chirrup::runtime::{Answer, Family, LookupError, Srv, Tlsa};

use super::super::calling::{After, Outbound, ROW};
use super::super::street::Street;

const NOT_FOUND: Outbound =
    Outbound { by: "RFC 6120 8.3.3.16", senders: "remote-server-not-found", after: After::First, ..ROW };

fn srv(street: &Street, records: &[(u16, &str)], is_secure: bool) {
    let records = records.iter().enumerate().map(|(number, (port, target))| Srv {
        priority: u16::try_from(number).unwrap(),
        weight: 0,
        port: *port,
        target: (*target).to_owned(),
    });
    let answer = Answer { records: records.collect(), is_secure };
    street.resolver.set_srv("_xmpp-server._tcp.montague.lit", Duration::ZERO, Ok(answer));
}

fn address(street: &Street, host: &str, address: &str) {
    street.name(host, address);
}

fn nowhere(street: &Street) {
    street.resolver.set_addresses(
        "montague.lit",
        Family::V4,
        Duration::ZERO,
        Err(LookupError::NoRecords { is_secure: false }),
    );
}

fn fails(street: &Street, delay: u64, why: LookupError) {
    let delay = Duration::from_secs(delay);
    for service in ["_xmpp-server._tcp.montague.lit", "_xmpps-server._tcp.montague.lit"] {
        street.resolver.set_srv(service, delay, Err(why.clone()));
    }
    for family in [Family::V4, Family::V6] {
        street.resolver.set_addresses("montague.lit", family, delay, Err(why.clone()));
    }
}

/// A TLSA record that says of some other certificate that it alone is good.
fn tlsa(street: &Street, usage: u8) {
    srv(street, &[(5269, "host.lit")], true);
    let answer = Answer { records: vec!["192.0.2.2".parse().unwrap()], is_secure: true };
    street.resolver.set_addresses("host.lit", Family::V4, Duration::ZERO, Ok(answer));
    let record = Tlsa { usage, selector: 0, matching: 1, data: vec![0; 32] };
    let answer = Answer { records: vec![record], is_secure: true };
    street.resolver.set_tlsa("_5269._tcp.host.lit", Duration::ZERO, Ok(answer));
}

pub const ROWS: &[Outbound] = &[
    Outbound { when: "the domain has no records", street: nowhere, ..NOT_FOUND },
    Outbound {
        when: "its SRV record says that there is no server",
        by: "RFC 2782",
        street: |street| srv(street, &[(0, "")], false),
        text: "no XMPP server",
        ..NOT_FOUND
    },
    Outbound {
        when: "one of its services is said not to be there, and the other is unknown",
        by: "XEP-0368 3",
        street: |street| {
            let record = Srv { priority: 0, weight: 0, port: 0, target: String::new() };
            let answer = Answer { records: vec![record], is_secure: false };
            street.resolver.set_srv("_xmpps-server._tcp.montague.lit", Duration::ZERO, Ok(answer));
        },
        ..NOT_FOUND
    },
    Outbound {
        when: "its SRV record leads to a name without an address",
        street: |street| srv(street, &[(5269, "nowhere.lit")], false),
        ..NOT_FOUND
    },
    Outbound {
        when: "its SRV record leads to loopback",
        street: |street| {
            srv(street, &[(5269, "host.lit")], false);
            address(street, "host.lit", "127.0.0.1");
        },
        text: "127.0.0.1 is not one where another server can be",
        ..NOT_FOUND
    },
    Outbound {
        when: "its address is loopback",
        street: |street| address(street, "montague.lit", "127.0.0.1"),
        text: "127.0.0.1",
        ..NOT_FOUND
    },
    Outbound {
        when: "its address is a neighbour on the link",
        street: |street| address(street, "montague.lit", "169.254.169.254"),
        text: "169.254.169.254",
        ..NOT_FOUND
    },
    Outbound {
        when: "its address is nobody's",
        street: |street| address(street, "montague.lit", "0.0.0.0"),
        text: "0.0.0.0",
        ..NOT_FOUND
    },
    Outbound {
        when: "it leads to our own server, which does not serve it",
        by: "RFC 6120 8.3.3.16",
        street: |street| address(street, "montague.lit", "192.0.2.1"),
        text: "host-unknown",
        ..NOT_FOUND
    },
    Outbound {
        when: "it leads to our own server, and policy asks for no valid certificate",
        by: "RFC 6120 8.3.3.16",
        policy: "require_valid_certificate = false",
        street: |street| address(street, "montague.lit", "192.0.2.1"),
        text: "host-unknown",
        ..NOT_FOUND
    },
    Outbound {
        when: "there are a thousand SRV records, and nobody at any of them",
        by: "RFC 2782",
        street: |street| {
            let records: Vec<(u16, &str)> = (0..1000).map(|number| (6000 + number, "host.lit")).collect();
            srv(street, &records, false);
            address(street, "host.lit", "192.0.2.2");
        },
        text: "refused",
        ..ROW
    },
    Outbound {
        when: "there are a thousand addresses, and nobody at any of them",
        by: "RFC 8305 5",
        street: |street| {
            let all = (0..1000_u32).map(|number| std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into());
            let answer = Answer { records: all.collect(), is_secure: false };
            street.resolver.set_addresses("montague.lit", Family::V4, Duration::ZERO, Ok(answer));
        },
        text: "refused",
        ..ROW
    },
    Outbound { when: "the domain is loopback", to: "romeo@127.0.0.1", text: "127.0.0.1", ..NOT_FOUND },
    Outbound { when: "the domain is loopback, in IPv6", to: "romeo@[::1]", text: "::1", ..NOT_FOUND },
    Outbound {
        when: "DNS servers fail",
        by: "RFC 6120 8.3.3.17",
        street: |street| fails(street, 0, LookupError::Failed("SERVFAIL".to_owned())),
        text: "SERVFAIL",
        ..ROW
    },
    Outbound {
        when: "DNS servers answer after half a minute, and nothing useful",
        by: "RFC 6120 8.3.3.17",
        street: |street| fails(street, 30, LookupError::TimedOut),
        ..ROW
    },
    Outbound {
        when: "DNSSEC says that the answers are forged",
        by: "RFC 4035 5.5",
        street: |street| fails(street, 0, LookupError::Bogus),
        text: "DNSSEC",
        ..ROW
    },
    Outbound {
        when: "DNSSEC says that the SRV record is forged, and there is an address",
        by: "RFC 7673 3.1",
        street: |street| {
            street.resolver.set_srv("_xmpps-server._tcp.montague.lit", Duration::ZERO, Err(LookupError::Bogus));
        },
        text: "DNSSEC",
        ..ROW
    },
    Outbound {
        when: "DNSSEC says that one SRV record is forged, and there is another",
        by: "RFC 7673 3.1",
        street: |street| {
            srv(street, &[(5269, "montague.lit")], false);
            street.resolver.set_srv("_xmpps-server._tcp.montague.lit", Duration::ZERO, Err(LookupError::Bogus));
        },
        text: "DNSSEC",
        ..ROW
    },
    // DANE.
    Outbound {
        when: "TLSA records are for another certificate, of any authority",
        by: "RFC 7673 4.2",
        street: |street| tlsa(street, 3),
        told: &["cut"],
        text: "TLSA records",
        ..CERTIFICATE
    },
    Outbound {
        when: "TLSA records are for another certificate, of a known authority",
        by: "RFC 7673 4.2",
        street: |street| tlsa(street, 1),
        told: &["cut"],
        text: "TLSA records",
        ..CERTIFICATE
    },
    Outbound {
        when: "TLSA records are for another authority",
        by: "RFC 7673 4.2",
        street: |street| tlsa(street, 2),
        told: &["cut"],
        text: "TLSA records",
        ..CERTIFICATE
    },
    Outbound {
        when: "DNSSEC says that the TLSA records are forged",
        by: "RFC 7673 4.1",
        street: |street| {
            tlsa(street, 3);
            street.resolver.set_tlsa("_5269._tcp.host.lit", Duration::ZERO, Err(LookupError::Bogus));
        },
        told: &["cut"],
        text: "DNSSEC",
        ..CERTIFICATE
    },
    Outbound {
        when: "TLSA records that DNSSEC does not vouch for are for another certificate: they say nothing",
        by: "RFC 7673 3.1",
        street: |street| {
            tlsa(street, 3);
            srv(street, &[(5269, "host.lit")], false);
        },
        told: &["message", "message error", "iq", "iq", "iq error"],
        senders: "",
        ..CERTIFICATE
    },
];

const CERTIFICATE: Outbound = Outbound { after: After::First, ..ROW };
