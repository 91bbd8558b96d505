//! Everything an entity can ask, as one enum; what each needs loaded, and the view that holds it.
//!
//! [`Request::needs`] is a declaration, not a suggestion: [`crate::decide()`] reads from the [`View`] what was
//! declared and nothing else. Every need is a bounded number of rows.

use std::sync::Arc;

use bytes::Bytes;
use xmpp::jid::{BareJid, Jid};
use xmpp::paging;

use crate::access::Above;
use crate::config::{AccessModel, Bound};
use crate::decide::is_compared;
use crate::model::{Affiliation, Home, ItemHead, Limits, Node, NodeName, Subscription, SubscriptionState};
use crate::order::Order;
use crate::profile::attachments::{is_attachments, is_kept};
use crate::profile::is_everybodys;

/// Who asks.
#[derive(Clone, Debug, PartialEq)]
pub struct Caller {
    /// The address that was stamped on the request.
    pub jid: Jid,
    /// The same without resource.
    pub bare: BareJid,
}

impl Caller {
    /// The entity with this address.
    #[must_use]
    pub fn new(jid: Jid) -> Self {
        Self { bare: jid.to_bare(), jid }
    }
}

/// The values a form submitted: field names and their values, `FORM_TYPE` taken out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values(pub Vec<(Box<str>, Vec<Box<str>>)>);

/// What is to be published.
#[derive(Clone, Debug, PartialEq)]
pub struct NewItem {
    /// The ItemID the publisher chose, if any.
    pub id: Option<Box<str>>,
    /// The payloads; one is right, and only that one is rendered.
    pub payload: NewPayload,
}

/// What was inside of an `<item/>`.
#[derive(Clone, Debug, PartialEq)]
pub enum NewPayload {
    /// Nothing.
    None,
    /// One element.
    One {
        /// Its name.
        name: Box<str>,
        /// Its namespace.
        namespace: Box<str>,
        /// The whole element, finished bytes.
        bytes: Bytes,
        /// Whether it is an Atom entry that does not say where it stands, so that the service may.
        lacks_place: bool,
    },
    /// More than one, or text.
    Bad,
}

/// Which items are asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum ItemsQuery {
    /// These, in this order, those that exist.
    ByIds(Vec<Box<str>>),
    /// The newest so many, oldest of them first.
    Latest(u64),
    /// A page (XEP-0059), by order of publication; ids are ItemIDs. All items are the page with nothing set.
    Page(paging::Query),
    /// The same in an order that was asked for (XEP-0413); with `newest`, the last so many in that order.
    Ordered {
        /// The order.
        order: Order,
        /// How many, if it was said that way.
        newest: Option<u64>,
        /// The page.
        page: paging::Query,
    },
}

/// What an owner wants of somebody's subscription (section 8.8.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Whose.
    pub jid: Jid,
    /// Which of that address; all of them where it is not said.
    pub subid: Option<Box<str>>,
    /// What it should be; `None` leaves what is.
    pub state: Option<SubscriptionState>,
}

impl Wanted {
    /// All subscriptions of an address, to be in that state.
    #[must_use]
    pub fn all(jid: Jid, state: SubscriptionState) -> Self {
        Self { jid, subid: None, state: Some(state) }
    }
}

/// A request, parsed.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// XEP-0060 section 7.1.
    Publish {
        /// To which node.
        node: NodeName,
        /// The item, if there is one.
        item: Option<NewItem>,
        /// The publish options (section 7.1.5), each a precondition.
        options: Option<Values>,
    },
    /// Section 7.2.
    Retract {
        /// From which node.
        node: NodeName,
        /// Which item.
        id: Box<str>,
        /// Whether the publisher wants subscribers told.
        notify: bool,
    },
    /// Section 6.5.
    Items {
        /// Of which node.
        node: NodeName,
        /// Which.
        query: ItemsQuery,
        /// By which subscription, for who has several.
        subid: Option<Box<str>>,
    },
    /// Section 6.1.
    Subscribe {
        /// To which node.
        node: NodeName,
        /// The address to notify.
        jid: Jid,
        /// Subscribe and configure (section 6.3.7).
        options: Option<Values>,
    },
    /// Section 6.2.
    Unsubscribe {
        /// From which node.
        node: NodeName,
        /// The subscribed address.
        jid: Jid,
        /// Which of its subscriptions.
        subid: Option<Box<str>>,
    },
    /// Section 6.3.2.
    Options {
        /// Of the subscription to which node.
        node: NodeName,
        /// The subscribed address.
        jid: Jid,
        /// Which of its subscriptions.
        subid: Option<Box<str>>,
    },
    /// Section 6.3.5.
    SetOptions {
        /// Of the subscription to which node.
        node: NodeName,
        /// The subscribed address.
        jid: Jid,
        /// Which of its subscriptions.
        subid: Option<Box<str>>,
        /// The form.
        options: Values,
    },
    /// Section 6.4.
    DefaultOptions {
        /// Of subscriptions to this node only.
        node: Option<NodeName>,
    },
    /// Section 5.6: the caller's own.
    Subscriptions {
        /// At this node only.
        node: Option<NodeName>,
    },
    /// Section 5.7: the caller's own.
    Affiliations {
        /// At this node only.
        node: Option<NodeName>,
    },
    /// Section 8.1.
    Create {
        /// The name, or none for an instant node.
        node: Option<NodeName>,
        /// Create and configure (section 8.1.3).
        config: Option<Values>,
    },
    /// Section 8.2.1.
    Configuration {
        /// Of which node.
        node: NodeName,
    },
    /// Section 8.2.4.
    Configure {
        /// Of which node.
        node: NodeName,
        /// The form, or none when it was cancelled.
        config: Option<Values>,
    },
    /// Section 8.3.
    DefaultConfiguration,
    /// Section 8.4.
    Delete {
        /// Which node.
        node: NodeName,
        /// Where its readers should go.
        redirect: Option<Box<str>>,
    },
    /// Section 8.5.
    Purge {
        /// Which node.
        node: NodeName,
    },
    /// Section 8.8.1.
    Subscribers {
        /// Of which node.
        node: NodeName,
        /// A page of them.
        page: paging::Query,
    },
    /// Section 8.8.2.
    SetSubscribers {
        /// Of which node.
        node: NodeName,
        /// What should be; `None` leaves what is.
        wanted: Vec<Wanted>,
    },
    /// Section 8.9.1.
    Affiliated {
        /// With which node.
        node: NodeName,
        /// A page of them.
        page: paging::Query,
    },
    /// Section 8.9.2.
    SetAffiliated {
        /// With which node.
        node: NodeName,
        /// What should be; `None` leaves what is.
        wanted: Vec<(BareJid, Option<Affiliation>)>,
    },
    /// Section 8.6: an owner answers an authorization request.
    Authorize {
        /// For which node.
        node: NodeName,
        /// Who asked.
        jid: Jid,
        /// By which subscription; that it is pending is enough for who does not say.
        subid: Option<Box<str>>,
        /// The answer.
        allow: bool,
    },
    /// Section 5.3 and 5.4: disco#info of a node.
    NodeInformation {
        /// Which.
        node: NodeName,
    },
    /// Section 5.5: disco#items of a node.
    NodeItems {
        /// Which.
        node: NodeName,
        /// A page of them.
        page: paging::Query,
    },
    /// Section 5.2: disco#items of the home. The answer lists the nodes the caller may read.
    Nodes {
        /// A page of them.
        page: paging::Query,
    },
}

/// What must be in the view before a request is decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a list of things to load, each needed or not")]
pub struct Needs {
    /// The caller's stored affiliation with the node.
    pub affiliation: bool,
    /// How the caller stands to the account: presence and roster groups.
    pub relation: bool,
    /// All subscriptions of this bare JID and its resources to the node; there are at most
    /// [`Limits::subscriptions_per_jid_max`].
    pub subscriptions_of: Option<BareJid>,
    /// The head of the item with this id, if it exists.
    pub item: Option<Box<str>>,
    /// The head of the node's oldest item.
    pub oldest: bool,
    /// The head of its newest.
    pub newest: bool,
    /// What these entities are to the node; at most [`Limits::batch_max`].
    pub entities: Vec<Jid>,
    /// How many nodes there are that count, whether the caller may create another, and whether there is such an account.
    pub creation: bool,
    /// Where a node that is not there any more has gone.
    pub moved: bool,
    /// A name nobody has used or can guess.
    pub fresh: bool,
    /// How many items there are in all nodes that the node's creator has in a [`Home::Service`].
    pub creators_items: bool,
}

/// How a caller stands to the account whose node it asks about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relation {
    /// The account's roster has the caller with a subscription of `from` or `both`.
    pub sees_presence: bool,
    /// The roster groups the caller is in.
    pub groups: Vec<Box<str>>,
}

/// What an entity is to a node, loaded because an owner wants to change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    /// Who, as named in the need.
    pub jid: Jid,
    /// The stored affiliation of the bare JID.
    pub affiliation: Affiliation,
    /// The subscriptions of the bare JID and its resources.
    pub subscriptions: Vec<Subscription>,
}

/// What was loaded. Fields that were not needed may be anything.
#[derive(Clone, Debug)]
pub struct View {
    /// What kind of home.
    pub home: Home,
    /// The account or the service.
    pub address: BareJid,
    /// The node, if it exists.
    pub node: Option<Node>,
    /// See [`Needs::affiliation`].
    pub affiliation: Affiliation,
    /// See [`Needs::relation`].
    pub relation: Relation,
    /// See [`Needs::subscriptions_of`].
    pub subscriptions: Vec<Subscription>,
    /// Of a node that follows another's access ([`crate::profile::public::is_guarded`]): whether the caller is
    /// subscribed to that one, which counts in the place of a subscription to this one.
    pub admitted: Option<bool>,
    /// The nodes above it (XEP-0496), nearest first.
    pub above: Vec<Above>,
    /// See [`Needs::item`].
    pub item: Option<ItemHead>,
    /// See [`Needs::oldest`].
    pub oldest: Option<ItemHead>,
    /// See [`Needs::newest`].
    pub newest: Option<ItemHead>,
    /// See [`Needs::entities`].
    pub entities: Vec<Entity>,
    /// Nodes of the account, or those the caller created in the service; see [`Needs::creation`].
    pub nodes: u64,
    /// Whether policy lets the caller create nodes in a [`Home::Service`].
    pub may_create: bool,
    /// Whether there is such an account; see [`Needs::creation`].
    pub is_account: bool,
    /// See [`Needs::fresh`].
    pub fresh: Box<str>,
    /// See [`Needs::creators_items`].
    pub creators_items: u64,
    /// See [`Needs::moved`].
    pub moved: Option<Box<str>>,
    /// The bounds in force.
    pub limits: Limits,
}

impl View {
    /// A view with nothing loaded.
    #[must_use]
    pub fn new(home: Home, address: BareJid, node: Option<Node>) -> Self {
        Self {
            home,
            address,
            node,
            affiliation: Affiliation::None,
            relation: Relation::default(),
            subscriptions: Vec::new(),
            admitted: None,
            above: Vec::new(),
            item: None,
            oldest: None,
            newest: None,
            entities: Vec::new(),
            nodes: 0,
            may_create: false,
            is_account: false,
            fresh: "".into(),
            creators_items: 0,
            moved: None,
            limits: Limits::default(),
        }
    }

    /// The caller's affiliation in force: an account owns its nodes, whatever is stored.
    #[must_use]
    pub fn affiliation_of(&self, caller: &Caller) -> Affiliation {
        effective(self.home, &self.address, &caller.bare, self.affiliation)
    }
}

/// The affiliation in force of an entity whose stored affiliation is `stored`.
#[must_use]
pub fn effective(home: Home, address: &BareJid, entity: &BareJid, stored: Affiliation) -> Affiliation {
    match home {
        Home::Account if entity == address => Affiliation::Owner,
        // Nobody else owns what belongs to an account, even if a row said so.
        Home::Account if stored == Affiliation::Owner => Affiliation::Publisher,
        _ => stored,
    }
}

impl Request {
    /// The node it is about; `None` when it is about the home.
    #[must_use]
    pub fn node(&self) -> Option<&NodeName> {
        match self {
            Self::Publish { node, .. }
            | Self::Retract { node, .. }
            | Self::Items { node, .. }
            | Self::Subscribe { node, .. }
            | Self::Unsubscribe { node, .. }
            | Self::Options { node, .. }
            | Self::SetOptions { node, .. }
            | Self::Configuration { node }
            | Self::Configure { node, .. }
            | Self::Delete { node, .. }
            | Self::Purge { node }
            | Self::Subscribers { node, .. }
            | Self::SetSubscribers { node, .. }
            | Self::Affiliated { node, .. }
            | Self::SetAffiliated { node, .. }
            | Self::Authorize { node, .. }
            | Self::NodeInformation { node }
            | Self::NodeItems { node, .. } => Some(node),
            Self::DefaultOptions { node }
            | Self::Subscriptions { node }
            | Self::Affiliations { node }
            | Self::Create { node, .. } => node.as_ref(),
            Self::DefaultConfiguration | Self::Nodes { .. } => None,
        }
    }

    /// The same about a node of another name. For who finds that a name is another way of writing this one.
    pub fn rename(&mut self, name: NodeName) {
        match self {
            Self::Publish { node, .. }
            | Self::Retract { node, .. }
            | Self::Items { node, .. }
            | Self::Subscribe { node, .. }
            | Self::Unsubscribe { node, .. }
            | Self::Options { node, .. }
            | Self::SetOptions { node, .. }
            | Self::Configuration { node }
            | Self::Configure { node, .. }
            | Self::Delete { node, .. }
            | Self::Purge { node }
            | Self::Subscribers { node, .. }
            | Self::SetSubscribers { node, .. }
            | Self::Affiliated { node, .. }
            | Self::SetAffiliated { node, .. }
            | Self::Authorize { node, .. }
            | Self::NodeInformation { node }
            | Self::NodeItems { node, .. } => *node = name,
            Self::DefaultOptions { node }
            | Self::Subscriptions { node }
            | Self::Affiliations { node }
            | Self::Create { node, .. } => *node = Some(name),
            Self::DefaultConfiguration | Self::Nodes { .. } => {}
        }
    }

    /// Whether it may change anything. Who asks to change a node waits at its turnstile; who reads does not.
    #[must_use]
    pub fn is_change(&self) -> bool {
        match self {
            Self::Publish { .. }
            | Self::Retract { .. }
            | Self::Subscribe { .. }
            | Self::Unsubscribe { .. }
            | Self::SetOptions { .. }
            | Self::Create { .. }
            | Self::Configure { .. }
            | Self::Delete { .. }
            | Self::Purge { .. }
            | Self::SetSubscribers { .. }
            | Self::SetAffiliated { .. }
            | Self::Authorize { .. } => true,
            Self::Items { .. }
            | Self::Options { .. }
            | Self::DefaultOptions { .. }
            | Self::Subscriptions { .. }
            | Self::Affiliations { .. }
            | Self::Configuration { .. }
            | Self::DefaultConfiguration
            | Self::Subscribers { .. }
            | Self::Affiliated { .. }
            | Self::NodeInformation { .. }
            | Self::NodeItems { .. }
            | Self::Nodes { .. } => false,
        }
    }

    /// What to load, once the node is known.
    #[must_use]
    pub fn needs(&self, home: Home, address: &BareJid, caller: &Caller, node: Option<&Node>) -> Needs {
        let mut needs = Needs::default();
        let owns_home = home == Home::Account && caller.bare == *address;
        let Some(node) = node else {
            match self {
                Self::Create { node, .. } => (needs.creation, needs.fresh) = (true, node.is_none()),
                Self::Publish { item, .. } => {
                    needs.creation = true;
                    needs.fresh = item.as_ref().is_some_and(|item| item.id.is_none());
                }
                Self::Subscribe { node, .. } if is_everybodys(home, node) => {
                    (needs.creation, needs.moved) = (true, true);
                }
                _ => needs.moved = true,
            }
            return needs;
        };
        // The owner of the home needs no looking up.
        needs.affiliation = !owns_home && !matches!(self, Self::Create { .. });
        match self {
            Self::Publish { item, options, .. } => {
                needs.newest = options.as_ref().is_some_and(is_compared);
                needs.subscriptions_of = (!owns_home).then(|| caller.bare.clone());
                needs.item = item.as_ref().and_then(|item| item.id.clone());
                needs.creators_items = home == Home::Service && !is_kept(&node.name);
                if is_attachments(&node.name) {
                    needs.reading(node, caller, owns_home);
                }
                needs.fresh = item.as_ref().is_some_and(|item| item.id.is_none());
                needs.oldest = node.config.persist_items
                    && matches!(node.config.max_items, Bound::At(max) if node.tally.items >= max);
            }
            Self::Retract { id, .. } => {
                needs.subscriptions_of = (!owns_home).then(|| caller.bare.clone());
                needs.item = Some(id.clone());
            }
            Self::Items { subid, .. } => {
                needs.reading(node, caller, owns_home);
                // Who has several subscriptions says which it reads by (section 6.5.9.1).
                if subid.is_some() || node.tally.multiples > 0 {
                    needs.subscriptions_of = Some(caller.bare.clone());
                }
            }
            Self::DefaultOptions { .. } | Self::NodeInformation { .. } | Self::NodeItems { .. } => {
                needs.reading(node, caller, owns_home);
            }
            Self::Subscribe { .. } => {
                needs.reading(node, caller, owns_home);
                needs.subscriptions_of = Some(caller.bare.clone());
            }
            Self::Unsubscribe { .. } | Self::Options { .. } | Self::SetOptions { .. } => {
                needs.subscriptions_of = Some(caller.bare.clone());
            }
            Self::Authorize { jid, .. } => needs.subscriptions_of = Some(jid.to_bare()),
            Self::SetSubscribers { wanted, .. } => {
                needs.entities = wanted.iter().map(|one| one.jid.clone()).collect();
            }
            Self::SetAffiliated { wanted, .. } => {
                needs.entities = wanted.iter().map(|(bare, _)| Jid::from(bare)).collect();
            }
            _ => {}
        }
        needs
    }
}

impl Needs {
    /// What it takes to know whether the caller may read the node.
    fn reading(&mut self, node: &Node, caller: &Caller, owns_home: bool) {
        if owns_home {
            return;
        }
        match node.config.access_model {
            AccessModel::Presence | AccessModel::Roster => self.relation = true,
            AccessModel::Authorize => self.subscriptions_of = Some(caller.bare.clone()),
            AccessModel::Open | AccessModel::Whitelist => {}
        }
    }
}

/// A convenience for who writes requests in tests and in the server itself.
#[must_use]
pub fn name(text: &str) -> NodeName {
    Arc::from(text)
}
