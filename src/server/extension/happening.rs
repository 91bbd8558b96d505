//! What somebody does in a social feed that concerns somebody else: said once, by who decides or receives it, to
//! whoever tells the account of it or wakes its devices.

use pubsub::profile::uri::Place;
use xmpp::BareJid;

use super::OccasionKind;

/// What somebody did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// Named the account in a post or a comment.
    Mention,
    /// Commented on its post, or answered it.
    Reply,
    /// Liked its post, or reacted to it.
    Like,
    /// Repeated its post.
    Repost,
    /// Followed it, or asks to.
    Follow,
}

impl Act {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Mention, Self::Reply, Self::Like, Self::Repost, Self::Follow];

    /// Its name, where it has to be written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mention => "mention",
            Self::Reply => "reply",
            Self::Like => "like",
            Self::Repost => "repost",
            Self::Follow => "follow",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|act| act.name() == name)
    }

    /// What it is as something to be woken for.
    #[must_use]
    pub const fn occasion(self) -> OccasionKind {
        match self {
            Self::Follow => OccasionKind::Follow,
            Self::Mention | Self::Reply | Self::Like | Self::Repost => OccasionKind::Mention,
        }
    }
}

/// Somebody did something that concerns an account here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// What.
    pub act: Act,
    /// Whom it concerns: an account here.
    pub whom: BareJid,
    /// Who did it, as far as it is proven.
    pub person: BareJid,
    /// The item that says so, where one does.
    pub at: Option<Place>,
    /// What of theirs it is about: an item, or a node.
    pub about: Option<Place>,
    /// What it says, in a line of plain text.
    pub text: Option<String>,
    /// It is taken back.
    pub is_taken_back: bool,
    /// What says so is another version of what was there. It may say so for the first time.
    pub is_edit: bool,
}
