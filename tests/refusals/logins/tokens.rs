//! Tokens (XEP-0484).

use super::Act::{Cuts, Forgets, Repeats, Says, Secures, Waits};
use super::phrases::{COUNTED_ONCE, DAY, LOST, OPEN, TOKEN};
use super::{ROW, Row};

pub const ROWS: &[Row] = &[
    Row { when: "a token is used as it is meant", by: "XEP-0484 3.4", does: &[LOST, OPEN, TOKEN], ..ROW },
    Row {
        when: "a whole login is recorded and said once more: header, token, resource, a message",
        by: "XEP-0484 5.1",
        does: &[
            LOST,
            Secures,
            Says(concat!(
                "{header}",
                show!("{token}", "<fast xmlns='urn:xmpp:fast:0' count='1'/><bind xmlns='urn:xmpp:bind:0'/>"),
                "<message to='juliet@capulet.lit/balcony' id='said once'/>"
            )),
            Cuts,
            Secures,
            Says(concat!(
                "{header}",
                show!("{token}", "<fast xmlns='urn:xmpp:fast:0' count='1'/><bind xmlns='urn:xmpp:bind:0'/>"),
                "<message to='juliet@capulet.lit/balcony' id='said once'/>"
            )),
        ],
        told: &["SASL failure not-authorized", "stream error not-authorized"],
        arrives: &["said once"],
        ..ROW
    },
    Row {
        when: "a count is smaller than the last",
        by: "XEP-0484 5.1",
        does: &[
            LOST,
            OPEN,
            Says(show!("{token}", "<fast xmlns='urn:xmpp:fast:0' count='7'/>")),
            Cuts,
            OPEN,
            COUNTED_ONCE,
        ],
        told: &["SASL failure not-authorized"],
        ..ROW
    },
    Row {
        when: "a count is no number",
        by: "XEP-0484 5.1",
        does: &[LOST, OPEN, Says(show!("{token}", "<fast xmlns='urn:xmpp:fast:0' count='-1'/>"))],
        told: &["SASL failure malformed-request"],
        ..ROW
    },
    Row {
        when: "Tybalt shows the token of Romeo as his own",
        by: "XEP-0484 3.4",
        does: &[LOST, OPEN, Says(show!("{another's}", "<fast xmlns='urn:xmpp:fast:0'/>"))],
        told: &["SASL failure not-authorized"],
        ..ROW
    },
    Row {
        when: "another client shows the token",
        by: "XEP-0484 3.4",
        does: &[
            LOST,
            OPEN,
            Says(
                "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='HT-SHA-256-NONE'><initial-response>{token}</initial-response>\
                 <user-agent id='00000000-4d72-4749-b3d3-740edbf87770'/><fast xmlns='urn:xmpp:fast:0'/></authenticate>",
            ),
        ],
        told: &["SASL failure not-authorized"],
        ..ROW
    },
    Row {
        when: "a client shows the token that does not say which it is",
        by: "XEP-0484 3.4",
        does: &[
            LOST,
            OPEN,
            Says(
                "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='HT-SHA-256-NONE'><initial-response>{token}</initial-response>\
                 <fast xmlns='urn:xmpp:fast:0'/></authenticate>",
            ),
        ],
        told: &["SASL failure malformed-request"],
        ..ROW
    },
    Row {
        when: "a token that is bound to nothing is shown as one that is bound to the channel",
        by: "XEP-0484 3.3",
        does: &[LOST, OPEN, Says(authenticate!("HT-SHA-256-EXPR", "{token}", "<fast xmlns='urn:xmpp:fast:0'/>"))],
        told: &["SASL failure not-authorized"],
        ..ROW
    },
    Row {
        when: "a token is shown, but FAST is not spoken",
        by: "XEP-0484 3.4",
        does: &[LOST, OPEN, Says(show!("{token}", ""))],
        told: &["SASL failure invalid-mechanism"],
        ..ROW
    },
    Row {
        when: "a token is shown with the older SASL",
        by: "XEP-0484 3.4",
        does: &[
            LOST,
            OPEN,
            Says("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='HT-SHA-256-NONE'>{token}</auth>"),
        ],
        told: &["SASL failure invalid-mechanism"],
        ..ROW
    },
    Row {
        when: "tokens are guessed",
        by: "RFC 6120 6.4.5",
        does: &[OPEN, Repeats(5, show!("{invented}", "<fast xmlns='urn:xmpp:fast:0'/>"))],
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
        when: "what is shown is no hash",
        by: "XEP-0484 3.4",
        does: &[OPEN, Says(show!("{romeo}", "<fast xmlns='urn:xmpp:fast:0'/>"))],
        told: &["SASL failure malformed-request"],
        ..ROW
    },
    Row {
        when: "a token is given back when it is used, and then shown again",
        by: "XEP-0484 3.6",
        does: &[
            LOST,
            OPEN,
            Says(show!("{token}", "<fast xmlns='urn:xmpp:fast:0' invalidate='true'/>")),
            Cuts,
            OPEN,
            TOKEN,
        ],
        told: &["SASL failure not-authorized"],
        ..ROW
    },
    Row {
        when: "a token was replaced, and is shown when its successor has been used",
        by: "XEP-0484 3.5",
        does: &[
            LOST,
            Waits(2 * DAY),
            OPEN,
            TOKEN,
            Cuts,
            OPEN,
            TOKEN,
            Cuts,
            OPEN,
            Says(show!("{first}", "<fast xmlns='urn:xmpp:fast:0'/>")),
        ],
        told: &["SASL failure not-authorized"],
        ..ROW
    },
    Row {
        when: "a token has expired",
        by: "XEP-0484 4.2",
        does: &[LOST, Waits(31 * DAY), OPEN, TOKEN],
        told: &["SASL failure credentials-expired"],
        ..ROW
    },
    Row {
        when: "the password is another since the token was given",
        by: "XEP-0484 4.2",
        does: &[LOST, Forgets, OPEN, TOKEN],
        told: &["SASL failure not-authorized"],
        ..ROW
    },
];
