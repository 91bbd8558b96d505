//! Moments: newest items to who comes online (XEP-0163 section 4.3.4), and what time and removal undo.

use std::sync::Arc;

use pubsub::access::{Standing, may_be_notified};
use pubsub::config::{AccessModel, SendLast};
use pubsub::profile::public::{is_guarded, listed};
use pubsub::request::{Relation, Wanted, effective};
use pubsub::{Affiliation, Caller, Home, Refusal, Request, Subscription, SubscriptionState};
use store::Fault;
use xmpp::stanza::Condition;
use xmpp::{BareJid, FullJid, Jid, Stanza};

use super::Pep;
use super::serve::{Failure, broken};
use crate::extension::{Listener, Pending, fault};
use crate::session::Session;
use crate::session::interest::Interest;

/// Subscriptions of one contact looked at when it loses sight of an account's presence.
const SUBSCRIPTIONS_MAX: usize = 1_000;

/// Hears of moments for pubsub.
pub(super) struct Online(pub(super) Arc<Pep>);

impl Listener for Online {
    /// What a resource wants is known: it is sent the newest items of its own account and of everyone it sees.
    fn caps_learned(&self, session: &Arc<Session>) -> Pending<()> {
        let Some(interest) = interest_of(session).filter(|interest| !interest.notify.is_empty()) else {
            return Pending::now(());
        };
        let (pep, session) = (Arc::clone(&self.0), Arc::clone(session));
        Pending::later(async move {
            if let Err(error) = pep.tell_newcomer(&session, &interest).await {
                let _logged = fault("nodes", &error);
            }
        })
    }

    /// A contact may see the account's presence from now on, and with it its nodes; or no longer.
    fn subscription_changed(&self, account: &BareJid, contact: &BareJid, may_see: bool, _sees: bool) -> Pending<()> {
        if !may_see {
            let (pep, account, contact) = (Arc::clone(&self.0), account.clone(), contact.clone());
            return Pending::later(async move {
                if let Err(error) = pep.cancel_subscriptions(&account, &contact).await {
                    let _logged = fault("nodes", &error);
                }
            });
        }
        let Some(router) = self.0.router.upgrade() else { return Pending::now(()) };
        let is_here = router.serves(contact.domain());
        if is_here && !router.sessions.any(contact.as_str()) {
            return Pending::now(());
        }
        let (pep, account, contact) = (Arc::clone(&self.0), account.clone(), contact.clone());
        Pending::later(async move {
            if !is_here {
                for remote in router.remotes.seen(&account, &contact, |one| one.interest.is_some()) {
                    if let Some(interest) = &remote.interest {
                        pep.tell_remote(&account, &remote.jid, interest).await;
                    }
                }
                return;
            }
            for session in router.sessions.of(contact.as_str()) {
                let Some(interest) = interest_of(&session) else { continue };
                if let Err(error) = pep.tell_last_items(&account, &Reader::Here(&session), &interest).await {
                    let _logged = fault("nodes", &error);
                }
            }
        })
    }

    /// A contact's resource elsewhere is there for the account, and what it wants is known.
    fn remote_wants(&self, account: &BareJid, resource: &FullJid, interest: &Arc<Interest>) -> Pending<()> {
        if interest.notify.is_empty() {
            return Pending::now(());
        }
        let (pep, account) = (Arc::clone(&self.0), account.clone());
        let (resource, interest) = (resource.clone(), Arc::clone(interest));
        Pending::later(async move { pep.tell_remote(&account, &resource, &interest).await })
    }

    /// A notification came back.
    fn bounced(&self, account: &BareJid, error: &Stanza) -> Pending<()> {
        let (Some(router), Some(from)) = (self.0.router.upgrade(), error.head.from.clone()) else {
            return Pending::now(());
        };
        if from.is_full() {
            // Whether it went or its server lost it: it is told again when its presence comes again.
            router.remotes.lost(account, &from);
        }
        if !error.error().is_some_and(|error| error.condition == Condition::Gone) {
            return Pending::now(());
        }
        let (pep, account) = (Arc::clone(&self.0), account.clone());
        Pending::later(async move {
            if let Err(error) = pep.end_subscriptions(&account, &from).await {
                let _logged = fault("nodes", &error);
            }
        })
    }

    fn minute_passed(&self, now: u64) -> Pending<()> {
        let pep = Arc::clone(&self.0);
        Pending::later(async move { pep.housekeep(now).await })
    }

    fn account_removed(&self, account: &BareJid) -> Pending<()> {
        let (pep, account) = (Arc::clone(&self.0), account.clone());
        Pending::later(async move { pep.forget_account(&account).await })
    }
}

/// A resource that is sent newest items.
enum Reader<'a> {
    Here(&'a Session),
    Afar(&'a FullJid),
}

impl Reader<'_> {
    fn jid(&self) -> &FullJid {
        match self {
            Self::Here(session) => &session.jid,
            Self::Afar(jid) => jid,
        }
    }

    /// Whether it was not told of this version already. Of who is elsewhere that is not remembered.
    fn wants(&self, home: &BareJid, node: &str, version: u64) -> bool {
        match self {
            Self::Here(session) => session.wants_last_item(home, node, version),
            Self::Afar(_) => true,
        }
    }
}

fn interest_of(session: &Session) -> Option<Arc<Interest>> {
    session.state().available.as_ref().and_then(|available| available.interest.clone())
}

impl Pep {
    /// XEP-0163 section 7.1: who loses access by losing sight of the account's presence loses its subscriptions.
    async fn cancel_subscriptions(&self, account: &BareJid, contact: &BareJid) -> Result<(), Fault> {
        let rows = self.nodes.own_subscriptions(contact, account, SUBSCRIPTIONS_MAX).await?;
        let owner = Caller::new(account.into());
        for (name, subscription) in rows {
            let entry = self.nodes.entry(account, &name);
            let Some(held) = self.nodes.held(&entry).await? else { continue };
            if !matches!(held.node.config.access_model, AccessModel::Presence | AccessModel::Roster)
                || self.nodes.affiliation(&held, contact).await? != Affiliation::None
            {
                continue;
            }
            let wanted = vec![Wanted::all(subscription.jid, SubscriptionState::None)];
            let request = Request::SetSubscribers { node: held.node.name.clone(), wanted };
            if let Err(Failure::Fault(error)) = self.do_change(account, &owner, request).await {
                return Err(error);
            }
        }
        Ok(())
    }

    /// The server of `gone` says that this address is gone for good (RFC 6120 section 8.3.3.5): its subscriptions to the
    /// account's nodes end as if it had ended them. It could have: the server speaks for its addresses.
    ///
    /// No other error ends one. `item-not-found`, `service-unavailable` and what the road says of its own are also
    /// said of users who are away, and of servers that will be back.
    async fn end_subscriptions(&self, account: &BareJid, gone: &Jid) -> Result<(), Fault> {
        let rows = self.nodes.own_subscriptions(&gone.to_bare(), account, SUBSCRIPTIONS_MAX).await?;
        let caller = Caller::new(gone.clone());
        for (name, subscription) in rows {
            if subscription.jid != *gone {
                continue;
            }
            let subid = Some(subscription.id.to_string().into());
            let request = Request::Unsubscribe { node: (*name).into(), jid: gone.clone(), subid };
            if let Err(Failure::Fault(error)) = self.do_change(account, &caller, request).await {
                return Err(error);
            }
        }
        Ok(())
    }

    /// The newest items of the account's nodes that a contact's resource elsewhere wants and may read.
    async fn tell_remote(&self, account: &BareJid, resource: &FullJid, interest: &Interest) {
        let may_see = match self.contacts.relation(account, &resource.bare()).await {
            Ok(relation) => relation.sees_presence,
            Err(error) => return drop(fault("rosters", &error)),
        };
        // Who does not see the account's presence is told of nothing it has not subscribed to.
        if may_see && let Err(error) = self.tell_last_items(account, &Reader::Afar(resource), interest).await {
            let _logged = fault("nodes", &error);
        }
    }

    async fn tell_newcomer(&self, session: &Arc<Session>, interest: &Interest) -> Result<(), Fault> {
        let own = session.jid.bare();
        self.tell_last_items(&own, &Reader::Here(session), interest).await?;
        let Some(router) = self.router.upgrade() else { return Ok(()) };
        for contact in self.contacts.watched(&own).await? {
            if contact != own && router.serves(contact.domain()) {
                self.tell_last_items(&contact, &Reader::Here(session), interest).await?;
            }
        }
        Ok(())
    }

    /// The newest items of the nodes of `home` that a resource wants and may read.
    async fn tell_last_items(&self, home: &BareJid, reader: &Reader<'_>, interest: &Interest) -> Result<(), Fault> {
        if self.nodes.count(home).await? == 0 {
            return Ok(());
        }
        let who = reader.jid().bare();
        let relation = match who == *home {
            true => Relation::default(),
            false => self.contacts.relation(home, &who).await?,
        };
        for name in &interest.notify {
            if name.len() > self.limits.name_bytes_max {
                continue;
            }
            let entry = self.nodes.entry(home, name);
            let Some(held) = self.nodes.held(&entry).await? else { continue };
            let config = &held.node.config;
            if config.send_last_published_item != SendLast::OnSubAndPresence
                || !config.deliver_notifications
                || held.node.tally.items == 0
            {
                continue;
            }
            let stored = self.nodes.affiliation(&held, &who).await?;
            let affiliation = effective(Home::Account, home, &who, stored);
            let standing = Standing { affiliation, is_subscribed: false, relation: &relation };
            if may_be_notified(config, &standing)
                && reader.wants(home, name, held.node.tally.version)
                && self.nodes.lets_pass(home, &held, &who, &relation).await?
            {
                self.fanout.tell_last_item(&entry, &held, &Jid::from(reader.jid())).await;
            }
        }
        Ok(())
    }

    /// An account is gone: the nodes of services that it alone owns go, and it is nothing to the others any more.
    async fn resign(&self, caller: &Caller) -> Result<(), Fault> {
        let Some(router) = self.router.upgrade() else { return Ok(()) };
        for service in router.wiring().services.keys().filter_map(|domain| BareJid::new(domain).ok()) {
            for (name, affiliation) in self.nodes.own_affiliations(&caller.bare, &service, usize::MAX).await? {
                let entry = self.nodes.entry(&service, &name);
                let Some(held) = self.nodes.held(&entry).await? else { continue };
                if listed(&name).is_some() {
                    // It goes with its node, and is whose that is.
                    continue;
                }
                if affiliation == Affiliation::Outcast {
                    // What it was forbidden stays forbidden: somebody may take its address again.
                    continue;
                }
                let node = held.node.name.clone();
                if affiliation == Affiliation::Owner && held.node.tally.owners <= 1 {
                    self.do_or_not(&service, caller, Request::Delete { node, redirect: None }).await?;
                    continue;
                }
                let owner = match affiliation {
                    Affiliation::Owner => Some(caller.clone()),
                    _ => {
                        let listed = self.nodes.affiliations(&held, None, 100).await?;
                        let mut owners = listed.into_iter().filter(|(_, what)| *what == Affiliation::Owner);
                        owners.next().map(|(bare, _)| Caller::new(bare.into()))
                    }
                };
                if let Some(owner) = owner {
                    let wanted = vec![(caller.bare.clone(), Some(Affiliation::None))];
                    self.do_or_not(&service, &owner, Request::SetAffiliated { node, wanted }).await?;
                }
            }
        }
        Ok(())
    }

    /// Makes a change, or finds that it cannot be made.
    async fn do_or_not(&self, home: &BareJid, caller: &Caller, request: Request) -> Result<(), Fault> {
        match self.do_change(home, caller, request).await {
            Err(Failure::Fault(error)) => Err(error),
            Ok(()) | Err(Failure::Refused(_)) => Ok(()),
        }
    }

    /// Deletes all nodes of an account. One that cannot be deleted before others is tried again after them.
    async fn delete_nodes(&self, account: &BareJid, caller: &Caller) -> Result<(), Fault> {
        loop {
            let (mut after, mut refused, mut is_progress): (Option<Box<str>>, _, _) = (None, None, false);
            loop {
                let nodes = self.nodes.of_home(account, after.as_deref(), 100).await?;
                let Some(last) = nodes.last() else { break };
                after = Some(Box::from(&*last.node.name));
                for held in nodes {
                    let name = &held.node.name;
                    let deleted = match is_guarded(name) {
                        true => self.drop_node(account, name).await,
                        false => {
                            let request = Request::Delete { node: name.clone(), redirect: None };
                            self.do_change(account, caller, request).await
                        }
                    };
                    match deleted {
                        Ok(()) => is_progress = true,
                        // It went with another.
                        Err(Failure::Refused(Refusal::ItemNotFound)) => {}
                        Err(Failure::Refused(refusal)) => refused = Some(refusal),
                        Err(Failure::Fault(error)) => return Err(error),
                    }
                }
            }
            match refused {
                None => return Ok(()),
                Some(_) if is_progress => {}
                Some(refusal) => return Err(Fault::new(format!("nodes of a removed account remain: {refusal:?}"))),
            }
        }
    }

    /// An account is gone: its nodes go, and its subscriptions to others' nodes.
    async fn forget_account(&self, account: &BareJid) {
        let caller = Caller::new(account.into());
        if let Err(error) = self.detach_all(account).await {
            tracing::error!(?error, %account, "what a removed account attached is left behind");
            return;
        }
        if let Err(error) = self.delete_nodes(account, &caller).await {
            let _logged = fault("nodes", &error);
            return;
        }
        if let Err(error) = self.timeline.leave(account).await {
            let _logged = fault("subscriptions elsewhere", &broken(error));
            return;
        }
        if let Err(error) = self.resign(&caller).await {
            let _logged = fault("nodes", &error);
            return;
        }
        loop {
            let subscriptions = match self.nodes.subscriptions_anywhere(account).await {
                Ok(found) if found.is_empty() => return,
                Ok(found) => found,
                Err(error) => {
                    let _logged = fault("nodes", &error);
                    return;
                }
            };
            let mut is_progress = false;
            for (home, node, rows) in subscriptions {
                for Subscription { jid, id, .. } in rows {
                    let (node, subid) = ((*node).into(), Some(id.to_string().into()));
                    let request = Request::Unsubscribe { node, jid, subid };
                    is_progress |= self.take_back(&home, &caller, request).await.is_ok();
                }
            }
            if !is_progress {
                return;
            }
        }
    }
}
