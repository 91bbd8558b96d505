//! What a client stream tells its caller, and what it wants to know.

#[cfg(doc)]
use super::{Stream, entry};
use super::{StreamError, Wishes};
use crate::sasl::plain::Password;
use crate::sasl::token::Shown;
use crate::sasl::{Hash, Keys, Mechanism};
use crate::stanza::{Stanza, StanzaError};
use crate::{BareJid, Jid};

/// What happened on a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Send what is pending, then begin TLS, then call [`Stream::handle_secured`]. Nothing that was read in
    /// the clear may be given to the stream any more.
    StartTls,
    /// Look up the keys of an account and call [`Stream::handle_credentials`].
    NeedCredentials {
        /// The localpart, prepared.
        localpart: Box<str>,
        /// The domain.
        domain: Box<str>,
        /// The mechanism; its hash says which keys.
        mechanism: Mechanism,
    },
    /// Check a password, on a thread that may be slow, and call [`Stream::handle_password`].
    CheckPassword {
        /// The localpart, prepared.
        localpart: Box<str>,
        /// The domain.
        domain: Box<str>,
        /// The password as it was sent.
        password: Password,
    },
    /// Look up a token (XEP-0484) and call [`Stream::handle_token`].
    CheckToken {
        /// Who it is said to be for.
        account: BareJid,
        /// The client it is said to be of: [`entry::UserAgent::id`].
        client: Box<str>,
        /// What is shown of it.
        shown: Box<Shown>,
        /// How often the client has used it, if it says.
        count: Option<u32>,
        /// Whether it is to be good no more after this once.
        invalidate: bool,
    },
    /// Look at the certificate that the client has shown in TLS, and call [`Stream::handle_certificate`].
    CheckCertificate {
        /// The domain the stream is for.
        domain: Box<str>,
        /// Who the client wants to be, if it says.
        authzid: Option<Jid>,
        /// Who the stream is from, if it says.
        from: Option<BareJid>,
    },
    /// The client knows its password and would leave keys of this hash (XEP-0480). Say whether they are wanted with
    /// [`Stream::handle_upgrade`].
    WantsUpgrade {
        /// Who it has proven to be.
        account: BareJid,
        /// The hash.
        hash: Hash,
    },
    /// Store the keys, and call [`Stream::handle_upgrade`].
    Upgrade {
        /// Whose.
        account: BareJid,
        /// Their hash.
        hash: Hash,
        /// The keys.
        keys: Box<Keys>,
    },
    /// The initiator has proven who it is by SASL2. Do what it asks for and call [`Stream::handle_entered`].
    Enter(Box<Wishes>),
    /// The initiator has proven to be this account. Nothing to do.
    Authenticated(BareJid),
    /// Choose the resource and call [`Stream::handle_bound`].
    Bind {
        /// What the client asks for, prepared; `None` to leave the choice to us.
        resource: Option<String>,
    },
    /// A request to `jabber:iq:register`, or an invitation shown (XEP-0445), before authentication. Answer it with
    /// [`Stream::send`].
    Register(Stanza),
    /// A stanza of a bound stream. Its `from`, if there is one, is the sender's; see [`Stream::jid`]. Say when it has
    /// been dealt with: [`Stream::handled`].
    Stanza(Stanza),
    /// A stanza with a good head and a bad body. The stream lives.
    Malformed {
        /// What to answer, where there must be an answer. To be sent as any other stanza.
        reply: Option<Box<Stanza>>,
        /// What is wrong.
        error: StanzaError,
    },
    /// A stanza that need not be looked at was answered: this is the answer, to be sent as any other stanza.
    Answered(Box<Stanza>),
    /// The client wants stanzas acknowledged (XEP-0198 section 3). Answer with [`Stream::handle_enabled`]. Nothing is
    /// read until then.
    Enable {
        /// Whether it wants to be able to resume.
        resume: bool,
        /// For how many seconds, if it says.
        max: Option<u32>,
    },
    /// The client wants to go on with an earlier stream instead of binding a resource (XEP-0198 section 5). Answer
    /// with [`Stream::handle_resumed`]. Nothing is read until then.
    Resume {
        /// The identifier given with the earlier stream.
        previd: Box<str>,
        /// How many stanzas the client has handled on it.
        h: u32,
    },
    /// The client wants to know how many of its stanzas have been handled: call [`Stream::send_ack`] when all is durable
    /// that [`Stream::handled`] was called for.
    AckWanted,
    /// The client has answered how many stanzas it has handled: this many more, the oldest ones; 0 when it was asked
    /// and there is no news.
    Acked(u32),
    /// The client's user looks at it (XEP-0352).
    Active,
    /// The client's user does not look at it: what is not urgent can wait (XEP-0352).
    Inactive,
    /// The stream has ended, with the error that either side sent. Send what is pending and close the
    /// connection; see [`Stream::is_over`] for waiting until the peer has closed its side too.
    Closed(Option<StreamError>),
}
