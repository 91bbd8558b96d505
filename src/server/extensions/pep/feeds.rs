//! The directory of feeds: those that everybody may read, of accounts that want them listed, as the items of the node
//! `urn:chirrup:directory:0` of `pubsub.HOST` (XEP-0030). `xeps/chirrup-directory.md` is the protocol.
//!
//! Who wants that says so by the command of the extension `search`.

use pubsub::Caller;
use pubsub::config::AccessModel;
use pubsub::profile::alternate::is_of_posts;
use xmpp::paging::{Page, Query, Start};
use xmpp::xml::WithAttribute as _;
use xmpp::{BareJid, Element, StanzaError, ns};

use super::Pep;
use crate::extension::fault;
use crate::tables::nodes::Held;

/// Feeds in one answer, give or take those of one account.
const FEEDS_MAX: usize = 100;
/// Feeds of one account.
const FEEDS_OF_ONE_MAX: usize = 10;
/// Nodes of one account that are looked at, and of all together for one answer.
const NODES_MAX: usize = 500;
const NODES_READ_MAX: usize = 2_000;
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
            Start::After(jid) => {
                let jid = self.onward.name(service, jid).and_then(|jid| BareJid::new(&jid).ok());
                Some(jid.ok_or_else(StanzaError::item_not_found)?)
            }
            Start::Before(_) | Start::Last | Start::Index(_) => return Err(StanzaError::feature_not_implemented()),
        };
        let size = query.size(FEEDS_MAX);
        let (mut items, mut ends, mut seen, mut is_over) = (Vec::new(), None::<(BareJid, BareJid)>, 0, false);
        let mut left = NODES_READ_MAX;
        while items.len() < size && seen < ACCOUNTS_MAX && left >= NODES_MAX && !is_over {
            let (page, is_complete) = self.directory.page(host, after.as_ref(), 50).await.map_err(broken)?;
            is_over = is_complete;
            for (account, entry) in page {
                if items.len() >= size || left < NODES_MAX {
                    is_over = false;
                    break;
                }
                seen += 1;
                let blocks = self.timeline.blocks();
                if entry.has_feeds && !blocks.are_apart(&caller.bare, &account).await.map_err(broken)? {
                    let nodes = self.listed_nodes(&account, None, NODES_MAX).await.map_err(broken)?;
                    left = left.saturating_sub(nodes.len());
                    let before = items.len();
                    items.extend(feeds_of(&account, &nodes));
                    if items.len() > before {
                        ends = Some((ends.map_or_else(|| account.clone(), |(first, _)| first), account.clone()));
                    }
                }
                after = Some(account);
            }
        }
        if *query != Query::default() || !is_over {
            let (first, mut last) = ends.map(|(first, last)| (first.to_string(), last.to_string())).unzip();
            if let Some(after) = after.filter(|after| !is_over && seen > 0 && last.as_deref() != Some(after.as_str())) {
                // It goes on behind somebody of whom nothing is shown, and who is not named.
                last = Some(self.onward.mark(self.ids.as_ref(), service, after.as_str()));
            }
            let first = first.or_else(|| last.clone());
            items.push(Page { first, last, index: None, count: None }.to_element());
        }
        Ok(items)
    }
}

/// The feeds among an account's nodes.
fn feeds_of(account: &BareJid, nodes: &[Held]) -> impl Iterator<Item = Element> {
    let open = nodes.iter().filter(|held| {
        let config = &held.node.config;
        is_of_posts(&held.node.name, config) && config.access_model == AccessModel::Open
    });
    open.take(FEEDS_OF_ONE_MAX).map(|held| {
        Element::builder("item", ns::DISCO_ITEMS)
            .attribute("jid", account.as_str())
            .attribute("node", &*held.node.name)
            .attribute("name", held.node.config.title.as_deref().unwrap_or(account.as_str()))
            .build()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use std::sync::Arc;

    use store::{Memory, Store};
    use xmpp::limits::Limits;
    use xmpp::{BareJid, Jid, Stanza, ns};

    use crate::extension::Caller;
    use crate::extensions::pep::tests::Stage;
    use crate::tables::directory::{Directory, Entry};

    #[tokio::test]
    async fn who_has_many_nodes_costs_no_more_than_a_page() {
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let stage = Stage::over(Arc::clone(&store)).await;
        let directory = Directory::new(store);
        for at in 0..6 {
            let account = format!("a{at}@example.com");
            let entry = Entry { has_feeds: true, ..Entry::default() };
            directory.put(&BareJid::new(&account).unwrap(), &entry).await.unwrap();
            for node in 0..500 {
                let node = format!("urn:xmpp:pubsub-social-feed:{node:03}");
                let options = "<configure><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
                    <value>http://jabber.org/protocol/pubsub#node_config</value></field>\
                    <field var='pubsub#access_model'><value>open</value></field></x></configure>";
                let text = format!(
                    "<iq type='set' id='x' from='{account}' to='{account}'><pubsub xmlns='{}'><create node='{node}'/>\
                     {options}</pubsub></iq>",
                    ns::PUBSUB
                );
                let caller = Caller { jid: Jid::new(&account).unwrap(), session: None };
                stage.router.route(caller, Stanza::parse(text.into(), &Limits::server()).unwrap()).await;
            }
        }
        let romeo = stage.log_in("romeo@example.net/orchard", &[]).await;
        let (mut after, mut pages) = (String::new(), Vec::new());
        loop {
            let answer = romeo
                .ask(&format!(
                    "<iq type='get' id='d' to='pubsub.example.com'><query xmlns='{}' node='{}'>\
                     <set xmlns='{}'><max>100</max>{after}</set></query></iq>",
                    ns::DISCO_ITEMS,
                    ns::DIRECTORY,
                    ns::RSM
                ))
                .await;
            let found = answer.matches("<item ").count();
            let Some(last) = answer.split("<last>").nth(1).filter(|_| found > 0) else { break };
            pages.push(found);
            after = format!("<after>{}</after>", last.split('<').next().unwrap());
        }
        assert_eq!(pages, [40, 20]);
    }
}
