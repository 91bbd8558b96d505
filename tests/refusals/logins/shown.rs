//! What is shown to be let in: mechanisms, certificates, tasks, and what is said without waiting.

use super::super::certificates::Shown;
use super::Act::{InTheClear, Repeats, Says, Secures, Shows};
use super::phrases::{EXTERNAL, LOGGED_IN, OPEN, OPENS, RETURNS, WRONG};
use super::{ROW, Row};

pub const ROWS: &[Row] = &[
    Row {
        when: "EXTERNAL is tried without a certificate",
        by: "XEP-0178 2",
        does: &[OPEN, EXTERNAL],
        told: &["SASL failure invalid-mechanism"],
        ..ROW
    },
    Row {
        when: "EXTERNAL is tried with a certificate of nobody's",
        by: "XEP-0257 6",
        does: &[Shows(Shown::SelfSigned), OPENS, EXTERNAL],
        told: &["SASL failure invalid-mechanism"],
        ..ROW
    },
    Row {
        when: "EXTERNAL is tried with a server's good certificate",
        by: "XEP-0178 2",
        does: &[Shows(Shown::Good), OPENS, EXTERNAL],
        told: &["SASL failure invalid-mechanism"],
        ..ROW
    },
    Row {
        when: "a certificate of nobody's is shown, and then the password",
        by: "XEP-0257 6",
        does: &[Shows(Shown::SelfSigned), OPENS, RETURNS],
        ..ROW
    },
    Row {
        when: "a certificate is shown without its key",
        by: "RFC 8446 4.4.3",
        does: &[Shows(Shown::Stolen), OPENS],
        told: &["cut"],
        ..ROW
    },
    Row {
        when: "a password comes in the clear",
        by: "RFC 6120 6.5.4",
        does: &[
            InTheClear,
            OPENS,
            Says("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{romeo}</auth>"),
        ],
        told: &["SASL failure encryption-required"],
        ..ROW
    },
    Row {
        when: "SASL2 is spoken in the clear",
        by: "XEP-0388 6",
        does: &[InTheClear, OPENS, RETURNS],
        told: &["SASL failure encryption-required"],
        ..ROW
    },
    Row {
        when: "passwords are tried, by either kind of SASL",
        by: "RFC 6120 6.4.5",
        does: &[OPEN, Repeats(2, authenticate!("PLAIN", "{wrong}", "")), Repeats(4, WRONG)],
        told: &[
            "SASL failure not-authorized",
            "SASL failure not-authorized",
            "SASL failure not-authorized",
            "SASL failure not-authorized",
            "stream error policy-violation",
        ],
        ..ROW
    },
    Row {
        when: "a second authentication begins while one is under way",
        by: "XEP-0388 2.6.1",
        does: &[
            OPEN,
            Says(
                "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/><authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/>",
            ),
        ],
        told: &["stream error policy-violation"],
        ..ROW
    },
    Row {
        when: "the older SASL begins while SASL2 is under way",
        by: "XEP-0388 2.6.1",
        does: &[
            OPEN,
            Says("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/>"),
            Says("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{romeo}</auth>"),
        ],
        told: &["stream error policy-violation"],
        ..ROW
    },
    Row {
        when: "SASL2 answers a challenge of the older SASL",
        by: "XEP-0388 2.6.2",
        does: &[
            OPEN,
            Says("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>"),
            Says("<response xmlns='urn:xmpp:sasl:2'>{romeo}</response>"),
        ],
        told: &["SASL failure malformed-request"],
        ..ROW
    },
    Row {
        when: "an answer comes to what was not asked",
        by: "XEP-0388 2.6.2",
        does: &[OPEN, Says("<response xmlns='urn:xmpp:sasl:2'>{romeo}</response>")],
        told: &["SASL failure malformed-request"],
        ..ROW
    },
    Row {
        when: "a task is taken up without a login",
        by: "XEP-0388 2.6.4",
        does: &[OPEN, Says("<next xmlns='urn:xmpp:sasl:2' task='UPGR-SCRAM-SHA-512'/>")],
        told: &["stream error unsupported-stanza-type"],
        ..ROW
    },
    Row {
        when: "a task is done without a login",
        by: "XEP-0388 2.6.4",
        does: &[
            OPEN,
            Says("<task-data xmlns='urn:xmpp:sasl:2'><hash xmlns='urn:xmpp:scram-upgrade:0'>AAAA</hash></task-data>"),
        ],
        told: &["stream error unsupported-stanza-type"],
        ..ROW
    },
    Row {
        when: "a task is taken up in place of an answer",
        by: "XEP-0388 2.6.4",
        does: &[
            OPEN,
            Says("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/>"),
            Says("<next xmlns='urn:xmpp:sasl:2' task='UPGR-SCRAM-SHA-512'/>"),
        ],
        told: &["SASL failure malformed-request"],
        ..ROW
    },
    Row {
        when: "a task is done that was not given, with keys of one's own",
        by: "XEP-0480 3",
        does: &[
            OPEN,
            Says("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/>"),
            Says("<task-data xmlns='urn:xmpp:sasl:2'><hash xmlns='urn:xmpp:scram-upgrade:0'>AAAA</hash></task-data>"),
        ],
        told: &["SASL failure malformed-request"],
        ..ROW
    },
    Row {
        when: "an upgrade is asked for that the account has: there is no task, and doing it comes too late",
        by: "XEP-0480 3",
        does: &[
            OPEN,
            Says(authenticate!(
                "PLAIN",
                "{romeo}",
                "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-512</upgrade>"
            )),
            Says("<next xmlns='urn:xmpp:sasl:2' task='UPGR-SCRAM-SHA-512'/>"),
        ],
        told: &["stream error not-authorized"],
        ..ROW
    },
    Row {
        when: "who is in logs in again",
        by: "XEP-0388 2.6.5",
        does: &[OPEN, RETURNS, RETURNS],
        told: &["stream error not-authorized"],
        ..ROW
    },
    Row {
        when: "who has a resource logs in again",
        by: "XEP-0388 2.6.5",
        does: &[LOGGED_IN, RETURNS],
        told: &["stream error unsupported-stanza-type"],
        ..ROW
    },
    Row {
        when: "the stream is from somebody else than who logs in",
        by: "XEP-0388 2.4",
        does: &[
            Secures,
            Says(
                "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='capulet.lit' from='tybalt@capulet.lit' version='1.0'>",
            ),
            RETURNS,
        ],
        told: &["SASL failure invalid-authzid"],
        ..ROW
    },
    Row {
        when: "all is said at once, for other features than there are",
        by: "XEP-0509 4",
        does: &[
            Secures,
            Says(concat!(
                "{header}",
                authenticate!("PLAIN", "{romeo}", "<config-version xmlns='urn:xmpp:iap:0' value='other'/>")
            )),
        ],
        told: &["SASL failure aborted (config-version-mismatch)"],
        ..ROW
    },
    Row {
        when: "all is said at once, with a wrong password, a resource and a message",
        by: "RFC 6120 4.9.3.12",
        does: &[
            Secures,
            Says(concat!(
                "{header}",
                authenticate!("PLAIN", "{wrong}", "<bind xmlns='urn:xmpp:bind:0'/>"),
                "<message to='juliet@capulet.lit/balcony' id='forged'/>"
            )),
        ],
        told: &["SASL failure not-authorized", "stream error not-authorized"],
        ..ROW
    },
    Row {
        when: "a message comes before there is a resource",
        by: "RFC 6120 7.1",
        does: &[
            OPEN,
            Says(concat!(
                authenticate!("PLAIN", "{romeo}", ""),
                "<message to='juliet@capulet.lit/balcony' id='early'/>"
            )),
        ],
        told: &["stream error not-authorized"],
        ..ROW
    },
];
