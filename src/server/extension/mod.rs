//! The socket that extensions plug into.
//!
//! An [`Extension`] is one protocol in one place. When the house is furnished it mounts its handlers on a
//! [`Mount`]; the result, a frozen [`Wiring`], is all the router knows of it. Features in disco follow from
//! what is mounted, so the list cannot claim what nobody serves.

mod command;
mod delegate;
mod happening;
mod moments;
mod mount;
mod occasion;
mod pending;
mod spec;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use xmpp::stanza::Child;
use xmpp::{BareJid, Element, Jid, Stanza, StanzaError};

pub use self::command::{Command, Note, Outcome, Step};
pub use self::delegate::Delegate;
pub use self::happening::{Act, Happening};
pub use self::moments::Listener;
pub use self::mount::{DomainMessageHandler, FormSource, Identity, IqHandler, Mount, Service, Wiring};
pub use self::occasion::{Occasion, OccasionKind};
pub use self::pending::{BoxFuture, Pending};
pub use self::spec::{Spec, Support, Xep};
use crate::router::Router;
use crate::runtime::{Clock, Ids};
use crate::session::Session;

/// What every extension may be given when it is built. It stays this small.
#[derive(Clone)]
pub struct Kit {
    /// The memory.
    pub store: Arc<dyn store::Store>,
    /// Where stanzas go.
    pub router: Arc<Router>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Identifiers and nonces.
    pub ids: Arc<dyn Ids>,
}

/// One protocol: its claims, and what it mounts.
pub trait Extension: Send + Sync + 'static {
    /// Name, specifications followed and configuration section.
    fn spec(&self) -> &'static Spec;

    /// Registers handlers, features and listeners.
    fn mount(self: Arc<Self>, at: &mut Mount);
}

/// To whom an IQ is addressed, as a set: `To::DOMAIN | To::ACCOUNT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct To(u8);

impl To {
    /// A domain this house serves.
    pub const DOMAIN: Self = Self(1);
    /// The bare address of one of its accounts; also an IQ without `to`, which means the sender's own.
    pub const ACCOUNT: Self = Self(2);
    /// A service of one of its hosts that has a domain of its own.
    pub const SERVICE: Self = Self(4);

    /// Whether `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for To {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Who asks: an address that was proven, and the session behind it when it is one of ours.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The sender: the full address of a session, or what a remote server vouches for.
    pub jid: Jid,
    /// The local session, if the caller is one.
    pub session: Option<Arc<Session>>,
}

impl Caller {
    /// Whether the caller is a session of `account`.
    #[must_use]
    pub fn owns(&self, account: &BareJid) -> bool {
        self.jid.to_bare() == *account
    }
}

/// An IQ get or set on its way to a handler.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Who asks.
    pub caller: Caller,
    /// The domain, service or account asked; an IQ without `to` asks the caller's own account.
    pub to: BareJid,
    /// The whole stanza, `from` stamped.
    pub stanza: Stanza,
    /// Which of the stanza's children is the payload.
    payload: Child,
}

impl Asked {
    /// The one child of the IQ (RFC 6120 section 8.2.3).
    #[must_use]
    pub fn payload(&self) -> &Child {
        &self.payload
    }

    /// The payload as a tree. `bad-request` if it cannot be read.
    pub fn open(&self) -> Result<Element, StanzaError> {
        self.payload.open().map_err(|_| StanzaError::bad_request())
    }

    /// `forbidden` unless the caller is a session of the account asked: for what only its owner may do.
    pub fn require_owner(&self) -> Result<(), StanzaError> {
        if self.caller.owns(&self.to) { Ok(()) } else { Err(StanzaError::forbidden()) }
    }

    pub(crate) fn new(caller: Caller, to: BareJid, stanza: Stanza) -> Option<Self> {
        let payload = stanza.content.children().next()?.clone();
        Some(Self { caller, to, stanza, payload })
    }
}

/// What a handler answers with.
#[derive(Debug)]
pub enum Reply {
    /// An empty result.
    Empty,
    /// A result with this child.
    Element(Element),
    /// A result with one finished child, spliced unopened.
    Bytes {
        /// The child's name.
        name: &'static str,
        /// Its namespace, which its bytes declare.
        ns: &'static str,
        /// The child, checked.
        bytes: Bytes,
    },
    /// The handler has delivered the answer itself.
    Sent,
}

/// The end of a handler: a result, or a stanza error for the caller.
pub type Answer = Result<Reply, StanzaError>;

/// Messages of and to local accounts: the delivery rules of RFC 6121 section 8. `sender` is the local session that
/// sent the message, if one did: what the house itself or another server says has none.
pub trait Messages: Send + Sync + 'static {
    /// Delivers, stores or bounces `stanza`, whose `from` is true and whose `to` is a local account or resource.
    fn message(&self, sender: Option<Arc<Session>>, stanza: Stanza) -> BoxFuture<()>;

    /// Sees `stanza` off, whose `to` is an address of `domain`, another server's.
    fn departs(&self, sender: Arc<Session>, domain: Box<str>, stanza: Stanza) -> BoxFuture<()>;
}

/// Forms that an account's own services, or a service, asked for and that come back in messages (XEP-0060 section 8.6).
pub trait Forms: Send + Sync + 'static {
    /// Takes `stanza`, a message with a data form sent to `account`, which may be a service, or gives it back.
    fn submitted(&self, account: BareJid, stanza: Stanza) -> BoxFuture<Option<Stanza>>;
}

/// What passes between accounts here and publish-subscribe services elsewhere.
pub trait Events: Send + Sync + 'static {
    /// Sees off an IQ of type set with a `<pubsub/>` that a local session sends to another server, or says why not.
    fn departs<'a>(&'a self, stanza: &'a Stanza) -> BoxFuture<Result<(), StanzaError>>;
    /// Sees an IQ of type result or error from another server that goes to a local session.
    fn answered(&self, stanza: &Stanza) -> BoxFuture<()>;
    /// Takes from a message of another server to the bare address of `account` what it notifies of. It is handed on
    /// afterwards, whatever comes of this.
    fn arrived(&self, account: BareJid, stanza: &Stanza) -> BoxFuture<()>;
}

/// Stanzas addressed to a domain and meant for many (XEP-0033).
pub trait Multicast: Send + Sync + 'static {
    /// Passes on `stanza`, a message or presence with `<addresses/>` whose `from` is true, or answers why not.
    fn spread(&self, stanza: Stanza) -> BoxFuture<()>;
}

/// Presence: RFC 6121 sections 3 and 4.
pub trait Presences: Send + Sync + 'static {
    /// Whatever presence a local session sends: its own, directed, or about a subscription.
    fn outbound(&self, session: Arc<Session>, stanza: Stanza) -> BoxFuture<()>;
    /// Presence addressed to a local account or resource, whoever sent it; `from` is true.
    fn inbound(&self, stanza: Stanza) -> BoxFuture<()>;
    /// The stream of `session` is gone and will not be resumed: whoever saw it must hear of it (section 4.5), then it is
    /// unbound, and what is left in its mailbox finds another way.
    fn ended(&self, session: Arc<Session>) -> BoxFuture<()>;
    /// `session` was taken over from a server that stopped, and its contacts elsewhere are not known to this one: they
    /// are asked for their presence (section 4.3.1).
    fn restored(&self, session: Arc<Session>) -> BoxFuture<()>;
    /// Resolves when what was decided about subscriptions until now is durable.
    fn settled(&self) -> BoxFuture<()>;
}

/// An IQ about registration on a stream that has not authenticated yet.
#[derive(Debug)]
pub struct Application {
    /// The domain the stream is for.
    pub domain: Box<str>,
    /// The network address of the applicant.
    pub peer: IpAddr,
    /// The invitation this stream has shown and we have accepted.
    pub invitation: Option<Box<str>>,
    /// The IQ, of type get or set.
    pub stanza: Stanza,
}

/// What came of an [`Application`].
#[derive(Debug)]
pub struct Applied {
    /// The answer.
    pub reply: Stanza,
    /// The invitation to remember for the rest of the stream.
    pub invitation: Option<Box<str>>,
}

/// Registration before authentication (XEP-0077 section 3.1, XEP-0445).
pub trait Registrar: Send + Sync + 'static {
    /// Answers an application.
    fn apply(&self, application: Application) -> BoxFuture<Applied>;
}

/// What is enabled or told together with a new resource (XEP-0386).
pub trait Bind2: Send + Sync + 'static {
    /// `session` was bound; nothing has been sent to it yet. `wish` is what the client asked for, if it did. Answers what
    /// `<bound/>` is to hold of it: a complete element that says its namespace.
    fn bound(&self, session: &Arc<Session>, wish: Option<&Element>) -> Pending<Option<Bytes>>;
}

/// Which way a stanza passes an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The account receives it.
    Inbound,
    /// The account sends it.
    Outbound,
}

/// The first phase of every stanza: may it pass at all?
pub trait Guard: Send + Sync + 'static {
    /// Refuses `stanza` between `account` and `other` with an error for its sender.
    fn check(
        &self,
        direction: Direction,
        account: &str,
        other: &Jid,
        stanza: &Stanza,
    ) -> Pending<Result<(), StanzaError>>;
}

/// What service discovery tells of an account or a service, or a node of it (XEP-0030 section 3 and 4).
pub trait Discoverable: Send + Sync + 'static {
    /// Whether `caller` may know that `account` exists: an error otherwise, the same as for one that does not.
    fn may_discover(&self, caller: Caller, account: BareJid) -> BoxFuture<Result<(), StanzaError>>;
    /// Children of the disco#info answer for `node`; `item-not-found` if there is no such node.
    fn info(&self, caller: Caller, account: BareJid, node: Box<str>) -> BoxFuture<Result<Vec<Element>, StanzaError>>;
    /// Children of the disco#items answer, for the account itself or one of its nodes; `query` is the request.
    fn items(
        &self,
        caller: Caller,
        account: BareJid,
        node: Option<Box<str>>,
        query: Element,
    ) -> BoxFuture<Result<Vec<Element>, StanzaError>>;
}

/// A fault of ours: `internal-server-error` for whoever asked, the detail for the log.
#[must_use]
pub fn fault(what: &str, error: &dyn std::fmt::Display) -> StanzaError {
    tracing::error!(%error, what, "the store failed");
    StanzaError::internal_server_error()
}
