//! The decisions: one file per verb, each quoting the section of XEP-0060 it implements.
//!
//! [`decide()`] is a pure function. Given the same view it says the same thing, and it reads nothing that
//! [`Request::needs`] did not ask for.

mod affiliations;
mod attach;
mod compare;
mod configure;
mod create;
mod delete;
mod expire;
mod publish;
mod read;
mod relate;
mod retract;
mod subscribe;
mod subscribers;

pub use attach::{create_kept, drop_kept, enlist, forget, resummarize};
pub use compare::{is_compared, value as compare_value};
pub use configure::amend;
pub use create::unposted;
pub use expire::{expire, lapse};
pub use relate::{Related, relate};

use xmpp::jid::Jid;

use crate::access::{Standing, may_publish, may_read, may_see};
use crate::decision::{Audience, Change, Decision, Event, Notice};
use crate::model::{Affiliation, Node, Subscription, SubscriptionState, Tally};
use crate::profile::attachments::is_attachments;
use crate::refusal::Refusal;
use crate::request::{Caller, Request, View};
use crate::time::Timestamp;

/// Answers a request.
///
/// # Errors
/// The [`Refusal`]; then nothing changes.
pub fn decide(view: &View, caller: &Caller, request: &Request, now: Timestamp) -> Result<Decision, Refusal> {
    if let Some(name) = request.node()
        && name.len() > view.limits.name_bytes_max
    {
        return Err(Refusal::NameTooLong(view.limits.name_bytes_max));
    }
    attach::check(view, caller, request)?;
    check_above(view, request)?;
    match request {
        Request::Publish { node, item, options } => {
            publish::publish(view, caller, node, item.as_ref(), options.as_ref(), now)
        }
        Request::Retract { id, notify, .. } => retract::retract(view, caller, id, *notify),
        Request::Items { query, subid, .. } => read::items(view, caller, query, subid.as_deref()),
        Request::Subscribe { node, jid, options } => {
            subscribe::subscribe(view, caller, (node, jid), options.as_ref(), now)
        }
        Request::Unsubscribe { jid, subid, .. } => subscribe::unsubscribe(view, caller, jid, subid.as_deref()),
        Request::Options { jid, subid, .. } => subscribe::options(view, caller, jid, subid.as_deref()),
        Request::SetOptions { jid, subid, options, .. } => {
            subscribe::set_options(view, caller, (jid, subid.as_deref()), options, now)
        }
        Request::DefaultOptions { node } => read::default_options(view, caller, node.as_ref()),
        Request::Subscriptions { node } => read::own_subscriptions(view, node.as_ref()),
        Request::Affiliations { node } => read::own_affiliations(view, node.as_ref()),
        Request::Create { node, config } => create::create(view, caller, node.as_ref(), config.as_ref(), now),
        Request::Configuration { .. } => configure::show(view, caller),
        Request::Configure { config, .. } => configure::configure(view, caller, config.as_ref()),
        Request::DefaultConfiguration => Ok(configure::show_default(view)),
        Request::Delete { redirect, .. } => delete::delete(view, caller, redirect.as_deref()),
        Request::Purge { .. } => delete::purge(view, caller),
        Request::Subscribers { page, .. } => subscribers::list(view, caller, page),
        Request::SetSubscribers { wanted, .. } => subscribers::set(view, caller, wanted),
        Request::Authorize { jid, subid, allow, .. } => {
            subscribers::authorize(view, caller, jid, subid.as_deref(), *allow)
        }
        Request::Affiliated { page, .. } => affiliations::list(view, caller, page),
        Request::SetAffiliated { wanted, .. } => affiliations::set(view, caller, wanted),
        Request::NodeInformation { .. } => read::information(view, caller),
        Request::NodeItems { page, .. } => read::node_items(view, caller, page),
        Request::Nodes { page } => Ok(read::nodes(page)),
    }
}

/// XEP-0496 section 4.4: who reads or publishes in a node must be able to do so in all nodes above it.
fn check_above(view: &View, request: &Request) -> Result<(), Refusal> {
    let pass = |may| crate::access::may_pass(&view.above, &view.relation, may);
    match request {
        Request::Publish { node, .. } if !is_attachments(node) => pass(may_publish),
        // Who may read an item may attach to it.
        Request::Publish { .. } | Request::Items { .. } | Request::NodeItems { .. } | Request::Subscribe { .. } => {
            pass(may_read)
        }
        Request::NodeInformation { .. } | Request::DefaultOptions { .. } => pass(may_see),
        _ => Ok(()),
    }
}

/// The node, or that there is none.
fn existing(view: &View) -> Result<&Node, Refusal> {
    view.node.as_ref().ok_or_else(|| view.moved.clone().map_or(Refusal::ItemNotFound, Refusal::Moved))
}

/// What the caller is to the node.
fn standing<'a>(view: &'a View, caller: &Caller) -> Standing<'a> {
    let standing = Standing::new(view.affiliation_of(caller), &view.subscriptions, &view.relation);
    Standing { is_subscribed: view.admitted.unwrap_or(standing.is_subscribed), ..standing }
}

/// The node, for who owns it.
fn owned<'a>(view: &'a View, caller: &Caller) -> Result<&'a Node, Refusal> {
    let node = existing(view)?;
    crate::access::may_own(view.affiliation_of(caller))?;
    Ok(node)
}

/// A change to an existing node: the changes, its counters and notices collected as they are decided.
struct Draft<'a> {
    node: &'a Node,
    tally: Tally,
    changes: Vec<Change>,
    notices: Vec<Notice>,
    /// The addresses whose subscriptions change, with all they will have.
    subscribed: Vec<(Jid, Vec<Subscription>)>,
}

impl<'a> Draft<'a> {
    fn new(node: &'a Node) -> Self {
        let tally = Tally { version: node.tally.version.saturating_add(1), ..node.tally };
        Self { node, tally, changes: Vec::new(), notices: Vec::new(), subscribed: Vec::new() }
    }

    fn tell(&mut self, audience: Audience, event: Event) {
        self.notices.push(Notice { audience, event, version: self.tally.version });
    }

    /// The subscribers, unless the node delivers nothing.
    fn tell_subscribers(&mut self, event: Event) {
        if self.node.config.deliver_notifications {
            self.tell(Audience::Subscribers, event);
        }
    }

    /// Changes what an address is subscribed by; `known` is what it, and perhaps others, had before.
    fn resubscribe(&mut self, known: &[Subscription], jid: &Jid, change: impl FnOnce(&mut Vec<Subscription>)) {
        let at = match self.subscribed.iter().position(|(one, _)| one == jid) {
            Some(at) => at,
            None => {
                let rows = known.iter().filter(|one| one.jid == *jid).cloned().collect();
                self.subscribed.push((jid.clone(), rows));
                self.subscribed.len() - 1
            }
        };
        let Some((_, rows)) = self.subscribed.get_mut(at) else { return };
        let count = |rows: &[Subscription]| {
            let is_told = rows.iter().any(|one| one.state == SubscriptionState::Subscribed);
            (u64::from(is_told), u64::from(rows.len() > 1), u64::from(rows.iter().any(Subscription::is_extended)))
        };
        let before = count(rows);
        change(rows);
        let after = count(rows);
        self.tally.subscribers = self.tally.subscribers.saturating_add(after.0).saturating_sub(before.0);
        self.tally.multiples = self.tally.multiples.saturating_add(after.1).saturating_sub(before.1);
        self.tally.extended = self.tally.extended.saturating_add(after.2).saturating_sub(before.2);
    }

    /// Counts an affiliation that changes.
    fn count_affiliation(&mut self, before: Affiliation, after: Affiliation) {
        if before != Affiliation::None {
            self.tally.affiliations = self.tally.affiliations.saturating_sub(1);
        }
        if after != Affiliation::None {
            self.tally.affiliations = self.tally.affiliations.saturating_add(1);
        }
        if before == Affiliation::Owner {
            self.tally.owners = self.tally.owners.saturating_sub(1);
        }
        if after == Affiliation::Owner {
            self.tally.owners = self.tally.owners.saturating_add(1);
        }
    }

    /// The decision. Without a change there is no new version either.
    fn finish(mut self, reply: crate::decision::Reply) -> Decision {
        self.changes.extend(self.subscribed.drain(..).map(|(jid, rows)| Change::SetSubscriptions(jid, rows)));
        if self.changes.is_empty() {
            // What is told but not kept happened at the version there is.
            self.notices.iter_mut().for_each(|notice| notice.version = self.node.tally.version);
        } else {
            self.changes.insert(0, Change::Tally(self.tally));
        }
        Decision { changes: self.changes, reply, notices: self.notices }
    }
}
