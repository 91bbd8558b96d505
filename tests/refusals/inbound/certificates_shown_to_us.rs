//! Certificates that do not prove montague.lit: EXTERNAL is not offered, and refused to who tries it anyway.

use super::super::caller::Act::{LogsIn, Opens, Says, Secures, TlsAtOnce};
use super::super::caller::{AUTH, Inbound, ROW};
use super::super::certificates::Shown;
use chirrup::s2s::Door;

const MESSAGE: &str = "<message from='romeo@montague.lit' to='juliet@capulet.lit/balcony' id='m'/>";

/// Not offered, refused when tried, and then the stanza ends the stream.
const BASE: Inbound = Inbound {
    by: "RFC 6120 13.7.2, XEP-0178 3",
    does: &[Secures, Opens, Says(AUTH), Says(MESSAGE)],
    told: &["EXTERNAL is not offered", "SASL failure invalid-mechanism", "stream error not-authorized"],
    ..ROW
};

/// As far as stanzas.
const WELCOME: Inbound = Inbound { does: &[LogsIn, Says(MESSAGE)], told: &[], arrives: &["m"], ..BASE };

pub const ROWS: &[Inbound] = &[
    Inbound { when: "the certificate is good", ..WELCOME },
    Inbound {
        when: "the certificate is good, with TLS from the first byte",
        by: "XEP-0368 3",
        door: Door::DirectTls,
        does: &[TlsAtOnce, Opens, Says(AUTH), Opens, Says(MESSAGE)],
        ..WELCOME
    },
    Inbound {
        when: "the certificate is for TLS clients alone",
        by: "RFC 5280 4.2.1.12",
        shows: Shown::ForClients,
        ..WELCOME
    },
    Inbound { when: "no certificate is shown", shows: Shown::Nothing, ..BASE },
    Inbound { when: "the certificate is for another name", shows: Shown::OtherName, ..BASE },
    Inbound {
        when: "the certificate is for another name, with TLS from the first byte",
        by: "XEP-0368 3",
        shows: Shown::OtherName,
        door: Door::DirectTls,
        does: &[TlsAtOnce, Opens, Says(AUTH), Says(MESSAGE)],
        ..BASE
    },
    Inbound { when: "the certificate has expired", shows: Shown::Expired, ..BASE },
    Inbound { when: "the certificate is not valid yet", shows: Shown::NotYet, ..BASE },
    Inbound { when: "the certificate is self-signed", shows: Shown::SelfSigned, ..BASE },
    Inbound { when: "the certificate is signed by an authority nobody knows", shows: Shown::UnknownRoot, ..BASE },
    Inbound {
        when: "the certificate is signed by one that calls itself as a known authority does",
        shows: Shown::Pretender,
        ..BASE
    },
    Inbound { when: "an intermediate certificate is missing", shows: Shown::MissingIntermediate, ..BASE },
    Inbound { when: "the certificate is signed by a server's", shows: Shown::ByAServer, ..BASE },
    Inbound { when: "the certificate is an authority's own", shows: Shown::AnAuthority, ..BASE },
    Inbound {
        when: "the domain is its common name alone",
        by: "RFC 6120 13.7.1.2.1",
        shows: Shown::CommonName,
        ..BASE
    },
    Inbound {
        when: "its wildcard is for the domains below",
        by: "RFC 6125 6.4.3",
        shows: Shown::WildcardBelow,
        ..BASE
    },
    Inbound { when: "its wildcard is part of a label", by: "RFC 6125 6.4.3", shows: Shown::WildcardInside, ..BASE },
    Inbound { when: "the certificate is for a domain below", shows: Shown::SubDomain, ..BASE },
    Inbound { when: "its wildcard is for the domain", by: "RFC 6125 6.4.3", shows: Shown::Wildcard, ..WELCOME },
    Inbound {
        when: "the certificate is for signing programs",
        by: "RFC 5280 4.2.1.12",
        shows: Shown::ForPrograms,
        ..BASE
    },
    Inbound {
        when: "the certificate is another's, without its key",
        by: "RFC 8446 4.4.3",
        shows: Shown::Stolen,
        does: &[Secures, Opens],
        told: &["cut"],
        ..BASE
    },
];
