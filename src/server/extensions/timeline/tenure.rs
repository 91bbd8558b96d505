//! Subscriptions elsewhere that begin before this house knows of them, and those that end with the account.
//!
//! An account that moved in, or whose client subscribed before timelines were kept, is sent notifications that nobody here
//! asked for. They are believed when the account itself says that it follows the node: by an item on its list of
//! XEP-0330, whose id follows from the subscription. A service alone makes nobody its follower.

use std::sync::Arc;

use pubsub::SubscriptionState;
use sha1::{Digest as _, Sha1};
use store::{CommitError, Fault};
use xmpp::stanza::{IqType, Kind};
use xmpp::xml::WithAttribute as _;
use xmpp::{BareJid, Element, Jid, Stanza, ns};

use super::Timeline;

/// Lists on which clients write whom their account follows: to the world, or to its contacts, and to itself (Movim).
const LISTS: [&str; 2] = [ns::PUBSUB_SUBSCRIPTION, "urn:xmpp:pubsub:movim-public-subscription"];
/// Subscriptions taken at once when an account leaves.
const PAGE_ROWS: usize = 200;

/// The id of a subscription on such a list (XEP-0330, "Item ID generation method").
#[must_use]
pub fn item_id(service: &BareJid, node: &str, account: &BareJid) -> String {
    let text = format!("{service}<{node}<{account}");
    Sha1::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Timeline {
    /// Takes over a subscription that this house did not see begin, when a notification of it comes and the account says
    /// that it follows the node. Whether it does.
    pub(super) async fn adopt(&self, account: &BareJid, home: &BareJid, node: &str) -> Result<bool, Fault> {
        let is_served =
            |domain: &str| self.feeder().shared().router.upgrade().is_none_or(|router| router.serves(domain));
        let now = self.feeder().shared().now();
        // Who sends on and on does not have what is followed counted each time.
        if is_served(home.domain()) || self.gaps.is_full(account, now) || !self.lists(account, home, node).await? {
            return Ok(false);
        }
        if self.may_follow(account).await.is_err() {
            self.gaps.found_full(account, now);
            return Ok(false);
        }
        self.settle(account, home, node, SubscriptionState::Subscribed).await;
        Ok(true)
    }

    async fn lists(&self, account: &BareJid, home: &BareJid, node: &str) -> Result<bool, Fault> {
        let nodes = &self.feeder().shared().nodes;
        let mut id = None;
        for list in LISTS {
            let entry = nodes.entry(account, list);
            let Some(held) = nodes.held(&entry).await? else { continue };
            let id = id.get_or_insert_with(|| item_id(home, node, account));
            if nodes.item_head(&entry, &held, id).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// An account is removed: services elsewhere are told that it does not read them any more, and nothing here remembers
    /// that it did.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn leave(self: &Arc<Self>, account: &BareJid) -> Result<(), CommitError> {
        let Some(router) = self.feeder().shared().router.upgrade() else { return Ok(()) };
        let mut after = None;
        loop {
            let (follows, is_complete) =
                self.feeder().shared().nodes.follows(account, after.as_ref(), PAGE_ROWS).await?;
            for follow in &follows {
                if router.serves(follow.home.domain()) || !follow.subscription.jid.is_bare() {
                    continue;
                }
                let unsubscribe = Element::builder("unsubscribe", ns::PUBSUB)
                    .attribute("node", &*follow.name)
                    .attribute("jid", account.as_str());
                let pubsub = Element::builder("pubsub", ns::PUBSUB).append(unsubscribe.build()).build();
                let iq = Stanza::new(Kind::Iq(IqType::Set)).from(account.clone()).with(&pubsub);
                // Nobody is left to hear what it answers.
                router.ask(Jid::from(&follow.home), iq, Box::new(|_| {})).await;
                self.note(account, &follow.home, &follow.name, SubscriptionState::None).await?;
            }
            after = follows.into_iter().next_back();
            if is_complete || after.is_none() {
                return Ok(());
            }
        }
    }
}
