//! Dialback: keys that are wrong, and servers that cannot be asked about them.

use chirrup::runtime::{Family, LookupError};

use super::super::called::{self, Manners};
use super::super::caller::Act::{LogsIn, Opens, Repeats, Says, Secures, Waits};
use super::super::caller::{AUTH, Inbound, ROW};
use super::super::certificates::Shown;

const MESSAGE: &str = "<message from='romeo@montague.lit' to='juliet@capulet.lit/balcony' id='m'/>";
const RESULT: &str = "<db:result from='montague.lit' to='capulet.lit'>0123456789abcdef</db:result>";
const LENIENT: &str = "require_valid_certificate = false";
const NO_EXTERNAL: &str = "EXTERNAL is not offered";

/// Who shows no certificate, a key, and a stanza when that has been looked at.
const BASE: Inbound = Inbound {
    by: "XEP-0220 2.5",
    policy: LENIENT,
    shows: Shown::Nothing,
    does: &[Secures, Opens, Says(RESULT), Waits(40), Says(MESSAGE)],
    ..ROW
};
/// A server that says `verify` to who asks.
const fn says(verify: &'static str) -> Option<Manners> {
    Some(Manners { verify, ..called::GOOD })
}
const UNANSWERED: Inbound =
    Inbound { told: &[NO_EXTERNAL, "result error remote-server-timeout", "stream error not-authorized"], ..BASE };
const NOT_FOUND: Inbound =
    Inbound { told: &[NO_EXTERNAL, "result error remote-server-not-found", "stream error not-authorized"], ..BASE };

pub const ROWS: &[Inbound] = &[
    Inbound { when: "the key is good", told: &[NO_EXTERNAL, "result valid"], arrives: &["m"], ..BASE },
    Inbound {
        when: "the key is wrong",
        by: "XEP-0220 2.2.1",
        authority: says("<db:verify from='{from}' to='{to}' id='{id}' type='invalid'/>"),
        told: &[NO_EXTERNAL, "result invalid", "closed"],
        ..BASE
    },
    Inbound { when: "the domain does not exist", authority: None, ..NOT_FOUND },
    Inbound {
        when: "the domain leads to our own server",
        street: |street| street.name("montague.lit", "192.0.2.1"),
        ..NOT_FOUND
    },
    Inbound {
        when: "the domain leads to this machine",
        street: |street| street.name("montague.lit", "127.0.0.1"),
        ..NOT_FOUND
    },
    Inbound {
        when: "the domain's server cannot be reached",
        street: |street| street.dialer.refuse("192.0.2.2:5269".parse().unwrap(), std::time::Duration::ZERO),
        ..UNANSWERED
    },
    Inbound {
        when: "DNS answers after half a minute that it cannot",
        street: |street| {
            let delay = std::time::Duration::from_secs(30);
            for family in [Family::V4, Family::V6] {
                street.resolver.set_addresses("montague.lit", family, delay, Err(LookupError::TimedOut));
            }
        },
        ..UNANSWERED
    },
    Inbound {
        when: "the domain's server does not know the domain",
        authority: says(
            "<db:verify from='{from}' to='{to}' id='{id}' type='error'><error type='cancel'>\
             <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:verify>",
        ),
        ..NOT_FOUND
    },
    Inbound {
        when: "the domain's server says host-unknown",
        authority: Some(Manners {
            clear: "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>\
                    </stream:stream>!",
            ..called::GOOD
        }),
        ..NOT_FOUND
    },
    Inbound {
        when: "the domain's server never says anything",
        authority: Some(Manners { is_mute: true, ..called::GOOD }),
        does: &[Secures, Opens, Says(RESULT), Waits(100)],
        told: &[NO_EXTERNAL, "stream error connection-timeout"],
        ..BASE
    },
    Inbound { when: "the domain's server does not answer the question", authority: says(""), ..UNANSWERED },
    Inbound {
        when: "the domain's server hangs up on the question",
        authority: says("</stream:stream>!"),
        ..UNANSWERED
    },
    Inbound {
        when: "the domain's server answers about another stream",
        by: "XEP-0220 3.1",
        authority: says("<db:verify from='{from}' to='{to}' id='another' type='valid'/>"),
        ..UNANSWERED
    },
    Inbound {
        when: "the domain's server answers about another domain",
        by: "XEP-0220 3.1",
        authority: says("<db:verify from='paris.lit' to='{to}' id='{id}' type='valid'/>"),
        ..UNANSWERED
    },
    Inbound {
        when: "the domain's server answers as if it had been shown the key",
        by: "XEP-0220 3.1",
        authority: says("<db:result from='{from}' to='{to}' type='valid'/>"),
        ..UNANSWERED
    },
    Inbound {
        when: "the domain's server answers with an error of its own",
        authority: says(
            "<db:verify from='{from}' to='{to}' id='{id}' type='error'><error type='wait'>\
             <internal-server-error xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:verify>",
        ),
        ..UNANSWERED
    },
    // Policy.
    Inbound {
        when: "policy demands a valid certificate and none is shown",
        policy: "",
        told: &[NO_EXTERNAL, "result error not-authorized", "stream error not-authorized"],
        ..BASE
    },
    Inbound {
        when: "policy demands a valid certificate and that shown is for another name",
        policy: "",
        shows: Shown::OtherName,
        told: &[NO_EXTERNAL, "result error not-authorized", "stream error not-authorized"],
        ..BASE
    },
    Inbound {
        when: "policy demands a valid certificate of this domain alone",
        policy: "require_valid_certificate = false\n[[s2s.domain]]\nname = \"montague.lit\"\n\
                 require_valid_certificate = true",
        told: &[NO_EXTERNAL, "result error not-authorized", "stream error not-authorized"],
        ..BASE
    },
    Inbound {
        when: "the certificate that is shown is good: nobody is asked",
        by: "XEP-0220 2.1.1",
        policy: "",
        shows: Shown::Good,
        authority: None,
        told: &["result valid"],
        arrives: &["m"],
        ..BASE
    },
    Inbound {
        when: "dialback is not permitted",
        policy: "dialback = false\nrequire_valid_certificate = false",
        told: &[NO_EXTERNAL, "dialback is not offered", "result error not-authorized", "stream error not-authorized"],
        ..BASE
    },
    Inbound {
        when: "dialback is not permitted to this domain",
        policy: "require_valid_certificate = false\n[[s2s.domain]]\nname = \"*.lit\"\ndialback = false",
        told: &[NO_EXTERNAL, "dialback is not offered", "result error not-authorized", "stream error not-authorized"],
        ..BASE
    },
    Inbound {
        when: "the domain is blocked",
        by: "RFC 6120 4.9.3.14",
        policy: "[[s2s.domain]]\nname = \"montague.lit\"\naction = \"block\"",
        does: &[Secures, Opens],
        told: &["stream error policy-violation"],
        ..BASE
    },
    Inbound {
        when: "a domain above it is blocked",
        by: "RFC 6120 4.9.3.14",
        policy: "[[s2s.domain]]\nname = \"*.lit\"\naction = \"block\"\n[[s2s.domain]]\nname = \"verona.lit\"",
        does: &[Secures, Opens],
        told: &["stream error policy-violation"],
        ..BASE
    },
    Inbound {
        when: "the domain is not on the list of those allowed",
        by: "RFC 6120 4.9.3.14",
        policy: "mode = \"allow-list\"\n[[s2s.domain]]\nname = \"verona.lit\"",
        does: &[Secures, Opens],
        told: &["stream error policy-violation"],
        ..BASE
    },
    Inbound {
        when: "the domain is blocked, and its header does not say so",
        policy: "require_valid_certificate = false\n[[s2s.domain]]\nname = \"montague.lit\"\naction = \"block\"",
        does: &[
            Secures,
            Says(
                "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' to='capulet.lit' \
                 xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>",
            ),
            Says(RESULT),
        ],
        told: &[NO_EXTERNAL, "result error policy-violation"],
        ..BASE
    },
    Inbound {
        when: "the domain is blocked, its header does not say so, and its certificate is good",
        policy: "[[s2s.domain]]\nname = \"montague.lit\"\naction = \"block\"",
        shows: Shown::Good,
        does: &[
            Secures,
            Says(
                "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' to='capulet.lit' \
                 xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>",
            ),
            Says(RESULT),
            Says(MESSAGE),
        ],
        told: &[NO_EXTERNAL, "result error policy-violation", "stream error not-authorized"],
        ..BASE
    },
    Inbound {
        when: "it logs in as one domain and shows a key of one that is blocked",
        policy: "require_valid_certificate = false\n[[s2s.domain]]\nname = \"paris.lit\"\naction = \"block\"",
        shows: Shown::Good,
        does: &[LogsIn, Says("<db:result from='paris.lit' to='capulet.lit'>0123</db:result>"), Says(MESSAGE)],
        told: &["result error policy-violation"],
        arrives: &["m"],
        ..BASE
    },
    Inbound {
        when: "it acts for a domain that is blocked",
        by: "RFC 6120 6.5.6",
        policy: "[[s2s.domain]]\nname = \"im.montague.lit\"\naction = \"block\"",
        shows: Shown::Both,
        does: &[
            Secures,
            Opens,
            Says("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>aW0ubW9udGFndWUubGl0</auth>"),
        ],
        told: &["SASL failure invalid-authzid"],
        ..BASE
    },
    // Pairs.
    Inbound {
        when: "the key is for a domain that is not ours",
        does: &[Secures, Opens, Says("<db:result from='montague.lit' to='paris.lit'>0123</db:result>")],
        told: &[NO_EXTERNAL, "result error item-not-found"],
        ..BASE
    },
    Inbound {
        when: "the key is of a domain of ours",
        does: &[Secures, Opens, Says("<db:result from='rosaline.lit' to='capulet.lit'>0123</db:result>")],
        told: &[NO_EXTERNAL, "result error not-acceptable"],
        ..BASE
    },
    Inbound {
        when: "the key is empty",
        does: &[Secures, Opens, Says("<db:result from='montague.lit' to='capulet.lit'/>")],
        told: &[NO_EXTERNAL, "result error not-acceptable"],
        ..BASE
    },
    Inbound {
        when: "one pair is good and another's key is wrong",
        by: "XEP-0220 2.2.1",
        does: &[
            Secures,
            Opens,
            Says(RESULT),
            Says("<db:result from='paris.lit' to='capulet.lit'>0123</db:result>"),
            Says(MESSAGE),
            Says("<message from='helen@paris.lit' to='juliet@capulet.lit/balcony' id='n'/>"),
        ],
        told: &[NO_EXTERNAL, "result valid", "result error forbidden", "stream error invalid-from"],
        arrives: &["m"],
        paris: Manners {
            verify: "<db:verify from='{from}' to='{to}' id='{id}' type='invalid'/>",
            shows: Shown::OtherName,
            ..called::GOOD
        },
        ..BASE
    },
    Inbound {
        when: "a key is good for one domain of ours and a stanza is to another",
        by: "XEP-0220 2.2.1",
        does: &[Secures, Opens, Says(RESULT), Says("<message from='romeo@montague.lit' to='rosaline.lit' id='n'/>")],
        told: &[NO_EXTERNAL, "result valid", "stream error invalid-from"],
        ..BASE
    },
    Inbound {
        when: "there are more pairs than a stream may carry",
        policy: "require_valid_certificate = false\npairs_per_connection_max = 2",
        does: &[
            Secures,
            Opens,
            Says(RESULT),
            Says("<db:result from='montague.lit' to='rosaline.lit'>0123</db:result>"),
            Says("<db:result from='paris.lit' to='capulet.lit'>0123</db:result>"),
            Says(MESSAGE),
        ],
        told: &[NO_EXTERNAL, "result valid", "result valid", "result error resource-constraint"],
        arrives: &["m"],
        ..BASE
    },
    Inbound {
        when: "more keys of a domain wait to be verified than may",
        policy: "require_valid_certificate = false\nverifications_per_domain_max = 1",
        authority: Some(Manners { is_mute: true, ..called::GOOD }),
        does: &[
            Secures,
            Opens,
            Says(RESULT),
            Says("<db:result from='montague.lit' to='rosaline.lit'>0123</db:result>"),
        ],
        told: &[NO_EXTERNAL, "result error resource-constraint"],
        ..BASE
    },
    Inbound {
        when: "the same key is shown again and again",
        does: &[Secures, Opens, Repeats(50, RESULT), Waits(40), Says(MESSAGE)],
        authority: says(""),
        told: &[NO_EXTERNAL, "result error remote-server-timeout", "stream error not-authorized"],
        ..BASE
    },
    Inbound {
        when: "a stanza comes while the key is being looked at",
        by: "RFC 6120 4.9.3.12",
        authority: says(""),
        does: &[Secures, Opens, Says(RESULT), Says(MESSAGE)],
        told: &[NO_EXTERNAL, "stream error not-authorized"],
        ..BASE
    },
    Inbound {
        when: "EXTERNAL is tried while a key is being looked at",
        by: "RFC 6120 4.9.3.12",
        authority: says(""),
        does: &[Secures, Opens, Says(RESULT), Says(AUTH)],
        told: &[NO_EXTERNAL, "stream error not-authorized"],
        ..BASE
    },
    // Elements that are not as they should be.
    Inbound {
        when: "a key does not say of whom",
        by: "RFC 6120 4.9.3.7",
        does: &[Secures, Opens, Says("<db:result to='capulet.lit'>0123</db:result>")],
        told: &[NO_EXTERNAL, "stream error improper-addressing"],
        ..BASE
    },
    Inbound {
        when: "a key does not say for whom",
        by: "RFC 6120 4.9.3.7",
        does: &[Secures, Opens, Says("<db:result from='montague.lit'>0123</db:result>")],
        told: &[NO_EXTERNAL, "stream error improper-addressing"],
        ..BASE
    },
    Inbound {
        when: "a key is a user's",
        by: "RFC 6120 4.9.3.7",
        does: &[Secures, Opens, Says("<db:result from='romeo@montague.lit' to='capulet.lit'>0123</db:result>")],
        told: &[NO_EXTERNAL, "stream error improper-addressing"],
        ..BASE
    },
    Inbound {
        when: "dialback of a kind nobody knows",
        by: "RFC 6120 4.9.3.24",
        does: &[Secures, Opens, Says("<db:guess from='montague.lit' to='capulet.lit'>0123</db:guess>")],
        told: &[NO_EXTERNAL, "stream error unsupported-stanza-type"],
        ..BASE
    },
    Inbound {
        when: "a result of a type nobody knows",
        by: "RFC 6120 4.9.3.11",
        does: &[Secures, Opens, Says("<db:result from='montague.lit' to='capulet.lit' type='maybe'/>")],
        told: &[NO_EXTERNAL, "stream error invalid-xml"],
        ..BASE
    },
    Inbound {
        when: "it says that a key of ours is good that was not shown to it",
        by: "XEP-0220 3.1",
        does: &[Secures, Opens, Says("<db:result from='montague.lit' to='capulet.lit' type='valid'/>")],
        told: &[NO_EXTERNAL, "stream error not-authorized"],
        ..BASE
    },
    Inbound {
        when: "it says that a key of its own is good that it was not asked about",
        by: "XEP-0220 3.1",
        does: &[
            Secures,
            Opens,
            Says(RESULT),
            Says("<db:verify from='montague.lit' to='capulet.lit' id='{id}' type='valid'/>"),
            Says(MESSAGE),
        ],
        authority: says(""),
        told: &[NO_EXTERNAL, "stream error not-authorized"],
        ..BASE
    },
    // Questions to us.
    Inbound {
        when: "we are asked about a key that is not ours",
        by: "XEP-0220 2.2.2",
        does: &[
            Secures,
            Opens,
            Says("<db:verify from='montague.lit' to='capulet.lit' id='s1'>0123456789abcdef</db:verify>"),
        ],
        told: &[NO_EXTERNAL, "verify invalid"],
        ..BASE
    },
    Inbound {
        when: "we are asked about a domain that is not ours",
        by: "XEP-0220 2.2.2",
        does: &[
            Secures,
            Opens,
            Says("<db:verify from='montague.lit' to='paris.lit' id='s1'>0123456789abcdef</db:verify>"),
        ],
        told: &[NO_EXTERNAL, "verify error item-not-found"],
        ..BASE
    },
    Inbound {
        when: "we are asked about no stream",
        by: "RFC 6120 4.9.3.11",
        does: &[Secures, Opens, Says("<db:verify from='montague.lit' to='capulet.lit'>0123456789abcdef</db:verify>")],
        told: &[NO_EXTERNAL, "stream error invalid-xml"],
        ..BASE
    },
    Inbound {
        when: "we are asked too much by somebody who has proven nothing",
        by: "XEP-0205 4",
        does: &[Secures, Opens, Repeats(40, "<db:verify from='montague.lit' to='verona.lit' id='s1'>0123</db:verify>")],
        told: &THIRTY_TWO_ANSWERS,
        ..BASE
    },
];

/// To as many questions as are answered, and then the end.
const THIRTY_TWO_ANSWERS: [&str; 34] = {
    let mut told = ["verify error item-not-found"; 34];
    told[0] = NO_EXTERNAL;
    told[33] = "stream error policy-violation";
    told
};
