//! XEP-0496: nodes below others, and nodes that belong to others: what is asked for, and what goes when one goes.
//!
//! Whoever changes how nodes of a home are related waits for a turn, so that what is looked at here is still so when the
//! change is committed: two changes cannot close a circle together. A node has one tie at most, to the node it is
//! linked to or else to its parent, so a circle would have to lead through the node the new tie goes to.

use std::collections::HashMap;
use std::sync::Arc;

use pubsub::access::{may_pass, may_publish};
use pubsub::config::field;
use pubsub::decide::{Related, relate};
use pubsub::model::{TIED_MAX, TIES_MAX};
use pubsub::profile::attachments::is_kept;
use pubsub::request::{Relation, Values};
use pubsub::{Affiliation, Caller, Home, NodeConfig, Refusal, Request, decide};
use tokio::sync::MutexGuard;
use xmpp::{BareJid, Jid};

use super::serve::Failure;
use super::{Pep, home_of};
use crate::tables::nodes::{Held, Tie};

const PARENT: &str = "{urn:xmpp:pubsub-relationships:0}parent";
const LINK: &str = "{urn:xmpp:pubsub-relationships:0}link";

/// Nodes that go with one, or move with it.
pub(super) const BELOW_MAX: usize = 10_000;
/// Nodes read at once.
const PAGE: usize = 200;

/// A node somewhere below another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Below {
    pub(super) name: Box<str>,
    /// Steps from the node at the top.
    pub(super) depth: usize,
    pub(super) tie: Tie,
}

fn impossible(why: &'static str) -> Failure {
    Refusal::InvalidRelationship(why).into()
}

/// What a request says about relationships, if anything.
fn said(request: &Request) -> Option<(&str, &Values)> {
    let (node, values) = match request {
        Request::Configure { node, config: Some(values) } => (node, values),
        // A new node without a name of its own cannot be above anything yet; its name decides nothing here.
        Request::Create { node: Some(node), config: Some(values) } => (node, values),
        Request::Publish { node, options: Some(values), .. } => (node, values),
        _ => return None,
    };
    values.0.iter().any(|(var, _)| matches!(&**var, PARENT | LINK)).then_some((node, values))
}

impl Pep {
    /// Looks at what a request would make of how nodes are related. For a node that is to be deleted, deletes what goes
    /// with it. Whoever holds what is given back may make the change.
    pub(super) async fn relate(
        &self,
        home: &BareJid,
        caller: &Caller,
        request: &Request,
    ) -> Result<Option<MutexGuard<'_, ()>>, Failure> {
        if request.node().is_none_or(|name| name.len() > self.limits.name_bytes_max || is_kept(name)) {
            return match request {
                Request::Create { node: None, config: Some(values) }
                    if values.0.iter().any(|(var, given)| {
                        matches!(&**var, PARENT | LINK) && given.iter().any(|value| !value.is_empty())
                    }) =>
                {
                    Err(impossible("A node without a name is related to others when it has one."))
                }
                _ => Ok(None),
            };
        }
        if let Request::Delete { node, .. } = request {
            let turn = self.relation_turns.of(home.as_str()).await;
            self.delete_below(home, caller, node, request).await?;
            return Ok(Some(turn));
        }
        let Some((name, values)) = said(request) else { return Ok(None) };
        let turn = self.relation_turns.of(home.as_str()).await;
        let entry = self.nodes.entry(home, name);
        let held = self.nodes.held(&entry).await?;
        if held.is_some() && matches!(request, Request::Publish { .. } | Request::Create { .. }) {
            // Compared with what there is, and nothing changes; or refused.
            return Ok(Some(turn));
        }
        let before = held.as_ref().map(|held| (*held.node.config).clone());
        let before = before.unwrap_or_else(|| NodeConfig::service(0));
        let mut wanted = before.clone();
        for (var, given) in values.0.iter().filter(|(var, _)| matches!(&**var, PARENT | LINK)) {
            let given: Vec<&str> = given.iter().map(|value| &**value).collect();
            if let Some(field) = field(var) {
                // What cannot be read is refused where everything else is.
                let _unreadable = (field.set)(&mut wanted, &given);
            }
        }
        if (&wanted.parent, &wanted.link) == (&before.parent, &before.link) {
            return Ok(Some(turn));
        }
        if let Some(held) = &held {
            // Who may not configure the node is told so, and nothing else.
            let view = self.view(&entry, Some(held), request, caller).await?;
            decide(&view, caller, request, self.now())?;
        }
        self.check_ties(home, caller, name, &wanted, held.is_some()).await?;
        Ok(Some(turn))
    }

    async fn check_ties(
        &self,
        home: &BareJid,
        caller: &Caller,
        name: &str,
        wanted: &NodeConfig,
        is_there: bool,
    ) -> Result<(), Failure> {
        let Some(to) = wanted.link.as_deref().or(wanted.parent.as_deref()) else { return Ok(()) };
        let mut related = Related::default();
        if to.len() <= self.limits.name_bytes_max && !is_kept(to) {
            let entry = self.nodes.entry(home, to);
            if let Some(target) = self.nodes.held(&entry).await? {
                related.parent.clone_from(&target.node.config.parent);
                related.may_publish = self.may_tie(home, caller, &target).await?;
                related.line = self.line_from(home, &target).await?;
            }
            let tie = if wanted.link.is_some() { Tie::Link } else { Tie::Child };
            related.tied = self.nodes.below(home, to, tie, None, TIED_MAX).await?.len();
        }
        if is_there {
            let below = self.all_below(home, name).await?;
            related.height = below.iter().map(|below| below.depth).max().unwrap_or(0);
        }
        Ok(relate(name, wanted, &related)?)
    }

    /// Whether the caller may publish in a node that others are to be tied to.
    async fn may_tie(&self, home: &BareJid, caller: &Caller, target: &Held) -> Result<bool, Failure> {
        let relation = match home_of(home) == Home::Account && caller.bare != *home {
            true => self.contacts.relation(home, &caller.bare).await?,
            false => Relation::default(),
        };
        let mut all = self.nodes.above(home, target, &caller.bare).await?;
        all.push(self.nodes.standing_above(home, target, &caller.bare).await?);
        Ok(may_pass(&all, &relation, may_publish).is_ok())
    }

    /// A node and those above it by ties.
    async fn line_from(&self, home: &BareJid, from: &Held) -> Result<Vec<Box<str>>, Failure> {
        let mut line = vec![Box::from(&*from.node.name)];
        let mut config = Arc::clone(&from.node.config);
        while line.len() <= TIES_MAX
            && let Some(next) = config.link.as_deref().or(config.parent.as_deref())
        {
            line.push(next.into());
            let entry = self.nodes.entry(home, next);
            let Some(held) = self.nodes.held(&entry).await? else { break };
            config = Arc::clone(&held.node.config);
        }
        Ok(line)
    }

    /// Every node below one or linked to it, each before what is below it.
    pub(super) async fn all_below(&self, home: &BareJid, name: &str) -> Result<Vec<Below>, Failure> {
        let mut all: Vec<Below> = Vec::new();
        let mut waiting: Vec<(Box<str>, usize)> = vec![(name.into(), 0)];
        while let Some((at, depth)) = waiting.pop() {
            if depth > TIES_MAX {
                continue;
            }
            for tie in [Tie::Child, Tie::Link] {
                let mut after: Option<Box<str>> = None;
                loop {
                    let page = self.nodes.below(home, &at, tie, after.as_deref(), PAGE).await?;
                    let is_complete = page.len() < PAGE;
                    after = page.last().cloned();
                    for name in page {
                        waiting.push((name.clone(), depth + 1));
                        all.push(Below { name, depth: depth + 1, tie });
                    }
                    if all.len() > BELOW_MAX {
                        return Err(Refusal::TooManyRelated(BELOW_MAX).into());
                    }
                    if is_complete {
                        break;
                    }
                }
            }
        }
        Ok(all)
    }

    /// "When a parent node is deleted, all child nodes MUST be automatically deleted", and so must what is linked to it.
    /// What is furthest goes first: whatever happens on the way, nothing stays that leads nowhere.
    async fn delete_below(
        &self,
        home: &BareJid,
        caller: &Caller,
        node: &str,
        request: &Request,
    ) -> Result<(), Failure> {
        let one = async |tie| self.nodes.below(home, node, tie, None, 1).await;
        if one(Tie::Child).await?.is_empty() && one(Tie::Link).await?.is_empty() {
            return Ok(());
        }
        let entry = self.nodes.entry(home, node);
        let Some(held) = self.nodes.held(&entry).await? else { return Ok(()) };
        let view = self.view(&entry, Some(&held), request, caller).await?;
        decide(&view, caller, request, self.now())?;
        let mut below = self.all_below(home, node).await?;
        below.sort_by_key(|below| std::cmp::Reverse(below.depth));
        // Most of them have one owner.
        let mut owners: HashMap<Box<str>, Caller> = HashMap::new();
        for Below { name, .. } in below {
            let Some(held) = self.nodes.held(&self.nodes.entry(home, &name)).await? else { continue };
            let key: Box<str> = held.node.creator.as_str().into();
            let owner = match (home_of(home), owners.get(&key)) {
                (Home::Account, _) => Caller::new(home.into()),
                (Home::Service, Some(known)) if self.owns(&held, known).await? => known.clone(),
                (Home::Service, _) => self.an_owner(&held).await?,
            };
            owners.insert(key, owner.clone());
            let request = Request::Delete { node: (*name).into(), redirect: None };
            self.delete_one(home, &owner, request).await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn owns(&self, held: &Held, who: &Caller) -> Result<bool, Failure> {
        Ok(self.nodes.affiliation(held, &who.bare).await? == Affiliation::Owner)
    }

    /// One of the owners of a service's node, in whose name it is deleted.
    async fn an_owner(&self, held: &Held) -> Result<Caller, Failure> {
        let creator = Caller::new(Jid::from(&held.node.creator));
        if self.owns(held, &creator).await? {
            return Ok(creator);
        }
        let listed = self.nodes.affiliations(held, None, usize::MAX).await?;
        let owner = listed.into_iter().find(|(_, affiliation)| *affiliation == Affiliation::Owner);
        owner.map(|(bare, _)| Caller::new(Jid::from(&bare))).ok_or_else(|| Refusal::Forbidden.into())
    }
}
