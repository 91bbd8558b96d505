//! Every way to say no, and what XEP-0060 calls it: one table.
//!
//! A refusal is the answer to a request that was understood. [`Refusal::row`] gives the error type, the stanza
//! condition (RFC 6120 section 8.3.3) and the condition of `http://jabber.org/protocol/pubsub#errors`.

use xmpp::Element;
use xmpp::ns;
use xmpp::stanza::{Condition, ErrorType, StanzaError};
use xmpp::xml::WithAttribute;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The caller's affiliation does not allow it, or it is somebody else's item or subscription.
    Forbidden,
    /// The node, or the item to retract, does not exist.
    ItemNotFound,
    /// The node is gone, and its owner said where to (section 6.1.3.11): a URI.
    Moved(Box<str>),
    /// A node of that name exists.
    NodeExists,
    /// The node's access model is `presence`, and the caller does not see the account's presence.
    PresenceSubscriptionRequired,
    /// The node's access model is `roster`, and the caller is in none of the groups.
    NotInRosterGroup,
    /// The node's access model is `whitelist`, and the caller is not on it.
    ClosedNode,
    /// Only subscribers may do this, and the caller is none.
    NotSubscribed,
    /// The subscription to remove or configure does not exist.
    NoSuchSubscription,
    /// The address has several subscriptions, and the request does not say which is meant.
    SubIdRequired,
    /// The address has no subscription of that identifier.
    InvalidSubId,
    /// The caller asked before, and the owners have not answered.
    PendingSubscription,
    /// The subscribed JID is not the caller's.
    InvalidJid,
    /// The request names no JID where it must.
    JidRequired,
    /// The resources of the caller hold as many subscriptions to this node as they may.
    TooManySubscriptions,
    /// The node has as many affiliations as it may.
    TooManyAffiliations(u64),
    /// The request names no node where it must.
    NodeIdRequired,
    /// The name of a node or an item is longer than this many bytes.
    NameTooLong(usize),
    /// The request has no item, or the item no id, where it must.
    ItemRequired,
    /// The request has an item where the node takes none.
    ItemForbidden,
    /// The request has more items than one.
    OneItemOnly,
    /// The item has no payload, and the node delivers payloads.
    PayloadRequired,
    /// The item has more payloads than one, or one the node does not take.
    InvalidPayload,
    /// The payload has more bytes than the node takes.
    PayloadTooBig {
        /// Bytes sent.
        bytes: u64,
        /// Bytes taken.
        bytes_max: u64,
    },
    /// The node holds `max_items` and is configured to refuse more.
    NodeFull,
    /// The named field of the publish options is not what the node has.
    PreconditionNotMet(String),
    /// The node's newest item is another than the publisher knows; its value is this (XEP-0395).
    CompareFailed(Option<Box<str>>),
    /// The publish options or subscription options hold a field or value we do not know.
    InvalidOptions(String),
    /// A configuration value is not possible; the text says which and why.
    BadConfiguration(String),
    /// The relationship between nodes is not possible (XEP-0496 section 4.2); the text says why.
    InvalidRelationship(&'static str),
    /// More nodes are related to one than there may be (XEP-0496).
    TooManyRelated(usize),
    /// The access model does not exist here; the text says which do.
    UnsupportedAccessModel(String),
    /// The node does not do this; the word is the feature's.
    Unsupported(&'static str),
    /// The account, or the creator in a service, has as many nodes as it may.
    MaxNodesExceeded,
    /// The nodes of this node's creator hold as many items as they may.
    CreatorFull(u64),
    /// The node has more items than are put into an order other than its own (XEP-0413).
    TooManyToSort(u64),
    /// More is named in one request than is taken at once.
    BatchTooBig(usize),
    /// Some of the changes asked for are not possible; here is what these entries are now.
    Unmodified(Box<crate::decision::Unmodified>),
    /// Two changes were asked for the same entity.
    Ambiguous,
    /// The caller may not create nodes here.
    MayNotCreate,
    /// The node is one the service keeps: nobody creates, configures or empties it, or publishes a summary.
    KeptByService,
    /// The id of an attachment is not the bare address of who attaches.
    AttachmentId,
    /// The payload is not what is attached to items, or too much of it; the text says which.
    InvalidAttachments(&'static str),
    /// As many different reactions came to the item as are counted.
    TooManyReactions,
    /// The request is not one this protocol has, or lacks what it must have.
    Malformed(&'static str),
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// What the sender can do about it.
    pub error_type: ErrorType,
    /// RFC 6120 section 8.3.3.
    pub condition: Condition,
    /// The element in `pubsub#errors`.
    pub specific: Option<&'static str>,
}

impl Refusal {
    /// The table.
    #[must_use]
    pub fn row(&self) -> Row {
        use Condition as C;
        use ErrorType::{Auth, Cancel, Modify, Wait};
        let (error_type, condition, specific) = match self {
            Self::Forbidden | Self::MayNotCreate => (Auth, C::Forbidden, None),
            Self::ItemNotFound => (Cancel, C::ItemNotFound, None),
            Self::Moved(_) => (Modify, C::Gone, None),
            Self::NodeExists => (Cancel, C::Conflict, None),
            Self::PresenceSubscriptionRequired => (Auth, C::NotAuthorized, Some("presence-subscription-required")),
            Self::NotInRosterGroup => (Auth, C::NotAuthorized, Some("not-in-roster-group")),
            Self::ClosedNode => (Cancel, C::NotAllowed, Some("closed-node")),
            Self::NotSubscribed => (Auth, C::NotAuthorized, Some("not-subscribed")),
            Self::NoSuchSubscription => (Cancel, C::UnexpectedRequest, Some("not-subscribed")),
            Self::SubIdRequired => (Modify, C::BadRequest, Some("subid-required")),
            Self::InvalidSubId => (Modify, C::NotAcceptable, Some("invalid-subid")),
            Self::PendingSubscription => (Auth, C::NotAuthorized, Some("pending-subscription")),
            Self::InvalidJid => (Modify, C::BadRequest, Some("invalid-jid")),
            Self::JidRequired => (Modify, C::BadRequest, Some("jid-required")),
            Self::TooManySubscriptions => (Wait, C::PolicyViolation, Some("too-many-subscriptions")),
            Self::TooManyAffiliations(_) => (Cancel, C::NotAllowed, None),
            Self::NodeIdRequired => (Modify, C::BadRequest, Some("nodeid-required")),
            Self::NameTooLong(_) | Self::BadConfiguration(_) => (Modify, C::NotAcceptable, None),
            Self::ItemRequired => (Modify, C::BadRequest, Some("item-required")),
            Self::ItemForbidden => (Modify, C::BadRequest, Some("item-forbidden")),
            Self::OneItemOnly => (Cancel, C::NotAllowed, Some("max-items-exceeded")),
            Self::PayloadRequired => (Modify, C::BadRequest, Some("payload-required")),
            Self::InvalidPayload => (Modify, C::BadRequest, Some("invalid-payload")),
            Self::PayloadTooBig { .. } => (Modify, C::NotAcceptable, Some("payload-too-big")),
            Self::NodeFull => (Cancel, C::Conflict, Some("node-full")),
            Self::PreconditionNotMet(_) => (Cancel, C::Conflict, Some("precondition-not-met")),
            Self::CompareFailed(_) => (Modify, C::Conflict, Some("precondition-not-met")),
            Self::InvalidOptions(_) => (Modify, C::BadRequest, Some("invalid-options")),
            Self::InvalidRelationship(_) => (Cancel, C::NotAllowed, Some("invalid-option")),
            Self::UnsupportedAccessModel(_) => (Modify, C::NotAcceptable, Some("unsupported-access-model")),
            Self::Unsupported(_) => (Cancel, C::FeatureNotImplemented, Some("unsupported")),
            Self::MaxNodesExceeded => (Cancel, C::NotAllowed, Some("max-nodes-exceeded")),
            Self::CreatorFull(_) => (Wait, C::ResourceConstraint, None),
            Self::BatchTooBig(_) | Self::TooManyToSort(_) | Self::TooManyRelated(_) => {
                (Modify, C::PolicyViolation, None)
            }
            Self::Unmodified(_) => (Modify, C::NotAcceptable, None),
            Self::KeptByService => (Cancel, C::NotAllowed, None),
            Self::InvalidAttachments(_) => (Modify, C::BadRequest, Some("invalid-payload")),
            Self::TooManyReactions => (Cancel, C::ResourceConstraint, None),
            Self::Ambiguous | Self::AttachmentId | Self::Malformed(_) => (Modify, C::BadRequest, None),
        };
        Row { error_type, condition, specific }
    }

    /// What a person should read, where the conditions do not say it all.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        Some(match self {
            Self::PayloadTooBig { bytes, bytes_max } => {
                format!("The payload has {bytes} bytes; this node takes at most {bytes_max}.")
            }
            Self::NameTooLong(bytes_max) => format!("Names of nodes and items have at most {bytes_max} bytes."),
            Self::PreconditionNotMet(var) => format!("The node's {var} is not what the publish options ask for."),
            Self::InvalidOptions(why) | Self::BadConfiguration(why) | Self::UnsupportedAccessModel(why) => why.clone(),
            Self::BatchTooBig(batch_max) => format!("At most {batch_max} can be named in one request."),
            Self::TooManyToSort(max) => format!("Nodes of more than {max} items are read in their own order."),
            Self::TooManyRelated(max) => format!("At most {max} nodes are related to one."),
            Self::TooManyAffiliations(max) => format!("A node has at most {max} affiliations."),
            Self::CreatorFull(max) => format!("The nodes of one creator hold at most {max} items."),
            Self::OneItemOnly => "One item is published or retracted at a time.".to_owned(),
            Self::KeptByService => "This node is kept by the service.".to_owned(),
            Self::AttachmentId => "The id of an attachment is the bare address of who attaches.".to_owned(),
            Self::TooManyReactions => "No further kinds of reactions are counted here.".to_owned(),
            Self::Malformed(why) | Self::InvalidAttachments(why) | Self::InvalidRelationship(why) => (*why).to_owned(),
            _ => return None,
        })
    }

    /// The stanza error for it.
    #[must_use]
    pub fn to_error(&self) -> StanzaError {
        let row = self.row();
        let mut error = StanzaError::new(row.condition).with_type(row.error_type);
        if let Some(text) = self.text() {
            error = error.with_text(text);
        }
        if let Self::Moved(uri) = self {
            error = error.with_address(uri.clone());
        }
        if let Self::CompareFailed(value) = self {
            let failed = Element::builder("compare-and-publish-failed", ns::COMPARE_AND_PUBLISH);
            error = error.with_beside(failed.attribute("cap-id", value.as_deref().unwrap_or_default()).build());
        }
        if let Some(name) = row.specific {
            let feature = if let Self::Unsupported(feature) = self { Some(*feature) } else { None };
            error =
                error.with_specific(Element::builder(name, ns::PUBSUB_ERRORS).attribute("feature", feature).build());
        }
        error
    }
}

impl From<Refusal> for StanzaError {
    fn from(refusal: Refusal) -> Self {
        refusal.to_error()
    }
}
