//! Certificates that do not prove the domain we dial. With policy as it is by default they end the attempt; with
//! `require_valid_certificate = false` the other server is talked to, and the log and `chirrup s2s` say so.

use super::super::called::{self, Manners};
use super::super::calling::{After, Outbound, ROW};
use super::super::certificates::Shown;

const LENIENT: &str = "require_valid_certificate = false";

const fn shows(shows: Shown) -> Manners {
    Manners { shows, ..called::GOOD }
}

const BASE: Outbound =
    Outbound { by: "RFC 6120 13.7.2", told: &["cut"], after: After::First, text: "certificate", ..ROW };
const TALKS: Outbound = Outbound {
    by: "XEP-0344 2",
    policy: LENIENT,
    told: &["message", "message error", "iq", "iq", "iq error"],
    senders: "",
    ..ROW
};

pub const ROWS: &[Outbound] = &[
    Outbound { when: "the certificate is good", policy: "", ..TALKS },
    Outbound {
        when: "the certificate is for TLS clients alone",
        policy: "",
        manners: shows(Shown::ForClients),
        ..TALKS
    },
    Outbound {
        when: "the certificate is for another name",
        manners: shows(Shown::OtherName),
        text: "it is for paris.lit",
        ..BASE
    },
    Outbound { when: "the certificate has expired", manners: shows(Shown::Expired), text: "expired at", ..BASE },
    Outbound {
        when: "the certificate is not valid yet",
        manners: shows(Shown::NotYet),
        text: "not valid before",
        ..BASE
    },
    Outbound { when: "the certificate is self-signed", manners: shows(Shown::SelfSigned), text: "self-signed", ..BASE },
    Outbound {
        when: "the certificate is signed by an authority nobody knows",
        manners: shows(Shown::UnknownRoot),
        text: "not trusted here: Nobody's Root",
        ..BASE
    },
    Outbound {
        when: "the certificate is signed by one that calls itself as a known authority does",
        manners: shows(Shown::Pretender),
        ..BASE
    },
    Outbound {
        when: "an intermediate certificate is missing",
        manners: shows(Shown::MissingIntermediate),
        text: "not trusted here: Between",
        ..BASE
    },
    Outbound { when: "the certificate is signed by a server's", manners: shows(Shown::ByAServer), ..BASE },
    Outbound { when: "the certificate is an authority's own", manners: shows(Shown::AnAuthority), ..BASE },
    Outbound {
        when: "the domain is its common name alone",
        by: "RFC 6120 13.7.1.2.1",
        manners: shows(Shown::CommonName),
        text: "the common name does not count",
        ..BASE
    },
    Outbound {
        when: "its wildcard is for the domains below",
        by: "RFC 6125 6.4.3",
        manners: shows(Shown::WildcardBelow),
        ..BASE
    },
    Outbound {
        when: "its wildcard is part of a label",
        by: "RFC 6125 6.4.3",
        manners: shows(Shown::WildcardInside),
        ..BASE
    },
    Outbound { when: "the certificate is for a domain below", manners: shows(Shown::SubDomain), ..BASE },
    Outbound {
        when: "the certificate is for signing programs",
        by: "RFC 5280 4.2.1.12",
        manners: shows(Shown::ForPrograms),
        ..BASE
    },
    Outbound {
        when: "the certificate is another's, without its key",
        by: "RFC 8446 4.4.3",
        manners: shows(Shown::Stolen),
        told: &["TLS fails"],
        text: "TLS",
        after: After::Patience,
        ..BASE
    },
    Outbound {
        when: "the certificate is another's, without its key, and policy asks for no valid one",
        by: "RFC 8446 4.4.3",
        policy: LENIENT,
        manners: shows(Shown::Stolen),
        told: &["TLS fails"],
        text: "TLS",
        after: After::Patience,
        ..BASE
    },
    Outbound {
        when: "policy demands a valid certificate of this domain alone",
        policy: "require_valid_certificate = false\n[[s2s.domain]]\nname = \"montague.lit\"\n\
                 require_valid_certificate = true",
        manners: shows(Shown::SelfSigned),
        text: "self-signed",
        ..BASE
    },
    Outbound {
        when: "the certificate is for another name, with TLS from the first byte",
        by: "XEP-0368 3",
        policy: "[[s2s.domain]]\nname = \"montague.lit\"\naddress = \"192.0.2.2:5270\"\ndirect_tls = true",
        manners: Manners { is_direct: true, ..shows(Shown::OtherName) },
        text: "it is for paris.lit",
        ..BASE
    },
    Outbound {
        when: "the certificate is for the name the administrator says",
        by: "RFC 6125 6.2.1",
        policy: "[[s2s.domain]]\nname = \"montague.lit\"\naddress = \"192.0.2.2\"\ntls_name = \"paris.lit\"",
        manners: shows(Shown::OtherName),
        ..TALKS
    },
    Outbound {
        when: "the certificate is for a name the administrator does not say",
        by: "RFC 6125 6.2.1",
        policy: "[[s2s.domain]]\nname = \"montague.lit\"\naddress = \"192.0.2.2\"\ntls_name = \"mantua.lit\"",
        manners: shows(Shown::OtherName),
        ..BASE
    },
    Outbound { when: "self-signed, and policy asks for no valid one", manners: shows(Shown::SelfSigned), ..TALKS },
    Outbound { when: "expired, and policy asks for no valid one", manners: shows(Shown::Expired), ..TALKS },
    Outbound { when: "for another name, and policy asks for no valid one", manners: shows(Shown::OtherName), ..TALKS },
    Outbound {
        when: "self-signed, policy asks for no valid one, and dialback is all there is",
        manners: Manners { features: called::DIALBACK, ..shows(Shown::SelfSigned) },
        ..TALKS
    },
    Outbound {
        when: "self-signed, policy asks for no valid one and lets us not dial back, which is all there is",
        policy: "require_valid_certificate = false\ndialback = false",
        manners: Manners { features: called::DIALBACK, ..shows(Shown::SelfSigned) },
        told: &["closed"],
        text: "no authentication",
        ..BASE
    },
];
