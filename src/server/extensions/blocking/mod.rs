//! XEP-0191: Blocking Command, and the reports that come with a block (XEP-0377, in `reports`).
//!
//! As a guard it stands before every message and IQ; presence asks the same lists in `extensions/presence`, and
//! notifications of nodes in `extensions/pubsub`. Blocking is polite: subscriptions stay as they are, and the
//! blocked side sees the user go offline.

pub mod blocks;
mod reports;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use store::Fault;
use xmpp::xml::escape_attr;
use xmpp::{BareJid, Element, Jid, Stanza, StanzaError, ns};

pub use self::blocks::Blocks;
use self::blocks::{Changed, Removed, covers, is_exempt};
use self::reports::{Report, Reports};
use super::archive::Archive;
use super::presence::Announcer;
use crate::config::Config;
use crate::extension::{
    Answer, Asked, Direction, Extension, Guard, Kit, Listener, Mount, Pending, Reply, Spec, To, Xep,
};
use crate::router::Router;
use crate::runtime::Ids;
use crate::session::Session;
use crate::session::mailbox::Frame;

/// Serves and enforces blocklists.
#[expect(missing_debug_implementations, reason = "nobody prints blocklists")]
pub struct Blocking {
    blocks: Arc<Blocks>,
    announcer: Arc<Announcer>,
    // The router owns the wiring, the wiring owns this.
    router: std::sync::Weak<Router>,
    ids: Arc<dyn Ids>,
    addresses_max: usize,
    reports: Reports,
}

static SPEC: Spec =
    Spec { name: "blocking", xeps: &[Xep::complete(191, "1.3"), Xep::partial(377, "0.4.1")], config: "" };

impl Blocking {
    /// Serves the lists in `blocks`; `announcer` tells the blocked that the user is gone, and the others back.
    #[must_use]
    pub fn new(
        kit: &Kit,
        blocks: &Arc<Blocks>,
        announcer: &Arc<Announcer>,
        archive: &Arc<Archive>,
        config: &Config,
    ) -> Arc<Self> {
        Arc::new(Self {
            blocks: Arc::clone(blocks),
            announcer: Arc::clone(announcer),
            router: Arc::downgrade(&kit.router),
            ids: Arc::clone(&kit.ids),
            addresses_max: config.limits.blocklist_items_max,
            reports: Reports::new(kit, archive, config),
        })
    }

    async fn list(self: Arc<Self>, asked: Asked) -> Answer {
        asked.require_owner()?;
        if let Some(session) = &asked.caller.session {
            session.state().blocklist_interested = true;
        }
        let list = self.blocks.open(&asked.to).await.map_err(fault)?;
        let bytes = element("blocklist", &list.addresses());
        Ok(Reply::Bytes { name: "blocklist", ns: ns::BLOCKING, bytes })
    }

    async fn block(self: Arc<Self>, asked: Asked) -> Answer {
        asked.require_owner()?;
        let command = asked.open()?;
        let add = addresses(&command)?;
        let items = command.children().filter(|child| child.is("item", ns::BLOCKING));
        let reports: Vec<Report> = items.filter_map(Report::read).collect();
        if add.is_empty() {
            return Err(StanzaError::bad_request().with_text("nobody to block is named"));
        }
        let pushed = element("block", &add);
        let answer = self.change(&asked.to, add, Removed::These(BTreeSet::new()), pushed).await?;
        self.reports.pass_on(&asked.to, reports).await;
        Ok(answer)
    }

    async fn unblock(self: Arc<Self>, asked: Asked) -> Answer {
        asked.require_owner()?;
        let these = addresses(&asked.open()?)?;
        let pushed = element("unblock", &these);
        let remove = if these.is_empty() { Removed::Everything } else { Removed::These(these) };
        self.change(&asked.to, BTreeSet::new(), remove, pushed).await
    }

    async fn change(&self, account: &BareJid, add: BTreeSet<Jid>, remove: Removed, pushed: Bytes) -> Answer {
        let changed =
            self.blocks.change(account, add, remove, self.addresses_max).await.map_err(|error| match error {
                None => StanzaError::resource_constraint().with_text("the blocklist is full"),
                Some(error) => fault(error),
            })?;
        let Some(router) = self.router.upgrade() else { return Err(StanzaError::internal_server_error()) };
        self.push(&router, account, &pushed);
        self.tell(&router, account, &changed).await;
        Ok(Reply::Empty)
    }

    /// To all of the user's resources that asked for the list.
    fn push(&self, router: &Router, account: &BareJid, pushed: &Bytes) {
        let after: Bytes = [b" id='", self.ids.id().as_bytes(), b"'>", pushed, b"</iq>"].concat().into();
        router.sessions.for_each_of(account.as_str(), |session| {
            if session.state().blocklist_interested {
                let (to, after) = (session.jid.clone().into(), after.clone());
                session.mailbox.push(Frame::Addressed { before: "<iq type='set' to='", to, after });
            }
        });
    }

    /// Who may see the user's presence and was blocked sees it end; who is no longer blocked sees it again.
    async fn tell(&self, router: &Router, account: &BareJid, changed: &Changed) {
        let is_blocked = |by: &BTreeSet<Jid>, jid: &Jid| covers(by, jid) && !is_exempt(account.as_str(), jid);
        if !changed.added.is_empty() {
            let news = |jid: &Jid| is_blocked(&changed.after, jid) && !is_blocked(&changed.before, jid);
            self.announcer.hide_from(account, &changed.added, news).await;
        }
        if !changed.removed.is_empty() {
            let news = |jid: &Jid| is_blocked(&changed.before, jid) && !is_blocked(&changed.after, jid);
            self.announcer.show_to(account, news).await;
        }
        for (addresses, is_blocked) in [(&changed.added, true), (&changed.removed, false)] {
            for address in addresses {
                router.tell(|listener| listener.blocking_changed(account, address, is_blocked)).await;
            }
        }
    }

    fn verdict(direction: Direction, is_blocked: Result<bool, Fault>) -> Result<(), StanzaError> {
        match (is_blocked.map_err(fault)?, direction) {
            (false, _) => Ok(()),
            (true, Direction::Inbound) => Err(StanzaError::service_unavailable()),
            (true, Direction::Outbound) => Err(blocked()),
        }
    }
}

/// What a user gets who writes to somebody they blocked.
#[must_use]
pub fn blocked() -> StanzaError {
    StanzaError::not_acceptable()
        .with_type(xmpp::stanza::ErrorType::Cancel)
        .with_specific(Element::builder("blocked", ns::BLOCKING_ERRORS).build())
}

fn fault(error: Fault) -> StanzaError {
    tracing::error!(%error, "a blocklist could not be read or written");
    StanzaError::internal_server_error()
}

/// The addresses in a block or unblock command.
fn addresses(command: &Element) -> Result<BTreeSet<Jid>, StanzaError> {
    let items = command.children().filter(|child| child.is("item", ns::BLOCKING));
    items
        .map(|item| {
            let address = item.attr("jid").ok_or_else(StanzaError::bad_request)?;
            Jid::new(address).map_err(|error| StanzaError::jid_malformed().with_text(error.to_string()))
        })
        .collect()
}

/// `<name xmlns='urn:xmpp:blocking'>` with an item for each address.
fn element(name: &str, addresses: &BTreeSet<Jid>) -> Bytes {
    let mut out = format!("<{name} xmlns='{}'>", ns::BLOCKING).into_bytes();
    for address in addresses {
        out.extend_from_slice(b"<item jid='");
        escape_attr(&mut out, address.as_str());
        out.extend_from_slice(b"'/>");
    }
    out.extend_from_slice(format!("</{name}>").as_bytes());
    out.into()
}

impl Guard for Blocking {
    fn check(
        &self,
        direction: Direction,
        account: &str,
        other: &Jid,
        _stanza: &Stanza,
    ) -> Pending<Result<(), StanzaError>> {
        if let Some(is_blocked) = self.blocks.is_blocked_at_hand(account, other) {
            return Pending::now(Self::verdict(direction, Ok(is_blocked)));
        }
        let (Ok(account), other, blocks) = (BareJid::new(account), other.clone(), Arc::clone(&self.blocks)) else {
            return Pending::now(Err(StanzaError::internal_server_error()));
        };
        Pending::later(async move { Self::verdict(direction, blocks.is_blocked(&account, &other).await) })
    }
}

impl Listener for Blocking {
    fn session_bound(&self, session: &Arc<Session>) -> Pending<()> {
        let account = session.jid.bare();
        let blocks = Arc::clone(&self.blocks);
        Pending::later(async move {
            if let Err(error) = blocks.open(&account).await {
                tracing::error!(%account, %error, "a blocklist could not be read");
            }
        })
    }

    fn account_removed(&self, account: &BareJid) -> Pending<()> {
        let (blocks, account) = (Arc::clone(&self.blocks), account.clone());
        Pending::later(async move {
            if let Err(error) = blocks.delete(&account).await {
                tracing::error!(%account, %error, "the blocklist of a removed account is left behind");
            }
        })
    }
}

impl Extension for Blocking {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        at.feature(To::DOMAIN, ns::BLOCKING);
        at.feature(To::DOMAIN, ns::REPORTING);
        at.iq_get(To::ACCOUNT, ("blocklist", ns::BLOCKING), &self, Self::list);
        at.iq_set(To::ACCOUNT, ("block", ns::BLOCKING), &self, Self::block);
        at.iq_set(To::ACCOUNT, ("unblock", ns::BLOCKING), &self, Self::unblock);
        at.guard(Arc::clone(&self) as Arc<dyn Guard>);
        at.listener(self);
    }
}
