//! What clients say again and again.

use super::Act::{self, All, Cuts, Says, Secures};

/// `<authenticate/>` of the client that Romeo has, with what is asked for beside.
macro_rules! authenticate {
    ($mechanism:literal, $response:literal, $beside:literal) => {
        concat!(
            "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='",
            $mechanism,
            "'><initial-response>",
            $response,
            "</initial-response><user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/>",
            $beside,
            "</authenticate>"
        )
    };
}

/// With a token.
macro_rules! show {
    ($response:literal, $fast:literal) => {
        authenticate!("HT-SHA-256-NONE", $response, $fast)
    };
}

macro_rules! resume {
    ($h:literal) => {
        concat!("<resume xmlns='urn:xmpp:sm:3' h='", $h, "' previd='{id}'/>")
    };
}

pub const OPENS: Act = Says("{header}");
/// By password, with a resource, stream management and a token.
pub const LOGS_IN: Act = Says(authenticate!(
    "PLAIN",
    "{romeo}",
    "<bind xmlns='urn:xmpp:bind:0'><enable xmlns='urn:xmpp:sm:3' resume='true'/></bind>\
     <request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>"
));
/// A stream over TLS.
pub const OPEN: Act = All(&[Secures, OPENS]);
pub const LOGGED_IN: Act = All(&[OPEN, LOGS_IN]);
/// Logged in, and lost.
pub const LOST: Act = All(&[LOGGED_IN, Cuts]);
pub const RETURNS: Act = Says(authenticate!("PLAIN", "{romeo}", ""));
pub const TYBALT: Act = Says(authenticate!("PLAIN", "{tybalt}", ""));
pub const TOKEN: Act = Says(show!("{token}", "<fast xmlns='urn:xmpp:fast:0'/>"));
pub const COUNTED_ONCE: Act = Says(show!("{token}", "<fast xmlns='urn:xmpp:fast:0' count='1'/>"));
pub const EXTERNAL: Act = Says("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>");
pub const WRONG: &str = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{wrong}</auth>";
pub const DAY: u64 = 86_400;
