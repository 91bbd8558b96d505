//! Where a stanza for a local account goes: RFC 6121 section 8.5 as one table.
//!
//! [`decide`] knows three things: what the stanza is, what its address means here (a bare JID, a resource
//! that is there, one that is not) and how many resources could take it. It answers with a [`Decision`];
//! carrying it out is the caller's work. It looks at no JID, no roster and no queue, so every cell of the
//! RFC's Table 1 is a line of a test below.
//!
//! Where the RFC leaves a choice:
//!
//! * a message nobody can take is kept for later where the RFC allows it, and else bounced rather than
//!   dropped, so that a sender learns that nothing arrived; headlines are dropped, they expect no answer;
//! * a message for an account that does not exist is bounced. This tells a stranger that the account does
//!   not exist; on a server whose accounts have public feeds that is no secret, and a mistyped address is
//!   the commoner case;
//! * "most available" means every available resource with the highest non-negative priority: a tie delivers
//!   to all who tie, since nothing tells us which of them the reader is looking at.
//!
//! This is also the one place that says which stanzas may be answered with an error ([`may_be_answered`]).

use xmpp::stanza::{IqType, Kind, MessageType, PresenceType};

/// What could take a stanza sent to an account: its available resources, by the sign of their priority
/// (RFC 6121 section 4.7.2.3). Resources that are connected but sent no presence do not count here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Availability {
    /// No available resource.
    None,
    /// Some are available, all of them with a negative priority.
    NegativeOnly,
    /// Exactly one with a priority of zero or more.
    One,
    /// Several with a priority of zero or more.
    Many,
}

impl Availability {
    /// Sums up the priorities of an account's available resources.
    pub fn of(priorities: impl IntoIterator<Item = i8>) -> Self {
        let mut seen = Self::None;
        for priority in priorities {
            seen = match (seen, priority >= 0) {
                (Self::None | Self::NegativeOnly, true) => Self::One,
                (Self::One | Self::Many, true) => Self::Many,
                (Self::None, false) => Self::NegativeOnly,
                (other, false) => other,
            };
        }
        seen
    }
}

/// What the address of a stanza means here. The domain has been found to be ours already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Recipient {
    /// `localpart@domainpart` of no account.
    NoAccountBare,
    /// `localpart@domainpart/resourcepart` of no account.
    NoAccountFull,
    /// `localpart@domainpart` of an account.
    Bare(Availability),
    /// A resource of an account that is connected (available or not).
    Resource,
    /// A resource of an account that is not connected; what else could take the stanza.
    NoResource(Availability),
}

/// What becomes of a stanza. The `to` attribute is never rewritten (RFC 6121 sections 8.5.2.1.1 and
/// 8.5.2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// To the resource the address names.
    ToResource,
    /// To the available resources whose priority is the highest one, if that is not negative.
    ToMostAvailable,
    /// To every available resource whose priority is not negative.
    ToNonNegative,
    /// To every available resource, whatever its priority.
    ToAvailable,
    /// Keep it until a resource becomes available with a priority that is not negative (XEP-0160).
    Store,
    /// The server answers or acts in the account's name: IQs to a bare JID, subscription stanzas
    /// (RFC 6121 section 3) and probes (section 4.3).
    Handle,
    /// Answer with `<service-unavailable/>`.
    Bounce,
    /// Ignore it silently.
    Drop,
}

/// Decides what becomes of a stanza for a local account (RFC 6121 section 8.5).
///
/// `sees_presence` is asked only for IQ gets and sets to a connected resource: may the sender know that the
/// resource is there, by a subscription, by directed presence, or because it is the account itself or its
/// server (section 8.5.3.1)?
pub fn decide(kind: Kind, recipient: Recipient, sees_presence: impl FnOnce() -> bool) -> Decision {
    match kind {
        Kind::Message(type_) => message(type_, recipient),
        Kind::Presence(type_) => presence(type_, recipient),
        Kind::Iq(type_) => iq(type_, recipient, sees_presence),
    }
}

/// RFC 6121 sections 8.5.1 to 8.5.3, messages; Table 1.
fn message(type_: MessageType, recipient: Recipient) -> Decision {
    use Availability as A;
    use Decision::*;
    use MessageType::*;
    use Recipient::*;
    match (recipient, type_) {
        // Whoever is connected under the very address gets everything, errors included.
        (Resource, _) => ToResource,
        // Errors answer what a resource sent; without the resource nobody waits for them.
        (_, Error) => Drop,
        // Groupchat belongs to a session in a room, never to an account.
        (_, Groupchat) => Bounce,

        (NoAccountBare | NoAccountFull, Headline) => Drop,
        (NoAccountBare | NoAccountFull, Normal | Chat) => Bounce,

        (Bare(A::None | A::NegativeOnly), Headline) => Drop,
        (Bare(A::None | A::NegativeOnly), Normal | Chat) => Store,
        (Bare(A::One | A::Many), Headline) => ToNonNegative,
        (Bare(A::One | A::Many), Normal | Chat) => ToMostAvailable,

        (NoResource(_), Headline) => Drop,
        (NoResource(_), Normal) => Bounce,
        // A conversation follows its reader to another device.
        (NoResource(A::None | A::NegativeOnly), Chat) => Store,
        (NoResource(A::One | A::Many), Chat) => ToMostAvailable,
    }
}

/// RFC 6121 sections 8.5.1 to 8.5.3, presence.
fn presence(type_: PresenceType, recipient: Recipient) -> Decision {
    use Decision::*;
    use PresenceType::*;
    use Recipient::*;
    match (recipient, type_) {
        // A probe may be answered with "unsubscribed", which ends a subscription to an account that is gone.
        (_, Probe) => Handle,
        (NoAccountBare | NoAccountFull, _) => Drop,
        (Bare(_) | Resource, Subscribe | Subscribed | Unsubscribe | Unsubscribed) => Handle,
        (NoResource(_), Subscribe) => Handle,
        (NoResource(_), Subscribed | Unsubscribe | Unsubscribed) => Drop,
        // The errors of subscription stanzas come back to the bare JID they were stamped with (section 3.1.2).
        (Bare(_), Available | Unavailable | Error) => ToAvailable,
        (Resource, Available | Unavailable | Error) => ToResource,
        (NoResource(_), Available | Unavailable | Error) => Drop,
    }
}

/// RFC 6121 sections 8.5.1 to 8.5.3, IQs.
fn iq(type_: IqType, recipient: Recipient, sees_presence: impl FnOnce() -> bool) -> Decision {
    use Decision::*;
    use IqType::*;
    use Recipient::*;
    match (recipient, type_) {
        // An answer to a question the server asked in the account's name, or to nobody.
        (Bare(_), Result | Error) => Handle,
        (Bare(_), Get | Set) => Handle,
        (Resource, Result | Error) => ToResource,
        (Resource, Get | Set) => {
            if sees_presence() {
                ToResource
            } else {
                Bounce
            }
        }
        (NoResource(_) | NoAccountBare | NoAccountFull, Get | Set) => Bounce,
        (NoResource(_) | NoAccountBare | NoAccountFull, Result | Error) => Drop,
    }
}

/// Does this decision include an available resource of this priority? `highest` is the highest priority
/// among the account's available resources. [`Decision::ToResource`] is not asked here: it is one resource,
/// found by its name.
pub fn includes(decision: Decision, priority: i8, highest: i8) -> bool {
    match decision {
        Decision::ToAvailable => true,
        Decision::ToNonNegative => priority >= 0,
        Decision::ToMostAvailable => priority >= 0 && priority == highest,
        Decision::ToResource | Decision::Store | Decision::Handle | Decision::Bounce | Decision::Drop => false,
    }
}

/// May this stanza be answered with an error at all? Never an error (that would go on forever, RFC 6120
/// section 8.3.1), never the result of an IQ (section 8.2.3), never a headline (RFC 6121 section 5.2.2),
/// and of presence only what asks for something.
pub fn may_be_answered(kind: Kind) -> bool {
    match kind {
        Kind::Message(type_) => !matches!(type_, MessageType::Error | MessageType::Headline),
        Kind::Presence(type_) => !matches!(type_, PresenceType::Error | PresenceType::Unavailable),
        Kind::Iq(type_) => matches!(type_, IqType::Get | IqType::Set),
    }
}

#[cfg(test)]
#[path = "rules_test.rs"]
mod tests;
