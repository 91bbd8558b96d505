//! What servers that we have dialled send to us: stanzas on streams that run both ways or do not, and acknowledgements.

use super::super::called::{self, Manners};
use super::super::calling::{After, Outbound, ROW};

/// A stream that runs both ways.
const BOTH_WAYS: Manners = Manners {
    features: "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
               <mechanism>EXTERNAL</mechanism></mechanisms><bidi xmlns='urn:xmpp:features:bidi'/></stream:features>",
    ..called::GOOD
};
/// One that acknowledges.
const ACKNOWLEDGES: Manners = Manners {
    features_authenticated: "<stream:features><sm xmlns='urn:xmpp:sm:3'/></stream:features>",
    ..called::GOOD
};
const ALL: &[&str] = &["message", "message error", "iq", "iq", "iq error"];

const fn both_ways(stanza: &'static str) -> Manners {
    Manners { stanza, ..BOTH_WAYS }
}
const fn enable(enable: &'static str) -> Manners {
    Manners { enable, ..ACKNOWLEDGES }
}

const BASE: Outbound = Outbound { by: "XEP-0288 2.2", senders: "", ..ROW };
/// What was on its way is in doubt.
const IN_DOUBT: Outbound =
    Outbound { by: "XEP-0198 4", after: After::Loss, text: "nobody knows whether this arrived", ..ROW };

/// Nothing is sent before the peer has answered whether it acknowledges, so nothing is in doubt.
const UNSENT: Outbound = Outbound {
    by: "XEP-0198 4",
    after: After::Streams,
    text: "its server ends every stream soon after it begins",
    ..ROW
};

macro_rules! told {
    ($last:literal) => {
        &["message", "message error", "iq", "iq", "iq error", $last]
    };
}

pub const ROWS: &[Outbound] = &[
    Outbound {
        when: "a stanza comes on a stream that runs one way",
        by: "RFC 6120 4.9.3.12",
        manners: Manners {
            stanza: "<message from='romeo@montague.lit' to='juliet@capulet.lit/balcony' id='n'/>",
            ..called::GOOD
        },
        told: told!("stream error not-authorized"),
        ..BASE
    },
    Outbound {
        when: "a stanza is from another domain than the one that was dialled",
        by: "RFC 6120 4.9.3.9",
        manners: both_ways("<message from='helen@paris.lit' to='juliet@capulet.lit/balcony' id='n'/>"),
        told: told!("stream error invalid-from"),
        ..BASE
    },
    Outbound {
        when: "a stanza is from a domain of ours",
        by: "RFC 6120 4.9.3.9",
        manners: both_ways("<message from='nurse@capulet.lit' to='juliet@capulet.lit/balcony' id='n'/>"),
        told: told!("stream error invalid-from"),
        ..BASE
    },
    Outbound {
        when: "a stanza is to another domain of ours than the one that dialled",
        by: "XEP-0288 2.2",
        manners: both_ways("<message from='romeo@montague.lit' to='rosaline.lit' id='n'/>"),
        told: told!("stream error invalid-from"),
        ..BASE
    },
    Outbound {
        when: "a stanza is to a domain that is not ours",
        by: "RFC 6120 4.9.3.6",
        manners: both_ways("<message from='romeo@montague.lit' to='benvolio@verona.lit/square' id='n'/>"),
        told: told!("stream error host-unknown"),
        ..BASE
    },
    Outbound {
        when: "a stanza is to nobody",
        by: "RFC 6120 4.9.3.7",
        manners: both_ways("<message from='romeo@montague.lit' id='n'/>"),
        told: told!("stream error improper-addressing"),
        ..BASE
    },
    Outbound {
        when: "it says that a key of its own is good, unasked",
        by: "XEP-0220 3.1",
        manners: both_ways("<db:verify from='{from}' to='{to}' id='x' type='valid'/>"),
        told: told!("stream error not-authorized"),
        ..BASE
    },
    Outbound {
        when: "it says that a key of ours is good for another of its domains, unasked",
        by: "XEP-0220 3.1",
        manners: both_ways("<db:result from='im.montague.lit' to='{to}' type='valid'/>"),
        told: told!("stream error not-authorized"),
        ..BASE
    },
    Outbound {
        when: "it closes the stream at the first stanza",
        by: "RFC 6120 4.4",
        manners: both_ways("</stream:stream>!"),
        told: &["message"],
        ..BASE
    },
    // Stream management.
    Outbound {
        when: "it does not acknowledge after all",
        by: "XEP-0198 3",
        manners: enable(
            "<failed xmlns='urn:xmpp:sm:3'><feature-not-implemented xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
             </failed>",
        ),
        told: ALL,
        ..BASE
    },
    Outbound {
        when: "more is acknowledged than was sent",
        manners: enable("<enabled xmlns='urn:xmpp:sm:3'/><a xmlns='urn:xmpp:sm:3' h='100'/>"),
        told: &["stream error undefined-condition (handled-count-too-high)"],
        ..UNSENT
    },
    Outbound {
        when: "what is acknowledged is no number",
        by: "RFC 6120 4.9.3.11",
        manners: enable("<enabled xmlns='urn:xmpp:sm:3'/><a xmlns='urn:xmpp:sm:3' h='many'/>"),
        told: &["stream error invalid-xml"],
        ..UNSENT
    },
    Outbound {
        when: "a stream is said to be resumed that was not asked for",
        by: "XEP-0198 5",
        manners: enable("<resumed xmlns='urn:xmpp:sm:3' h='0' previd='x'/>"),
        told: &["stream error unsupported-stanza-type"],
        ..UNSENT
    },
    Outbound {
        when: "it asks for acknowledgements on a stream that runs one way",
        by: "XEP-0198 3",
        manners: enable("<enable xmlns='urn:xmpp:sm:3'/>"),
        told: &["stream error unsupported-stanza-type"],
        ..UNSENT
    },
    Outbound {
        when: "acknowledgements are promised and never come",
        manners: enable("<enabled xmlns='urn:xmpp:sm:3'/>"),
        told: told!("cut"),
        ..IN_DOUBT
    },
];
