//! The presence subscription of a user and a contact as a state machine: RFC 6121 section 3 and its
//! appendix A.
//!
//! Everything is seen from the user whose roster it is. [`outbound`] answers what happens when the user
//! sends one of the four subscription stanzas to the contact, [`inbound`] what happens when one arrives
//! from the contact, [`removed`] what removing the contact from the roster means. The answers are plain
//! values: nothing is sent or stored here.
//!
//! Where the RFC leaves a choice:
//!
//! * pre-approval (section 3.4) is supported and remembered until the user sends "unsubscribed" or removes
//!   the contact;
//! * removing a contact also withdraws a request still under way in either direction, so that no answer
//!   arrives later for a contact that is gone;
//! * the inbound "unsubscribed" that answers our own automatic "unsubscribed" finds no state to change and
//!   ends there, so two servers cannot answer each other for ever.

use crate::tables::roster::{Contact, Subscription};

/// One of the nine states of RFC 6121 appendix A.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum State {
    /// "None". Also every contact that is not in the roster.
    #[default]
    None,
    /// "None + Pending Out".
    NonePendingOut,
    /// "None + Pending In".
    NonePendingIn,
    /// "None + Pending Out+In".
    NonePendingOutIn,
    /// "To".
    To,
    /// "To + Pending In".
    ToPendingIn,
    /// "From".
    From,
    /// "From + Pending Out".
    FromPendingOut,
    /// "Both".
    Both,
}

impl State {
    /// All nine, in the order of appendix A.1.
    pub const ALL: [Self; 9] = [
        Self::None,
        Self::NonePendingOut,
        Self::NonePendingIn,
        Self::NonePendingOutIn,
        Self::To,
        Self::ToPendingIn,
        Self::From,
        Self::FromPendingOut,
        Self::Both,
    ];

    /// Puts a state together from its three facts. A pending request beside the subscription it asks for
    /// means nothing and is left out.
    pub fn new(subscription: Subscription, pending_out: bool, pending_in: bool) -> Self {
        match (subscription, pending_out, pending_in) {
            (Subscription::None, false, false) => Self::None,
            (Subscription::None, true, false) => Self::NonePendingOut,
            (Subscription::None, false, true) => Self::NonePendingIn,
            (Subscription::None, true, true) => Self::NonePendingOutIn,
            (Subscription::To, _, false) => Self::To,
            (Subscription::To, _, true) => Self::ToPendingIn,
            (Subscription::From, false, _) => Self::From,
            (Subscription::From, true, _) => Self::FromPendingOut,
            (Subscription::Both, _, _) => Self::Both,
        }
    }

    /// The `subscription` attribute of this state.
    pub fn subscription(self) -> Subscription {
        match self {
            Self::None | Self::NonePendingOut | Self::NonePendingIn | Self::NonePendingOutIn => Subscription::None,
            Self::To | Self::ToPendingIn => Subscription::To,
            Self::From | Self::FromPendingOut => Subscription::From,
            Self::Both => Subscription::Both,
        }
    }

    /// Has the user asked, and not been answered? (The item's `ask` attribute.)
    pub fn pending_out(self) -> bool {
        matches!(self, Self::NonePendingOut | Self::NonePendingOutIn | Self::FromPendingOut)
    }

    /// Has the contact asked, and not been answered? Never shown in the roster.
    pub fn pending_in(self) -> bool {
        matches!(self, Self::NonePendingIn | Self::NonePendingOutIn | Self::ToPendingIn)
    }

    /// The state a roster row says.
    pub fn of(contact: &Contact) -> Self {
        Self::new(contact.subscription, contact.is_asked, contact.request.is_some())
    }

    fn with(self, changes: &[Change]) -> Self {
        let mut to = self.subscription().has_to();
        let mut from = self.subscription().has_from();
        let mut pending_out = self.pending_out();
        let mut pending_in = self.pending_in();
        for change in changes {
            match *change {
                Change::To(now) => to = now,
                Change::From(now) => from = now,
                Change::PendingOut(now) => pending_out = now,
                Change::PendingIn(now) => pending_in = now,
            }
        }
        Self::new(Subscription::from_parts(to, from), pending_out, pending_in)
    }
}

/// One fact of a state, changed.
#[derive(Clone, Copy)]
enum Change {
    To(bool),
    From(bool),
    PendingOut(bool),
    PendingIn(bool),
}

/// The four presence types that manage subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Asks to see presence.
    Subscribe,
    /// Grants it.
    Subscribed,
    /// Stops seeing presence.
    Unsubscribe,
    /// Refuses or withdraws it.
    Unsubscribed,
}

/// What the contact must learn about the user's presence along with the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Disclosure {
    /// Nothing.
    Nothing,
    /// The current presence of each available resource, after the stanzas (section 3.1.5).
    Current,
    /// That each available resource is unavailable: before an outbound "unsubscribed" (section 3.2.2),
    /// after an inbound "unsubscribe" (section 3.3.3).
    Unavailable,
}

/// What follows from one subscription stanza.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The state afterwards.
    pub state: State,
    /// Whether the user has approved a request that has not come yet (section 3.4), afterwards.
    pub is_approved: bool,
    /// Does the stanza go on: to the contact if outbound, to the user's resources if inbound?
    pub passes: bool,
    /// What the server sends to the contact in the user's name.
    pub reply: Option<Action>,
    /// Has anything changed that the roster shows, so that it must be pushed?
    pub is_pushed: bool,
    /// What the contact must be told of the user's presence.
    pub disclosure: Disclosure,
}

impl Transition {
    fn new(before: State, was_approved: bool, after: State, is_approved: bool) -> Self {
        let had = before.subscription().has_from();
        let has = after.subscription().has_from();
        Self {
            state: after,
            is_approved,
            passes: false,
            reply: None,
            // Pending In never shows (appendix A.1, states 3, 4 and 6).
            is_pushed: before.subscription() != after.subscription()
                || before.pending_out() != after.pending_out()
                || was_approved != is_approved,
            disclosure: match (had, has) {
                (false, true) => Disclosure::Current,
                (true, false) => Disclosure::Unavailable,
                _ => Disclosure::Nothing,
            },
        }
    }

    fn pass(self, passes: bool) -> Self {
        Self { passes, ..self }
    }

    fn answer(self, reply: Option<Action>) -> Self {
        Self { reply, ..self }
    }

    /// Must the roster's row be written?
    pub fn changes(&self, before: State, was_approved: bool) -> bool {
        self.state != before || self.is_approved != was_approved
    }
}

/// The user sends a subscription stanza to the contact (RFC 6121 appendix A.2).
///
/// `is_approved` is the pre-approval the roster item carries now.
pub fn outbound(state: State, is_approved: bool, action: Action) -> Transition {
    use State::*;
    let to = |after, approved, passes| Transition::new(state, is_approved, after, approved).pass(passes);
    match action {
        // Table 2. Always routed: the contact's server knows best what is missing.
        Action::Subscribe => match state {
            None | NonePendingIn | From => to(state.with(&[Change::PendingOut(true)]), is_approved, true),
            NonePendingOut | NonePendingOutIn | To | ToPendingIn | FromPendingOut | Both => {
                to(state, is_approved, true)
            }
        },
        // Table 3.
        Action::Unsubscribe => to(state.with(&[Change::To(false), Change::PendingOut(false)]), is_approved, true),
        // Table 4 and section 3.4.2.
        Action::Subscribed => match state {
            NonePendingIn | NonePendingOutIn | ToPendingIn => {
                to(state.with(&[Change::From(true), Change::PendingIn(false)]), is_approved, true)
            }
            None | NonePendingOut | To => to(state, true, false),
            From | FromPendingOut | Both => to(state, is_approved, false),
        },
        // Table 5 and section 3.2.2.
        Action::Unsubscribed => match state {
            None | NonePendingOut | To => to(state, false, false),
            NonePendingIn | NonePendingOutIn | ToPendingIn | From | FromPendingOut | Both => {
                to(state.with(&[Change::From(false), Change::PendingIn(false)]), false, true)
            }
        },
    }
}

/// A subscription stanza arrives from the contact (RFC 6121 appendix A.3).
///
/// `is_approved` is the pre-approval the roster item carries now.
pub fn inbound(state: State, is_approved: bool, action: Action) -> Transition {
    use State::*;
    let to = |after, passes| Transition::new(state, is_approved, after, is_approved).pass(passes);
    match action {
        // Table 6.
        Action::Subscribe => match state {
            None | NonePendingOut | To if is_approved => {
                to(state.with(&[Change::From(true)]), false).answer(Some(Action::Subscribed))
            }
            None | NonePendingOut | To => to(state.with(&[Change::PendingIn(true)]), true),
            NonePendingIn | NonePendingOutIn | ToPendingIn => to(state, false),
            // The contact's server has lost what we granted: tell it again, and what it missed.
            From | FromPendingOut | Both => {
                Transition { reply: Some(Action::Subscribed), disclosure: Disclosure::Current, ..to(state, false) }
            }
        },
        // Table 7.
        Action::Unsubscribe => match state {
            None | NonePendingOut | To => to(state, false),
            NonePendingIn | NonePendingOutIn | ToPendingIn | From | FromPendingOut | Both => {
                to(state.with(&[Change::From(false), Change::PendingIn(false)]), true)
                    .answer(Some(Action::Unsubscribed))
            }
        },
        // Table 8.
        Action::Subscribed => match state {
            NonePendingOut | NonePendingOutIn | FromPendingOut => {
                to(state.with(&[Change::To(true), Change::PendingOut(false)]), true)
            }
            None | NonePendingIn | To | ToPendingIn | From | Both => to(state, false),
        },
        // Table 9.
        Action::Unsubscribed => match state {
            NonePendingOut | NonePendingOutIn | To | ToPendingIn | FromPendingOut | Both => {
                to(state.with(&[Change::To(false), Change::PendingOut(false)]), true)
            }
            None | NonePendingIn | From => to(state, false),
        },
    }
}

/// What removing a contact from the roster sends to it (RFC 6121 section 2.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removal {
    /// Send "unsubscribe": the user saw the contact's presence or had asked to.
    pub unsubscribe: bool,
    /// Send "unsubscribed": the contact saw the user's presence or had asked to.
    pub unsubscribed: bool,
    /// Send unavailable presence from each available resource first: the contact saw the user's presence.
    pub unavailable: bool,
}

/// The user removes the contact (RFC 6121 section 2.5.2).
pub fn removed(state: State) -> Removal {
    let subscription = state.subscription();
    Removal {
        unsubscribe: subscription.has_to() || state.pending_out(),
        unsubscribed: subscription.has_from() || state.pending_in(),
        unavailable: subscription.has_from(),
    }
}

#[cfg(test)]
#[path = "subscription_test.rs"]
mod tests;
