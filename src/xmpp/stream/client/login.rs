//! What a client logs in with, what it asks for, and what it keeps for the next time.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;

use super::super::acks::Acks;
use super::super::entry::UserAgent;
use crate::sasl::client::Salted;
use crate::sasl::plain::Password;
use crate::sasl::token::TokenMechanism;
use crate::sasl::{Hash, Mechanism};
use crate::stanza::Stanza;
use crate::{BareJid, FullJid};

/// What to log in with.
#[derive(Clone)]
pub struct Login {
    /// The account.
    pub account: BareJid,
    /// Its password.
    pub password: Password,
    /// The resource to ask for; with Bind 2 what it is to begin with. `None` leaves it to the server.
    pub resource: Option<String>,
    /// The mechanisms to use, most preferred first.
    pub mechanisms: Vec<Mechanism>,
    /// Random, printable ASCII without commas.
    pub nonce: String,
    /// Whether to go on where there is no TLS.
    pub may_be_clear: bool,
    /// What [`Client::take_salted`](super::Client::take_salted) gave after an earlier login: saves stretching the
    /// password again.
    pub salted: Option<(Hash, Salted)>,
    /// Whether SASL2 (XEP-0388) is used where it is offered.
    pub uses_sasl2: bool,
    /// What the client says of itself by SASL2. Tokens are given to clients with an id.
    pub agent: UserAgent,
    /// A token of an earlier login (XEP-0484): shown instead of the password, which is used if it is refused.
    pub token: Option<KeptToken>,
    /// Whether to ask for a token, where there are any.
    pub wants_token: bool,
    /// What else is to be enabled with the resource by Bind 2 (XEP-0386): complete elements that say their namespace.
    pub bind_features: Vec<Bytes>,
    /// Whether stream management is to be enabled (XEP-0198), so that the stream can be resumed.
    pub wants_acks: bool,
    /// The stream to go on with, if the server still has it.
    pub earlier: Option<Box<Earlier>>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("account", &self.account).finish_non_exhaustive()
    }
}

impl Login {
    /// A login with every mechanism, TLS required, the resource left to the server, and nothing else asked for.
    #[must_use]
    pub fn new(account: BareJid, password: &str, nonce: &str) -> Self {
        Self {
            account,
            password: Password::new(password),
            resource: None,
            mechanisms: Mechanism::ALL.into_iter().filter(|mechanism| *mechanism != Mechanism::External).collect(),
            nonce: nonce.to_owned(),
            may_be_clear: false,
            salted: None,
            uses_sasl2: true,
            agent: UserAgent::default(),
            token: None,
            wants_token: false,
            bind_features: Vec::new(),
            wants_acks: false,
            earlier: None,
        }
    }
}

/// A token that a server gave this client (XEP-0484). As secret as a password.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptToken {
    /// The only mechanism it is good for.
    pub mechanism: TokenMechanism,
    /// The secret.
    pub secret: String,
    /// Until when it is good, as XEP-0082 writes it.
    pub expiry: String,
}

impl fmt::Debug for KeptToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("KeptToken");
        shown.field("mechanism", &self.mechanism).field("expiry", &self.expiry).finish_non_exhaustive()
    }
}

/// A stream that was lost and can be resumed (XEP-0198 section 5).
#[derive(Clone, Debug, PartialEq)]
pub struct Earlier {
    /// The server's name for it.
    pub id: Box<str>,
    /// The address bound to it.
    pub jid: FullJid,
    /// Its counters.
    pub(super) acks: Acks,
    /// What was sent on it and not acknowledged, oldest first.
    pub(super) unacked: VecDeque<Stanza>,
}
