//! What is counted, acknowledged and resumed (XEP-0198).

use super::Act::{Cuts, IsWrittenTo, Repeats, Says, Waits};
use super::phrases::{LOGGED_IN, LOST, OPEN, RETURNS, TYBALT};
use super::{ROW, Row};

pub const ROWS: &[Row] = &[
    Row {
        when: "more is acknowledged than was sent",
        by: "XEP-0198 6",
        does: &[LOGGED_IN, Says("<a xmlns='urn:xmpp:sm:3' h='4294967295'/>")],
        told: &["stream error undefined-condition (handled-count-too-high)"],
        ..ROW
    },
    Row {
        when: "less is acknowledged than before",
        by: "XEP-0198 4",
        does: &[
            LOGGED_IN,
            Says("<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>"),
            Says("<a xmlns='urn:xmpp:sm:3' h='1'/>"),
            Says("<a xmlns='urn:xmpp:sm:3' h='0'/>"),
        ],
        told: &["stream error undefined-condition (handled-count-too-high)"],
        ..ROW
    },
    Row {
        when: "an acknowledgement has no count, or one that is none",
        by: "XEP-0198 4",
        does: &[
            LOGGED_IN,
            Says("<a xmlns='urn:xmpp:sm:3'/>"),
            LOGGED_IN,
            Says("<a xmlns='urn:xmpp:sm:3' h='4294967296'/>"),
        ],
        told: &["stream error invalid-xml", "stream error invalid-xml"],
        ..ROW
    },
    Row {
        when: "stream management is enabled twice",
        by: "XEP-0198 3",
        does: &[LOGGED_IN, Says("<enable xmlns='urn:xmpp:sm:3'/>")],
        told: &["failed unexpected-request", "stream error policy-violation"],
        ..ROW
    },
    Row {
        when: "it is enabled before there is a resource",
        by: "XEP-0198 3",
        does: &[OPEN, RETURNS, Says("<enable xmlns='urn:xmpp:sm:3'/>")],
        told: &["failed unexpected-request"],
        ..ROW
    },
    Row {
        when: "a stream is resumed of which more was handled than was sent: the next try finds it as it was",
        by: "XEP-0198 6",
        does: &[
            LOST,
            OPEN,
            RETURNS,
            Says(resume!("4294967295")),
            OPEN,
            Says(authenticate!("PLAIN", "{romeo}", "<resume xmlns='urn:xmpp:sm:3' h='1' previd='{id}'/>")),
            OPEN,
            RETURNS,
            Says(resume!("0")),
        ],
        told: &[
            "stream error undefined-condition (handled-count-too-high)",
            "stream error undefined-condition (handled-count-too-high)",
            "resumed",
        ],
        ..ROW
    },
    Row {
        when: "a stream is resumed with counts that are none, and with identifiers of thousands of bytes",
        by: "XEP-0198 5",
        does: &[
            LOST,
            OPEN,
            RETURNS,
            Says(resume!("-1")),
            Says(resume!("4294967296")),
            Says(resume!("")),
            Says("<resume xmlns='urn:xmpp:sm:3' h='0'/>"),
            Says("<resume xmlns='urn:xmpp:sm:3' h='0' previd='{long}'/>"),
            Says(resume!("0")),
        ],
        told: &[
            "failed bad-request",
            "failed bad-request",
            "failed bad-request",
            "failed bad-request",
            "failed item-not-found",
            "resumed",
        ],
        ..ROW
    },
    Row {
        when: "Tybalt resumes a stream of Romeo's: while it lives, and when it is lost; Romeo then does",
        by: "XEP-0198 8",
        does: &[
            LOGGED_IN,
            OPEN,
            TYBALT,
            Says(resume!("0")),
            OPEN,
            Says(authenticate!("PLAIN", "{tybalt}", "<resume xmlns='urn:xmpp:sm:3' h='0' previd='{id}'/>")),
            OPEN,
            RETURNS,
            Says(resume!("0")),
            Cuts,
            OPEN,
            TYBALT,
            Says(resume!("0")),
            OPEN,
            RETURNS,
            Says(resume!("0")),
        ],
        told: &[
            "stream error conflict",
            "failed item-not-found",
            "failed item-not-found",
            "resumed",
            "failed item-not-found",
            "resumed",
        ],
        ..ROW
    },
    Row {
        when: "identifiers of streams are guessed, again and again",
        by: "XEP-0198 8",
        does: &[
            OPEN,
            TYBALT,
            Repeats(4, "<resume xmlns='urn:xmpp:sm:3' h='0' previd='1'/>"),
            Says("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"),
        ],
        told: &["failed item-not-found", "failed item-not-found", "failed item-not-found", "failed item-not-found"],
        ..ROW
    },
    Row {
        when: "a stream is resumed from one that has a resource",
        by: "XEP-0198 5",
        does: &[LOGGED_IN, Says(resume!("0"))],
        told: &["failed unexpected-request"],
        ..ROW
    },
    Row {
        when: "a stream is resumed that its client has closed",
        by: "XEP-0198 5",
        does: &[LOGGED_IN, Says("</stream:stream>"), OPEN, RETURNS, Says(resume!("0"))],
        told: &["closed", "failed item-not-found"],
        ..ROW
    },
    Row {
        when: "two streams want the same one: the later has it",
        by: "XEP-0198 5",
        does: &[LOST, OPEN, RETURNS, Says(resume!("0")), OPEN, RETURNS, Says(resume!("0"))],
        told: &["resumed", "stream error conflict", "resumed"],
        ..ROW
    },
    Row {
        when: "thousands of acknowledgements are asked for",
        by: "XEP-0198 4",
        does: &[
            LOGGED_IN,
            Repeats(
                200,
                "<r xmlns='urn:xmpp:sm:3'/><r xmlns='urn:xmpp:sm:3'/><r xmlns='urn:xmpp:sm:3'/><r xmlns='urn:xmpp:sm:3'/>\
                 <r xmlns='urn:xmpp:sm:3'/><r xmlns='urn:xmpp:sm:3'/><r xmlns='urn:xmpp:sm:3'/><r xmlns='urn:xmpp:sm:3'/>",
            ),
            Waits(60),
            Says("<message to='juliet@capulet.lit/balcony' id='heard still'/>"),
        ],
        arrives: &["heard still"],
        ..ROW
    },
    Row {
        when: "more than a thousand stanzas are not acknowledged: the connection counts as lost, the stream can be resumed",
        by: "XEP-0198 4",
        does: &[LOGGED_IN, Says("<presence/>"), IsWrittenTo(1500), Waits(180), OPEN, RETURNS, Says(resume!("0"))],
        told: &["stream error connection-timeout", "resumed"],
        ..ROW
    },
    Row {
        when: "more is not acknowledged than a mailbox holds: the stream is over",
        by: "XEP-0198 4",
        policy: "[limits]\nmailbox_bytes_max = 100_000",
        does: &[LOGGED_IN, Says("<presence/>"), IsWrittenTo(1500), OPEN, RETURNS, Says(resume!("0"))],
        told: &["stream error resource-constraint", "failed item-not-found"],
        ..ROW
    },
];
