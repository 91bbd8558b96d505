//! Servers that do not negotiate as they should, and what our senders hear.

use super::super::called::{self, BOTH, DIALBACK, Manners, NONE, NOT_AUTHORIZED, SUCCESS};
use super::super::calling::{After, Outbound, ROW};

const TALKS: Outbound =
    Outbound { by: "", told: &["message", "message error", "iq", "iq", "iq error"], senders: "", ..ROW };
const REFUSED: Outbound = Outbound { after: After::First, ..ROW };

macro_rules! stream_error {
    ($condition:literal) => {
        concat!(
            "<stream:error><",
            $condition,
            " xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>!"
        )
    };
}
macro_rules! header {
    ($attributes:literal) => {
        concat!(
            "<stream:stream xmlns:db='jabber:server:dialback' xmlns:stream='http://etherx.jabber.org/streams' ",
            $attributes,
            ">"
        )
    };
}
macro_rules! result {
    ($type:literal, $inside:literal) => {
        concat!("<db:result from='{from}' to='{to}' type='", $type, "'>", $inside, "</db:result>")
    };
}
macro_rules! error {
    ($type:literal, $condition:literal) => {
        concat!(
            "<db:result from='{from}' to='{to}' type='error'><error type='",
            $type,
            "'><",
            $condition,
            " xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>"
        )
    };
}

const fn clear(clear: &'static str) -> Manners {
    Manners { clear, ..called::GOOD }
}
const fn features(features: &'static str) -> Manners {
    Manners { features, ..called::GOOD }
}
const fn starttls(starttls: &'static str) -> Manners {
    Manners { starttls, ..called::GOOD }
}
const fn auth(auth: &'static str) -> Manners {
    Manners { auth, ..called::GOOD }
}
const fn result(result: &'static str) -> Manners {
    Manners { result, ..called::OLD }
}

pub const ROWS: &[Outbound] = &[
    // Connections.
    Outbound {
        when: "the connection is refused",
        street: |street| street.dialer.refuse("192.0.2.2:5269".parse().unwrap(), std::time::Duration::ZERO),
        ..ROW
    },
    Outbound {
        when: "the machine does not answer",
        street: |street| street.dialer.silence("192.0.2.2:5269".parse().unwrap()),
        ..ROW
    },
    Outbound {
        when: "nothing is ever said",
        manners: Manners { is_mute: true, ..called::GOOD },
        text: "too long",
        ..ROW
    },
    Outbound { when: "it hangs up at once", manners: Manners { header: "!", ..called::GOOD }, ..ROW },
    // The header.
    Outbound {
        when: "the header is from another domain, which may be one of its own",
        by: "RFC 6120 4.7.1",
        manners: Manners {
            header: header!("xmlns='jabber:server' id='{id}' from='paris.lit' to='{to}' version='1.0'"),
            ..called::GOOD
        },
        ..TALKS
    },
    Outbound {
        when: "the header after TLS is from another domain, which may be one of its own",
        by: "RFC 6120 4.7.1",
        manners: Manners {
            header_secure: header!("xmlns='jabber:server' id='{id}' from='paris.lit' to='{to}' version='1.0'"),
            ..called::GOOD
        },
        ..TALKS
    },
    Outbound {
        when: "the header says from nobody",
        by: "RFC 6120 4.7.1",
        manners: Manners { header: header!("xmlns='jabber:server' id='{id}' version='1.0'"), ..called::GOOD },
        ..TALKS
    },
    Outbound {
        when: "the header is a client stream's",
        by: "RFC 6120 4.9.3.10",
        manners: Manners {
            header: header!("xmlns='jabber:client' id='{id}' from='{from}' to='{to}' version='1.0'"),
            ..called::GOOD
        },
        told: &["stream error invalid-namespace"],
        ..ROW
    },
    Outbound {
        when: "the header says a version that is none",
        by: "RFC 6120 4.9.3.25",
        manners: Manners {
            header: header!("xmlns='jabber:server' id='{id}' from='{from}' to='{to}' version='one'"),
            ..called::GOOD
        },
        told: &["stream error unsupported-version"],
        ..ROW
    },
    Outbound {
        when: "HTTP is spoken",
        by: "RFC 6120 4.9.3.13",
        manners: Manners { header: "HTTP/1.1 400 Bad Request\r\n\r\n", ..called::GOOD },
        told: &["stream error not-well-formed"],
        ..ROW
    },
    Outbound {
        when: "the header says no identifier, and there is only dialback",
        by: "XEP-0220 2.1.1",
        manners: Manners {
            header_secure: header!("xmlns='jabber:server' from='{from}' to='{to}' version='1.0'"),
            ..called::OLD
        },
        told: &["closed"],
        text: "no authentication",
        ..REFUSED
    },
    // Errors in place of features.
    Outbound {
        when: "it does not know the domain",
        by: "RFC 6120 8.3.3.16",
        manners: clear(stream_error!("host-unknown")),
        senders: "remote-server-not-found",
        text: "host-unknown",
        ..REFUSED
    },
    Outbound {
        when: "it no longer serves the domain",
        by: "RFC 6120 8.3.3.16",
        manners: clear(stream_error!("host-gone")),
        senders: "remote-server-not-found",
        text: "host-gone",
        ..REFUSED
    },
    Outbound {
        when: "it names another host, which is not followed",
        by: "RFC 6120 4.9.3.19",
        manners: clear(
            "<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>capulet.lit:5269</see-other-host>\
             </stream:error></stream:stream>!",
        ),
        text: "see-other-host",
        ..ROW
    },
    Outbound {
        when: "it does not want us",
        manners: clear(stream_error!("policy-violation")),
        text: "policy-violation",
        ..REFUSED
    },
    Outbound {
        when: "it shuts down",
        manners: clear(stream_error!("system-shutdown")),
        text: "system-shutdown",
        ..ROW
    },
    Outbound {
        when: "it has too much to do",
        manners: clear(stream_error!("resource-constraint")),
        text: "resource-constraint",
        ..ROW
    },
    // Features and STARTTLS.
    Outbound { when: "features never come", manners: clear(""), text: "too long", told: &["cut"], ..ROW },
    Outbound { when: "it closes in place of features", manners: clear("</stream:stream>!"), ..ROW },
    Outbound { when: "it hangs up in place of features", manners: clear("!"), ..ROW },
    Outbound {
        when: "STARTTLS is not among the features",
        by: "RFC 7590 3.1",
        manners: clear(BOTH),
        told: &["closed"],
        text: "no TLS",
        ..REFUSED
    },
    Outbound {
        when: "there are no features, and TLS is required",
        by: "RFC 7590 3.1",
        manners: clear(NONE),
        told: &["closed"],
        text: "no TLS",
        ..REFUSED
    },
    Outbound {
        when: "it is from before features, and TLS is required",
        by: "RFC 7590 3.1",
        manners: Manners { header: header!("xmlns='jabber:server' id='{id}' from='{from}' to='{to}'"), ..clear("") },
        told: &["closed"],
        text: "no TLS",
        ..REFUSED
    },
    Outbound {
        when: "STARTTLS is not among the features, and policy does without TLS but not without a certificate",
        by: "RFC 7590 3.1",
        policy: "tls_required = false",
        manners: clear(DIALBACK),
        told: &["closed"],
        text: "no TLS",
        ..REFUSED
    },
    Outbound {
        when: "STARTTLS is refused",
        by: "RFC 6120 5.4.2.2",
        manners: starttls("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>!"),
        text: "refuses TLS",
        ..REFUSED
    },
    Outbound { when: "STARTTLS is not answered", manners: starttls(""), told: &["cut"], text: "too long", ..ROW },
    Outbound { when: "it hangs up on STARTTLS", manners: starttls("!"), ..ROW },
    Outbound {
        when: "something follows proceed in the clear",
        by: "RFC 6120 5.4.3.3",
        manners: starttls("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><stream:features/>"),
        told: &["stream error policy-violation"],
        ..ROW
    },
    Outbound {
        when: "STARTTLS is answered with success of SASL",
        by: "RFC 6120 4.9.3.24",
        manners: starttls(SUCCESS),
        told: &["stream error unsupported-stanza-type"],
        ..ROW
    },
    Outbound {
        when: "what follows proceed is not TLS",
        by: "RFC 6120 5.4.3.2",
        manners: Manners { in_place_of_tls: Some("Wherefore art thou not encrypted?"), ..called::GOOD },
        ..ROW
    },
    Outbound {
        when: "nothing follows proceed",
        by: "RFC 6120 5.4.3.2",
        manners: Manners { in_place_of_tls: Some(""), ..called::GOOD },
        text: "TLS takes too long",
        ..ROW
    },
    Outbound {
        when: "it hangs up in TLS",
        by: "RFC 6120 5.4.3.2",
        manners: Manners { in_place_of_tls: Some("!"), ..called::GOOD },
        text: "TLS",
        ..ROW
    },
    // After TLS.
    Outbound { when: "features never come after TLS", manners: features(""), told: &["cut"], text: "too long", ..ROW },
    Outbound { when: "it hangs up after TLS", manners: Manners { header_secure: "!", ..called::GOOD }, ..ROW },
    Outbound {
        when: "there is no way to authenticate",
        by: "RFC 6120 6.3.3",
        manners: Manners {
            header_secure: "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
                            id='{id}' from='{from}' to='{to}' version='1.0'>",
            ..features(NONE)
        },
        told: &["closed"],
        text: "no authentication",
        ..REFUSED
    },
    Outbound {
        when: "features come twice",
        by: "RFC 6120 4.9.3.24",
        manners: features("<stream:features/><stream:features/>"),
        told: &["stream error unsupported-stanza-type"],
        ..ROW
    },
    Outbound {
        when: "success comes in place of features",
        by: "RFC 6120 4.9.3.24",
        manners: features(SUCCESS),
        told: &["stream error unsupported-stanza-type"],
        ..ROW
    },
    Outbound {
        when: "success comes for a key",
        by: "RFC 6120 4.9.3.24",
        manners: result(SUCCESS),
        told: &["stream error unsupported-stanza-type"],
        ..ROW
    },
    Outbound {
        when: "STARTTLS is offered again after TLS",
        by: "RFC 6120 5.4.3.3",
        manners: features(
            "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\
             <mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism></mechanisms>\
             </stream:features>",
        ),
        ..TALKS
    },
    // EXTERNAL.
    Outbound {
        when: "EXTERNAL is refused, and dialback does",
        by: "RFC 6120 6.4.5",
        manners: auth(NOT_AUTHORIZED),
        told: &["message", "message error", "iq", "iq", "iq error"],
        ..TALKS
    },
    Outbound {
        when: "EXTERNAL is refused, then dialback",
        by: "XEP-0220 2.5",
        manners: Manners { result: error!("auth", "not-authorized"), ..auth(NOT_AUTHORIZED) },
        told: &["closed"],
        text: "not-authorized",
        ..REFUSED
    },
    Outbound {
        when: "EXTERNAL is refused, and policy lets us not dial back",
        by: "RFC 6120 6.4.5",
        policy: "dialback = false",
        manners: auth(NOT_AUTHORIZED),
        told: &["closed"],
        text: "SASL EXTERNAL was refused: not-authorized",
        ..REFUSED
    },
    Outbound { when: "EXTERNAL is not answered", manners: auth(""), told: &["cut"], text: "too long", ..ROW },
    Outbound { when: "it hangs up on EXTERNAL", manners: auth("!"), ..ROW },
    Outbound {
        when: "EXTERNAL is challenged twice",
        by: "RFC 6120 6.4.3",
        manners: auth(
            "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/><challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
        ),
        told: &["stream error policy-violation"],
        ..ROW
    },
    Outbound {
        when: "features never come after EXTERNAL",
        manners: Manners { features_authenticated: "", ..called::GOOD },
        told: &["cut"],
        text: "too long",
        ..ROW
    },
    // Dialback.
    Outbound {
        when: "our key is said to be wrong",
        by: "XEP-0220 2.1.1",
        manners: result(concat!("<db:result from='{from}' to='{to}' type='invalid'/>", "</stream:stream>!")),
        text: "invalid",
        ..REFUSED
    },
    Outbound { when: "our key is not answered", manners: result(""), told: &["cut"], text: "too long", ..ROW },
    Outbound { when: "it hangs up on our key", manners: result("!"), ..ROW },
    Outbound {
        when: "our key is good for another pair",
        by: "XEP-0220 3.1",
        manners: result("<db:result from='{from}' to='verona.lit' type='valid'/>"),
        told: &["stream error not-authorized"],
        ..ROW
    },
    Outbound {
        when: "our key is good for another server",
        by: "XEP-0220 3.1",
        manners: result("<db:result from='paris.lit' to='{to}' type='valid'/>"),
        told: &["stream error not-authorized"],
        ..ROW
    },
    Outbound {
        when: "a key is said to be good that we did not ask about",
        by: "XEP-0220 3.1",
        manners: result("<db:verify from='{from}' to='{to}' id='{id}' type='valid'/>"),
        told: &["stream error not-authorized"],
        ..ROW
    },
    Outbound {
        when: "our key is answered in words nobody knows",
        by: "RFC 6120 4.9.3.11",
        manners: result(result!("maybe", "")),
        told: &["stream error invalid-xml"],
        ..ROW
    },
    Outbound {
        when: "it cannot find us",
        by: "XEP-0220 2.5",
        manners: result(error!("cancel", "remote-server-not-found")),
        told: &["closed"],
        text: "remote-server-not-found",
        ..REFUSED
    },
    Outbound {
        when: "it cannot reach us",
        by: "XEP-0220 2.5",
        manners: result(error!("wait", "remote-server-timeout")),
        told: &["closed"],
        text: "remote-server-timeout",
        ..ROW
    },
    Outbound {
        when: "it does not know the domain our key is for",
        by: "XEP-0220 2.5",
        manners: result(error!("cancel", "item-not-found")),
        told: &["closed"],
        text: "item-not-found",
        senders: "remote-server-timeout",
        ..REFUSED
    },
    Outbound {
        when: "it asks about a key while we show ours",
        by: "XEP-0220 2.1.2",
        manners: result("<db:verify from='{from}' to='{to}' id='x'>0123</db:verify>"),
        told: &["stream error not-authorized"],
        ..ROW
    },
    Outbound {
        when: "it shows a key on a stream that runs one way",
        by: "XEP-0220 2.1",
        manners: result("<db:result from='{from}' to='{to}'>0123</db:result>"),
        told: &["stream error not-authorized"],
        ..ROW
    },
    Outbound {
        when: "a stanza comes before anybody is authenticated",
        by: "RFC 6120 4.9.3.12",
        manners: result("<message from='romeo@montague.lit' to='juliet@capulet.lit/balcony' id='n'/>"),
        told: &["stream error not-authorized"],
        ..ROW
    },
    // Policy.
    Outbound {
        when: "the domain is blocked",
        by: "RFC 6120 8.3.3.10",
        policy: "[[s2s.domain]]\nname = \"montague.lit\"\naction = \"block\"",
        senders: "not-allowed",
        after: After::Nothing,
        ..ROW
    },
    Outbound {
        when: "the domain is not on the list of those allowed",
        by: "RFC 6120 8.3.3.10",
        policy: "mode = \"allow-list\"\n[[s2s.domain]]\nname = \"verona.lit\"",
        senders: "not-allowed",
        after: After::Nothing,
        ..ROW
    },
];
