//! What a client asks for with SASL2 beside being let in, and what it gets: the values that go between the stream and
//! its caller (XEP-0388, XEP-0386, XEP-0484, XEP-0198).

use bytes::Bytes;

use super::{Enabled, ResumeFailed, Resumed};
use crate::sasl::Mechanism;
use crate::sasl::token::TokenMechanism;
use crate::stanza::StanzaError;
use crate::xml::{escape_text, write_attr};
use crate::{BareJid, Element, FullJid, ns};

/// The longest description of a client's software or device that is kept, in bytes.
pub const AGENT_BYTES_MAX: usize = 256;
/// The longest tag that becomes part of a resource, in bytes.
pub const TAG_BYTES_MAX: usize = 128;

/// What a client says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserAgent {
    /// What tells this installation from others: a UUID in lower case.
    pub id: Option<Box<str>>,
    /// The software's name, of at most [`AGENT_BYTES_MAX`] bytes.
    pub software: Option<Box<str>>,
    /// The device's name, of at most [`AGENT_BYTES_MAX`] bytes.
    pub device: Option<Box<str>>,
}

impl UserAgent {
    /// Reads `<user-agent/>`. `None` if its id is not a UUID, which it must be.
    pub(super) fn parse(element: &Element) -> Option<Self> {
        let text = |name: &str| {
            let text = element.get_child(name, ns::SASL2)?.text();
            let text: String = text.chars().filter(|c| !c.is_control()).collect();
            let mut end = text.len().min(AGENT_BYTES_MAX);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            Some(text.get(..end)?.trim()).filter(|text| !text.is_empty()).map(Box::from)
        };
        let id = match element.attr("id") {
            Some(id) if is_uuid(id) => Some(id.to_ascii_lowercase().into()),
            Some(_) => return None,
            None => None,
        };
        Some(Self { id, software: text("software"), device: text("device") })
    }
}

impl UserAgent {
    /// Appends `<user-agent/>`; nothing of a client that says nothing of itself.
    pub(super) fn render_into(&self, out: &mut Vec<u8>) {
        if *self == Self::default() {
            return;
        }
        out.extend_from_slice(b"<user-agent");
        if let Some(id) = &self.id {
            write_attr(out, "id", id);
        }
        out.push(b'>');
        for (name, text) in [("software", &self.software), ("device", &self.device)] {
            if let Some(text) = text {
                out.extend_from_slice(["<", name, ">"].concat().as_bytes());
                escape_text(out, text);
                out.extend_from_slice(["</", name, ">"].concat().as_bytes());
            }
        }
        out.extend_from_slice(b"</user-agent>");
    }
}

fn is_uuid(id: &str) -> bool {
    let dashes = [8, 13, 18, 23];
    id.len() == 36
        && id.bytes().enumerate().all(
            |(at, byte)| {
                if dashes.contains(&at) { byte == b'-' } else { byte.is_ascii_hexdigit() }
            },
        )
}

/// How a client has proven who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// With its password, in this mechanism; or with a certificate, where that is EXTERNAL.
    Mechanism(Mechanism),
    /// With a token.
    Token {
        /// In this mechanism.
        mechanism: TokenMechanism,
        /// Whether the token is not to be good any more (XEP-0484 section "Client requests token invalidation").
        invalidate: bool,
    },
}

impl Proof {
    /// Whether the client knows the account's password.
    #[must_use]
    pub const fn is_password(self) -> bool {
        matches!(self, Self::Mechanism(mechanism) if !matches!(mechanism, Mechanism::External))
    }
}

/// What is to be enabled with a new resource (XEP-0386).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bind2 {
    /// What the resource is to begin with.
    pub tag: Option<Box<str>>,
    /// Stream management (XEP-0198): whether resumption is wanted, and for how many seconds.
    pub acks: Option<(bool, Option<u32>)>,
    /// Whether the user looks at the client, if it says so (XEP-0352).
    pub is_active: Option<bool>,
    /// Everything else, unread.
    pub features: Vec<Element>,
}

/// A client has proven who it is by SASL2. This is all it asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Wishes {
    /// Who it is.
    pub account: BareJid,
    /// How it has proven that.
    pub proof: Proof,
    /// What it says of itself.
    pub agent: UserAgent,
    /// The stream it wants to go on with, and how much of it it has handled (XEP-0198 section 5). Comes first.
    pub resume: Option<(Box<str>, u32)>,
    /// The resource it wants, if it does not go on with another.
    pub bind: Option<Bind2>,
    /// The mechanism it wants a token for (XEP-0484).
    pub token: Option<TokenMechanism>,
}

/// What came of it. A resource is bound, a stream is resumed, or neither.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entered {
    /// What came of resuming, if that was asked for.
    pub resumed: Option<Result<Resumed, ResumeFailed>>,
    /// What came of binding, if that was asked for and no stream was resumed.
    pub bound: Option<Result<Bound, StanzaError>>,
    /// A new token.
    pub token: Option<Token>,
}

/// A resource that was bound.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// The address.
    pub jid: FullJid,
    /// Stream management, if it was asked for and enabled.
    pub acks: Option<Enabled>,
    /// What else `<bound/>` holds: complete elements that say their namespace.
    pub inside: Vec<Bytes>,
}

/// A token for a client.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The secret, printable ASCII.
    pub secret: String,
    /// Until when it is good, as XEP-0082 writes it.
    pub expiry: String,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("expiry", &self.expiry).finish_non_exhaustive()
    }
}
