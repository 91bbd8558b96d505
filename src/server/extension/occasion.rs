//! What may be worth waking somebody for who is away: said when it happened, to whoever knows how to wake.
//!
//! Whoever makes something happen for an account says so by [`Listener::deserves_waking`](super::Listener), whether
//! or not anybody is awake: that is for who hears it to find out.

use xmpp::Jid;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OccasionKind {
    /// A message that says something, kept or delivered.
    Message,
    /// Somebody calls, or no longer waits for an answer to that.
    Call,
    /// Somebody asks to see the account's presence (RFC 6121 section 3.1).
    Subscription,
    /// A post by somebody the account follows.
    Post,
    /// A post, comment or reaction that is about the account or what it published.
    Mention,
    /// Somebody follows the account.
    Follow,
}

impl OccasionKind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Message, Self::Call, Self::Subscription, Self::Post, Self::Mention, Self::Follow];

    /// Its name, where it has to be written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Call => "call",
            Self::Subscription => "subscription",
            Self::Post => "post",
            Self::Mention => "mention",
            Self::Follow => "follow",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Something that happened for an account.
#[derive(Clone, Copy)]
pub struct Occasion<'a> {
    /// What.
    pub kind: OccasionKind,
    /// Who did it.
    pub from: &'a Jid,
    /// The only resource of the account that it concerns; otherwise all of them.
    pub resource: Option<&'a str>,
    /// It was said before, and what became of it then is not known.
    pub is_again: bool,
    /// Its text for people, if it has one that may be read. Asked only if somebody is to be told it.
    pub text: &'a (dyn Fn() -> Option<String> + Sync),
}

impl<'a> Occasion<'a> {
    /// Something that happened, and says nothing.
    #[must_use]
    pub fn new(kind: OccasionKind, from: &'a Jid) -> Self {
        Self { kind, from, resource: None, is_again: false, text: &|| None }
    }
}

impl std::fmt::Debug for Occasion<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Occasion").field("kind", &self.kind).field("from", &self.from).finish_non_exhaustive()
    }
}
