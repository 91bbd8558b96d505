//! Stanzas and stream management of a server that has proven who it is.

use super::super::caller::Act::{Cuts, LogsIn, Opens, Repeats, Says, Secures, Waits};
use super::super::caller::{Inbound, ROW};
use super::super::certificates::Shown;

const MESSAGE: &str = "<message from='romeo@montague.lit' to='juliet@capulet.lit/balcony' id='m'/>";
const ENABLE: &str = "<enable xmlns='urn:xmpp:sm:3'/>";
const RESUME: &str = "<resume xmlns='urn:xmpp:sm:3' h='0' previd='some-id'/>";
const BIDI: &str = "<bidi xmlns='urn:xmpp:bidi'/>";

macro_rules! message {
    ($addresses:literal) => {
        concat!("<message ", $addresses, " id='n'/>")
    };
}

const ADDRESSES: Inbound = Inbound { by: "RFC 6120 4.9.3.9", ..ROW };
const ACKS: Inbound = Inbound { by: "XEP-0198 3", ..ROW };

pub const ROWS: &[Inbound] = &[
    Inbound {
        when: "a stanza is from another domain",
        does: &[LogsIn, Says(MESSAGE), Says(message!("from='helen@paris.lit' to='juliet@capulet.lit/balcony'"))],
        told: &["stream error invalid-from"],
        arrives: &["m"],
        ..ADDRESSES
    },
    Inbound {
        when: "a stanza is from a domain of ours",
        does: &[LogsIn, Says(message!("from='nurse@capulet.lit' to='juliet@capulet.lit/balcony'"))],
        told: &["stream error invalid-from"],
        ..ADDRESSES
    },
    Inbound {
        when: "a stanza is from a domain below",
        does: &[LogsIn, Says(message!("from='a@im.montague.lit' to='juliet@capulet.lit/balcony'"))],
        told: &["stream error invalid-from"],
        ..ADDRESSES
    },
    Inbound {
        when: "a stanza is from a domain below that the certificate covers and nobody asked for",
        shows: Shown::Both,
        does: &[LogsIn, Says(message!("from='a@im.montague.lit' to='juliet@capulet.lit/balcony'"))],
        told: &["stream error invalid-from"],
        ..ADDRESSES
    },
    Inbound {
        when: "a stanza is from nobody",
        by: "RFC 6120 4.9.3.7",
        does: &[LogsIn, Says(message!("to='juliet@capulet.lit/balcony'"))],
        told: &["stream error improper-addressing"],
        ..ADDRESSES
    },
    Inbound {
        when: "a stanza is from what is no address",
        by: "RFC 6120 4.9.3.7",
        does: &[LogsIn, Says(message!("from='@' to='juliet@capulet.lit/balcony'"))],
        told: &["stream error improper-addressing"],
        ..ADDRESSES
    },
    Inbound {
        when: "a stanza is to nobody",
        by: "RFC 6120 4.9.3.7",
        does: &[LogsIn, Says(message!("from='romeo@montague.lit'"))],
        told: &["stream error improper-addressing"],
        ..ADDRESSES
    },
    Inbound {
        when: "a stanza is to a domain that is not ours",
        by: "RFC 6120 4.9.3.6",
        does: &[LogsIn, Says(message!("from='romeo@montague.lit' to='helen@paris.lit'"))],
        told: &["stream error host-unknown"],
        ..ADDRESSES
    },
    Inbound {
        when: "a stanza is to a domain that talks with ours",
        by: "RFC 6120 4.9.3.6",
        does: &[LogsIn, Says(message!("from='romeo@montague.lit' to='benvolio@verona.lit/square'"))],
        told: &["stream error host-unknown"],
        ..ADDRESSES
    },
    Inbound {
        when: "a stanza is to what is no address: that is answered on the way back, and the stream lives",
        by: "RFC 6120 8.3.3.8",
        does: &[LogsIn, Says(message!("from='romeo@montague.lit' to='juliet@@capulet.lit'")), Says(MESSAGE)],
        arrives: &["m"],
        ..ADDRESSES
    },
    Inbound {
        when: "a stanza is a client's",
        by: "RFC 6120 4.9.3.10",
        does: &[
            LogsIn,
            Says("<message xmlns='jabber:client' from='romeo@montague.lit' to='juliet@capulet.lit/balcony'/>"),
        ],
        told: &["stream error invalid-namespace"],
        ..ADDRESSES
    },
    Inbound {
        when: "it is no stanza",
        by: "RFC 6120 4.9.3.24",
        does: &[LogsIn, Says("<telegram from='romeo@montague.lit' to='juliet@capulet.lit/balcony'/>")],
        told: &["stream error unsupported-stanza-type"],
        ..ADDRESSES
    },
    Inbound {
        when: "the connection breaks in the middle of a stanza",
        by: "RFC 6120 4.6.1",
        does: &[LogsIn, Says(MESSAGE), Says("<message from='romeo@montague.lit' to='juliet@cap"), Cuts],
        arrives: &["m"],
        ..ADDRESSES
    },
    Inbound {
        when: "it ends the stream with an error",
        by: "RFC 6120 4.9.1.1",
        does: &[
            LogsIn,
            Says("<stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"),
        ],
        told: &["closed"],
        ..ADDRESSES
    },
    // Both ways on one stream.
    Inbound {
        when: "both ways are asked for after EXTERNAL",
        by: "XEP-0288 2.2",
        does: &[LogsIn, Says(BIDI)],
        told: &["stream error policy-violation"],
        ..ADDRESSES
    },
    Inbound {
        when: "both ways are asked for twice",
        by: "XEP-0288 2.2",
        does: &[Secures, Opens, Says(BIDI), Says(BIDI)],
        told: &["stream error policy-violation"],
        ..ADDRESSES
    },
    Inbound {
        when: "both ways are asked for where they are not offered",
        by: "XEP-0288 2.2",
        policy: "bidi = false",
        does: &[Secures, Opens, Says(BIDI)],
        told: &["stream error unsupported-stanza-type"],
        ..ADDRESSES
    },
    // Stream management.
    Inbound {
        when: "acknowledgements are enabled before authentication",
        does: &[Secures, Opens, Says(ENABLE)],
        told: &["failed unexpected-request"],
        ..ACKS
    },
    Inbound {
        when: "a stream is resumed before authentication",
        by: "XEP-0198 5",
        does: &[Secures, Opens, Says(RESUME)],
        told: &["failed unexpected-request"],
        ..ACKS
    },
    Inbound {
        when: "a stream is resumed that nobody knows",
        by: "XEP-0198 5",
        does: &[LogsIn, Says(RESUME), Says(ENABLE), Says(MESSAGE)],
        told: &["failed item-not-found"],
        arrives: &["m"],
        ..ACKS
    },
    Inbound {
        when: "a stream is resumed after a stanza",
        by: "XEP-0198 5",
        does: &[LogsIn, Says(MESSAGE), Says(RESUME)],
        told: &["failed unexpected-request"],
        arrives: &["m"],
        ..ACKS
    },
    Inbound {
        when: "a stream is resumed without a number",
        by: "XEP-0198 5",
        does: &[LogsIn, Says("<resume xmlns='urn:xmpp:sm:3' previd='some-id'/>")],
        told: &["failed bad-request"],
        ..ACKS
    },
    Inbound {
        when: "acknowledgements are enabled twice",
        does: &[LogsIn, Says(ENABLE), Says(ENABLE), Says(MESSAGE)],
        told: &["failed unexpected-request"],
        arrives: &["m"],
        ..ACKS
    },
    Inbound {
        when: "acknowledgements are enabled where they are not offered",
        policy: "stream_management = false",
        does: &[LogsIn, Says(ENABLE), Says(MESSAGE)],
        told: &["failed feature-not-implemented"],
        arrives: &["m"],
        ..ACKS
    },
    Inbound {
        when: "an acknowledgement is asked for before they are enabled",
        does: &[LogsIn, Says("<r xmlns='urn:xmpp:sm:3'/>")],
        told: &["failed unexpected-request"],
        ..ACKS
    },
    Inbound {
        when: "more is acknowledged than was sent",
        by: "XEP-0198 4",
        does: &[LogsIn, Says(ENABLE), Says("<a xmlns='urn:xmpp:sm:3' h='1'/>")],
        told: &["stream error undefined-condition (handled-count-too-high)"],
        ..ACKS
    },
    Inbound {
        when: "more is acknowledged than there are numbers",
        by: "RFC 6120 4.9.3.11",
        does: &[LogsIn, Says(ENABLE), Says("<a xmlns='urn:xmpp:sm:3' h='4294967296'/>")],
        told: &["stream error invalid-xml"],
        ..ACKS
    },
    Inbound {
        when: "nothing is said of how much is acknowledged",
        by: "RFC 6120 4.9.3.11",
        does: &[LogsIn, Says(ENABLE), Says("<a xmlns='urn:xmpp:sm:3'/>")],
        told: &["stream error invalid-xml"],
        ..ACKS
    },
    // XML.
    Inbound {
        when: "a document type is declared",
        by: "RFC 6120 11.1",
        does: &[Says("<!DOCTYPE lol [<!ENTITY a 'aaaa'>]>")],
        told: &["stream error restricted-xml"],
        ..ROW
    },
    Inbound {
        when: "there is an entity beyond the five",
        by: "RFC 6120 11.1",
        does: &[
            LogsIn,
            Says("<message from='romeo@montague.lit' to='juliet@capulet.lit'><body>&lol;</body></message>"),
        ],
        told: &["stream error restricted-xml"],
        ..ROW
    },
    Inbound {
        when: "there is a comment",
        by: "RFC 6120 11.1",
        does: &[LogsIn, Says("<!-- lol -->")],
        told: &["stream error restricted-xml"],
        ..ROW
    },
    Inbound {
        when: "there is a processing instruction",
        by: "RFC 6120 11.1",
        does: &[LogsIn, Says("<?lol lol?>")],
        told: &["stream error restricted-xml"],
        ..ROW
    },
    Inbound {
        when: "the XML is not well-formed",
        by: "RFC 6120 4.9.3.13",
        does: &[LogsIn, Says("<message></presence>")],
        told: &["stream error not-well-formed"],
        ..ROW
    },
    Inbound {
        when: "there is text between stanzas",
        by: "RFC 6120 4.9.3.1",
        does: &[LogsIn, Says("lol"), Says(MESSAGE)],
        told: &["stream error bad-format"],
        ..ROW
    },
    Inbound {
        when: "a prefix is not declared",
        by: "RFC 6120 4.9.3.13",
        does: &[LogsIn, Says("<message from='romeo@montague.lit' to='juliet@capulet.lit'><lol:lol/></message>")],
        told: &["stream error not-well-formed"],
        ..ROW
    },
    Inbound {
        when: "the XML is deep",
        by: "RFC 6120 13.12",
        does: &[LogsIn, Says(MESSAGE), Says("<message>"), Repeats(1000, "<x>")],
        told: &["stream error policy-violation"],
        arrives: &["m"],
        ..ROW
    },
    Inbound {
        when: "a stanza is larger than it may be",
        by: "RFC 6120 13.12",
        policy: "stanza_bytes_max = 10000",
        does: &[LogsIn, Says(MESSAGE), Says("<message><body>"), Repeats(100, HUNDRED_BYTES), Repeats(5, HUNDRED_BYTES)],
        told: &["stream error policy-violation (stanza-too-big)"],
        arrives: &["m"],
        ..ROW
    },
    Inbound {
        when: "there is a megabyte before authentication",
        by: "RFC 6120 13.12",
        does: &[Secures, Opens, Repeats(10_000, HUNDRED_BYTES_OF_NOTHING)],
        told: &["stream error policy-violation"],
        ..ROW
    },
    Inbound {
        when: "there is a megabyte of header",
        by: "RFC 6120 13.12",
        does: &[Says("<stream:stream a='"), Repeats(10_000, HUNDRED_BYTES)],
        told: &["stream error policy-violation (stanza-too-big)"],
        ..ROW
    },
    Inbound {
        when: "a stranger's element has no end",
        by: "RFC 6120 13.12",
        does: &[Secures, Opens, Says("<message><body>"), Repeats(10_000, HUNDRED_BYTES)],
        told: &["stream error policy-violation (stanza-too-big)"],
        ..ROW
    },
    Inbound {
        when: "a stanza is begun and never ended: it is its own affair",
        by: "RFC 6120 4.6.1",
        does: &[LogsIn, Says(MESSAGE), Says("<message><body>"), Waits(500)],
        arrives: &["m"],
        ..ROW
    },
];

const HUNDRED_BYTES: &str =
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";
const HUNDRED_BYTES_OF_NOTHING: &str =
    "<a xmlns='urn:xmpp:sm:3' h='0' pad='012345678901234567890123456789012345678901234567890123456'/>";
