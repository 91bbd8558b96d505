//! The directory of feeds: those that everybody may read, of accounts that want them listed, as the items of the node
//! `urn:chirrup:directory:0` of `pubsub.HOST` (XEP-0030). `xeps/chirrup-directory.md` is the protocol.
//!
//! Who wants that says so by the command of the extension `search`.

use pubsub::Caller;
use pubsub::config::AccessModel;
use pubsub::profile::microblog::{is_comments, is_feed};
use xmpp::paging::{Page, Query, Start};
use xmpp::xml::WithAttribute as _;
use xmpp::{BareJid, Element, StanzaError, ns};

use super::Pep;
use crate::extension::fault;

/// Feeds in one answer, give or take those of one account.
const FEEDS_MAX: usize = 100;
/// Feeds of one account.
const FEEDS_OF_ONE_MAX: usize = 10;
/// Nodes of one account that are looked at.
const NODES_MAX: usize = 500;
/// Accounts looked at for one answer.
const ACCOUNTS_MAX: usize = 500;

/// disco#info of the directory.
pub(super) fn information() -> Vec<Element> {
    let identity = Element::builder("identity", ns::DISCO_INFO).attribute("category", "directory");
    let feature = |var| Element::builder("feature", ns::DISCO_INFO).attribute("var", var).build();
    vec![
        identity.attribute("type", "user").attribute("name", "Feeds").build(),
        feature(ns::DIRECTORY),
        feature(ns::RSM),
    ]
}

impl Pep {
    /// A page of the directory at a service, by account.
    pub(super) async fn feeds(
        &self,
        caller: &Caller,
        service: &BareJid,
        query: &Query,
    ) -> Result<Vec<Element>, StanzaError> {
        let broken = |error: store::Fault| fault("the directory", &error);
        let host = service.domain().strip_prefix("pubsub.").unwrap_or_default();
        let mut after = match query.start() {
            Start::First => None,
            Start::After(jid) => Some(BareJid::new(jid).map_err(|_| StanzaError::item_not_found())?),
            Start::Before(_) | Start::Last | Start::Index(_) => return Err(StanzaError::feature_not_implemented()),
        };
        let size = query.size(FEEDS_MAX);
        let (mut items, mut first, mut seen, mut is_over) = (Vec::new(), None, 0, false);
        while items.len() < size && seen < ACCOUNTS_MAX && !is_over {
            let (page, is_complete) = self.directory.page(host, after.as_ref(), 50).await.map_err(broken)?;
            is_over = is_complete;
            for (account, entry) in page {
                if items.len() >= size {
                    is_over = false;
                    break;
                }
                seen += 1;
                if entry.has_feeds && !self.are_apart(&caller.bare, &account).await.map_err(broken)? {
                    items.extend(self.feeds_of(&account).await.map_err(broken)?);
                }
                first.get_or_insert_with(|| account.to_string());
                after = Some(account);
            }
        }
        if *query != Query::default() || !is_over {
            let last = after.map(|account| account.to_string()).filter(|_| first.is_some());
            items.push(Page { first, last, index: None, count: None }.to_element());
        }
        Ok(items)
    }

    async fn feeds_of(&self, account: &BareJid) -> Result<Vec<Element>, store::Fault> {
        let nodes = self.listed_nodes(account, None, NODES_MAX).await?;
        let open = nodes.iter().filter(|held| {
            let name = &held.node.name;
            let is_listed = is_feed(name) && !is_comments(name) && &**name != ns::PUBSUB_SUBSCRIPTION;
            is_listed && held.node.config.access_model == AccessModel::Open
        });
        let items = open.take(FEEDS_OF_ONE_MAX).map(|held| {
            Element::builder("item", ns::DISCO_ITEMS)
                .attribute("jid", account.as_str())
                .attribute("node", &*held.node.name)
                .attribute("name", held.node.config.title.as_deref().unwrap_or(account.as_str()))
                .build()
        });
        Ok(items.collect())
    }
}
