//! Headers, STARTTLS and SASL that are not as they should be.

use super::super::caller::Act::{LogsIn, Opens, Repeats, Says, Secures, TlsAtOnce, Waits};
use super::super::caller::{AUTH, Inbound, ROW};
use super::super::certificates::Shown;
use chirrup::s2s::Door;

const MESSAGE: &str = "<message from='romeo@montague.lit' to='juliet@capulet.lit/balcony' id='m'/>";
const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const RESULT: &str = "<db:result from='montague.lit' to='capulet.lit'>0123456789abcdef</db:result>";
const VERIFY: &str = "<db:verify from='montague.lit' to='capulet.lit' id='s1'>0123456789abcdef</db:verify>";

macro_rules! header {
    ($attributes:literal) => {
        concat!(
            "<?xml version='1.0'?><stream:stream xmlns:db='jabber:server:dialback' ",
            "xmlns:stream='http://etherx.jabber.org/streams' ",
            $attributes,
            ">"
        )
    };
}

macro_rules! auth {
    ($mechanism:literal, $text:literal) => {
        concat!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='", $mechanism, "'>", $text, "</auth>")
    };
}

/// Before TLS.
const CLEAR: Inbound = Inbound { by: "RFC 6120 5.3.1", ..ROW };
/// After TLS, with a good certificate.
const HEADERS: Inbound = Inbound { by: "RFC 6120 4.7", ..ROW };
const SASL: Inbound = Inbound { by: "RFC 6120 6.5", ..ROW };

pub const ROWS: &[Inbound] = &[
    // What comes before TLS.
    Inbound {
        when: "EXTERNAL is tried in the clear",
        by: "RFC 6120 6.5.4",
        does: &[Opens, Says(AUTH)],
        told: &["SASL failure encryption-required"],
        ..CLEAR
    },
    Inbound {
        when: "a stanza comes in the clear",
        does: &[Opens, Says(MESSAGE)],
        told: &["stream error not-authorized"],
        ..CLEAR
    },
    Inbound {
        when: "a dialback key comes in the clear",
        by: "XEP-0220 2.5",
        does: &[Opens, Says(RESULT)],
        told: &["result error policy-violation"],
        ..CLEAR
    },
    Inbound {
        when: "a question about a key comes in the clear",
        by: "XEP-0220 2.5",
        does: &[Opens, Says(VERIFY)],
        told: &["verify error policy-violation"],
        ..CLEAR
    },
    Inbound {
        when: "bidi is asked for in the clear",
        by: "XEP-0288 2.2",
        does: &[Opens, Says("<bidi xmlns='urn:xmpp:bidi'/>")],
        told: &["stream error policy-violation"],
        ..CLEAR
    },
    Inbound {
        when: "stream management is asked for in the clear",
        by: "XEP-0198 3",
        does: &[Opens, Says("<enable xmlns='urn:xmpp:sm:3'/>")],
        told: &["failed unexpected-request"],
        ..CLEAR
    },
    Inbound {
        when: "something follows starttls in the clear",
        by: "RFC 6120 5.3.3",
        does: &[Opens, Says("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><message/>")],
        told: &["stream error policy-violation"],
        ..CLEAR
    },
    Inbound {
        when: "what follows starttls is not TLS",
        by: "RFC 6120 5.4.3.2",
        does: &[Opens, Says(STARTTLS), Says("Wherefore art thou not encrypted? ................................")],
        told: &["cut"],
        ..CLEAR
    },
    Inbound {
        when: "STARTTLS is asked for a second time",
        by: "RFC 6120 5.4.2.2",
        does: &[Secures, Opens, Says(STARTTLS)],
        told: &["TLS failure", "closed"],
        ..CLEAR
    },
    Inbound {
        when: "STARTTLS is asked for where TLS began with the first byte",
        by: "RFC 6120 5.4.2.2",
        door: Door::DirectTls,
        does: &[TlsAtOnce, Opens, Says(STARTTLS)],
        told: &["TLS failure", "closed"],
        ..CLEAR
    },
    Inbound {
        when: "a stream is opened in the clear where TLS begins with the first byte",
        by: "XEP-0368 3",
        door: Door::DirectTls,
        does: &[Opens],
        told: &["cut"],
        ..CLEAR
    },
    // Headers.
    Inbound {
        when: "the header does not say from whom: there is no EXTERNAL, and dialback says",
        does: &[Secures, Says(header!("xmlns='jabber:server' to='capulet.lit' version='1.0'"))],
        told: &["EXTERNAL is not offered"],
        ..HEADERS
    },
    Inbound {
        when: "the header is from a domain of ours",
        by: "RFC 6120 4.9.3.9",
        does: &[Secures, Says(header!("xmlns='jabber:server' from='rosaline.lit' to='capulet.lit' version='1.0'"))],
        told: &["stream error invalid-from"],
        ..HEADERS
    },
    Inbound {
        when: "the header is from the domain it is to",
        by: "RFC 6120 4.9.3.9",
        does: &[Secures, Says(header!("xmlns='jabber:server' from='capulet.lit' to='capulet.lit' version='1.0'"))],
        told: &["stream error invalid-from"],
        ..HEADERS
    },
    Inbound {
        when: "the header is from what is no address",
        by: "RFC 6120 4.9.3.9",
        does: &[Secures, Says(header!("xmlns='jabber:server' from='a@b@c' to='capulet.lit' version='1.0'"))],
        told: &["stream error invalid-from"],
        ..HEADERS
    },
    Inbound {
        when: "the header is from a user",
        by: "RFC 6120 4.9.3.9",
        does: &[
            Secures,
            Says(header!("xmlns='jabber:server' from='romeo@montague.lit' to='capulet.lit' version='1.0'")),
        ],
        told: &["stream error invalid-from"],
        ..HEADERS
    },
    Inbound {
        when: "the header is to a domain that is not ours",
        by: "RFC 6120 4.9.3.6",
        does: &[Secures, Says(header!("xmlns='jabber:server' from='montague.lit' to='paris.lit' version='1.0'"))],
        told: &["stream error host-unknown"],
        ..HEADERS
    },
    Inbound {
        when: "the header is to a user",
        by: "RFC 6120 4.9.3.6",
        does: &[
            Secures,
            Says(header!("xmlns='jabber:server' from='montague.lit' to='juliet@capulet.lit' version='1.0'")),
        ],
        told: &["stream error host-unknown"],
        ..HEADERS
    },
    Inbound {
        when: "the header is to nobody, and several domains are served",
        by: "RFC 6120 4.7.2",
        does: &[Secures, Says(header!("xmlns='jabber:server' from='montague.lit' version='1.0'"))],
        told: &["stream error host-unknown"],
        ..HEADERS
    },
    Inbound {
        when: "the header is a client's",
        by: "RFC 6120 4.9.3.10",
        does: &[Secures, Says(header!("xmlns='jabber:client' from='montague.lit' to='capulet.lit' version='1.0'"))],
        told: &["stream error invalid-namespace"],
        ..HEADERS
    },
    Inbound {
        when: "the stream is in a namespace that is not that of streams",
        by: "RFC 6120 4.9.3.10",
        does: &[
            Secures,
            Says("<stream:stream xmlns='jabber:server' xmlns:stream='urn:other' to='capulet.lit' version='1.0'>"),
        ],
        told: &["stream error invalid-namespace"],
        ..HEADERS
    },
    Inbound {
        when: "the header says a version that is none",
        by: "RFC 6120 4.9.3.25",
        does: &[Secures, Says(header!("xmlns='jabber:server' from='montague.lit' to='capulet.lit' version='2.0'"))],
        told: &["stream error unsupported-version"],
        ..HEADERS
    },
    Inbound {
        when: "the header is from before versions, and TLS is not there",
        by: "RFC 6120 4.9.3.25",
        does: &[Says(header!("xmlns='jabber:server' from='montague.lit' to='capulet.lit'"))],
        told: &["stream error unsupported-version"],
        ..HEADERS
    },
    Inbound {
        when: "it says another domain after EXTERNAL than before",
        by: "RFC 6120 4.9.3.9",
        does: &[
            Secures,
            Opens,
            Says(AUTH),
            Says(header!("xmlns='jabber:server' from='paris.lit' to='capulet.lit' version='1.0'")),
        ],
        told: &["stream error invalid-from"],
        ..HEADERS
    },
    Inbound {
        when: "it wants another domain of ours after EXTERNAL than before",
        by: "RFC 6120 6.3.5",
        does: &[
            Secures,
            Opens,
            Says(AUTH),
            Says(header!("xmlns='jabber:server' from='montague.lit' to='rosaline.lit' version='1.0'")),
        ],
        told: &["stream error not-authorized"],
        ..HEADERS
    },
    Inbound {
        when: "an element comes in place of a header",
        by: "RFC 6120 4.9.3.1",
        does: &[Says("<message/>")],
        told: &["stream error bad-format"],
        ..HEADERS
    },
    Inbound {
        when: "HTTP is spoken",
        by: "RFC 6120 4.9.3.13",
        does: &[Says("GET / HTTP/1.1\r\nHost: capulet.lit\r\n\r\n")],
        told: &["stream error not-well-formed"],
        ..HEADERS
    },
    Inbound {
        when: "TLS is spoken where STARTTLS is expected",
        by: "RFC 6120 4.9.3.13",
        does: &[Says("\u{16}\u{3}\u{1}\u{2}")],
        told: &["stream error not-well-formed"],
        ..HEADERS
    },
    // SASL.
    Inbound {
        when: "it acts for a domain its certificate does not cover",
        by: "RFC 6120 6.5.6",
        // im.montague.lit
        does: &[Secures, Opens, Says(auth!("EXTERNAL", "aW0ubW9udGFndWUubGl0"))],
        told: &["SASL failure invalid-authzid"],
        ..SASL
    },
    Inbound {
        when: "it acts for another domain that its certificate covers",
        by: "XEP-0178 3",
        shows: Shown::Both,
        does: &[
            Secures,
            Opens,
            Says(auth!("EXTERNAL", "aW0ubW9udGFndWUubGl0")),
            Says(header!("xmlns='jabber:server' from='im.montague.lit' to='capulet.lit' version='1.0'")),
            Says("<message from='im.montague.lit' to='juliet@capulet.lit/balcony' id='m'/>"),
            Says(MESSAGE),
        ],
        told: &["stream error invalid-from"],
        arrives: &["m"],
        ..SASL
    },
    Inbound {
        when: "it acts for a domain of ours",
        by: "RFC 6120 6.5.6",
        // rosaline.lit
        does: &[Secures, Opens, Says(auth!("EXTERNAL", "cm9zYWxpbmUubGl0"))],
        told: &["SASL failure invalid-authzid"],
        ..SASL
    },
    Inbound {
        when: "it acts for a user",
        by: "RFC 6120 6.5.6",
        // romeo@montague.lit
        does: &[Secures, Opens, Says(auth!("EXTERNAL", "cm9tZW9AbW9udGFndWUubGl0"))],
        told: &["SASL failure invalid-authzid"],
        ..SASL
    },
    Inbound {
        when: "the identity is not Base64",
        by: "RFC 6120 6.5.5",
        does: &[Secures, Opens, Says(auth!("EXTERNAL", "montague.lit!"))],
        told: &["SASL failure incorrect-encoding"],
        ..SASL
    },
    Inbound {
        when: "another mechanism is tried",
        by: "RFC 6120 6.5.7",
        does: &[Secures, Opens, Says(auth!("PLAIN", "AHJvbWVvAHB3"))],
        told: &["SASL failure invalid-mechanism"],
        ..SASL
    },
    Inbound {
        when: "no mechanism is named",
        by: "RFC 6120 6.5.7",
        does: &[Secures, Opens, Says("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>=</auth>")],
        told: &["SASL failure invalid-mechanism"],
        ..SASL
    },
    Inbound {
        when: "it answers what was not asked",
        by: "RFC 6120 6.5.8",
        does: &[Secures, Opens, Says("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>=</response>")],
        told: &["SASL failure malformed-request"],
        ..SASL
    },
    Inbound {
        when: "it gives up",
        by: "RFC 6120 6.5.1",
        does: &[Secures, Opens, Says("<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")],
        told: &["SASL failure aborted"],
        ..SASL
    },
    Inbound {
        when: "it tries too often",
        by: "RFC 6120 6.4.5",
        does: &[Secures, Opens, Repeats(4, auth!("EXTERNAL", "cGFyaXMubGl0"))],
        told: &[
            "SASL failure invalid-authzid",
            "SASL failure invalid-authzid",
            "SASL failure invalid-authzid",
            "stream error policy-violation",
        ],
        ..SASL
    },
    Inbound {
        when: "it tries again after success",
        by: "RFC 6120 6.4.6",
        does: &[LogsIn, Says(AUTH)],
        told: &["stream error not-authorized"],
        ..SASL
    },
    Inbound {
        when: "a stanza comes before EXTERNAL",
        by: "RFC 6120 4.9.3.12",
        does: &[Secures, Opens, Says(MESSAGE)],
        told: &["stream error not-authorized"],
        ..SASL
    },
    // Those who never finish.
    Inbound {
        when: "nothing is said",
        by: "RFC 6120 4.9.3.4",
        does: &[Waits(100)],
        told: &["stream error connection-timeout"],
        ..ROW
    },
    Inbound {
        when: "the header has no end",
        by: "RFC 6120 4.9.3.4",
        does: &[Says("<stream:stream xmlns='jabber:server'"), Waits(100)],
        told: &["stream error connection-timeout"],
        ..ROW
    },
    Inbound {
        when: "nothing follows the header",
        by: "RFC 6120 4.9.3.4",
        does: &[Opens, Waits(100)],
        told: &["stream error connection-timeout"],
        ..ROW
    },
    Inbound {
        when: "nothing follows starttls",
        by: "RFC 6120 5.4.3.2",
        does: &[Opens, Says(STARTTLS), Waits(100)],
        told: &["cut"],
        ..ROW
    },
    Inbound {
        when: "nothing follows TLS",
        by: "RFC 6120 4.9.3.4",
        does: &[Secures, Waits(100)],
        told: &["stream error connection-timeout"],
        ..ROW
    },
    Inbound {
        when: "nothing follows the header after TLS",
        by: "RFC 6120 4.9.3.4",
        does: &[Secures, Opens, Waits(100)],
        told: &["stream error connection-timeout"],
        ..ROW
    },
    Inbound {
        when: "SASL is begun and not gone on with",
        by: "RFC 6120 4.9.3.4",
        does: &[
            Secures,
            Opens,
            Says("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'/>"),
            Waits(100),
        ],
        told: &["stream error connection-timeout"],
        ..ROW
    },
    Inbound {
        when: "nothing follows EXTERNAL",
        by: "RFC 6120 4.9.3.4",
        does: &[Secures, Opens, Says(AUTH), Waits(100)],
        told: &["stream error connection-timeout"],
        ..ROW
    },
    Inbound {
        when: "nothing is said where TLS begins with the first byte",
        by: "RFC 6120 4.9.3.4",
        door: Door::DirectTls,
        does: &[Waits(100)],
        told: &["cut"],
        ..ROW
    },
    Inbound {
        when: "white space is all that is said",
        by: "RFC 6120 4.9.3.4",
        does: &[Opens, Says(" "), Waits(30), Says(" "), Waits(40)],
        told: &["stream error connection-timeout"],
        ..ROW
    },
];
