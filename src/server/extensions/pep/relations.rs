//! XEP-0496: nodes below others, and nodes that belong to others: what is asked for, and what goes when one goes.
//!
//! Whoever changes how nodes of a home are related waits for a turn, so that what is looked at here is still so when the
//! change is committed: two changes cannot close a circle together. A node has one tie at most, to the node it is
//! linked to or else to its parent, so a circle would have to lead through the node the new tie goes to.

use std::collections::HashMap;
use std::sync::Arc;

use pubsub::access::may_publish;
use pubsub::config::{LINK, PARENT, field};
use pubsub::decide::{Related, relate};
use pubsub::model::{TIED_MAX, TIES_MAX, Tie};
use pubsub::profile::attachments::is_kept;
use pubsub::request::Values;
use pubsub::{Affiliation, Caller, Home, NodeConfig, Refusal, Request, decide};
use tokio::sync::MutexGuard;
use xmpp::{BareJid, Jid};

use super::serve::{Failure, Made};
use super::{Pep, home_of};
use crate::tables::nodes::{Entry, Held};

/// Nodes that go with one, or move with it.
const BELOW_MAX: usize = 10_000;
/// Nodes read at once.
const PAGE: usize = 200;
/// Nodes deleted before others have their turn.
const GO: usize = 50;
/// How often others have their turn beyond what the nodes that are there take: for those that come meanwhile.
const MORE_GOES: usize = 3;

fn impossible(why: &'static str) -> Failure {
    Refusal::InvalidRelationship(why).into()
}

fn is_tie(var: &str) -> bool {
    matches!(var, PARENT | LINK)
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
    values.0.iter().any(|(var, _)| is_tie(var)).then_some((node, values))
}

/// A configuration with the ties that are asked for. `None` where they cannot be read, which is refused where everything
/// else is.
fn tied(before: &NodeConfig, values: &Values) -> Option<NodeConfig> {
    let mut wanted = before.clone();
    for (var, given) in values.0.iter().filter(|(var, _)| is_tie(var)) {
        let given: Vec<&str> = given.iter().map(|value| &**value).collect();
        (field(var)?.set)(&mut wanted, &given).ok()?;
    }
    Some(wanted)
}

impl Pep {
    /// Looks at what a request would make of how nodes are related. For a node that is to be deleted, deletes what goes
    /// with it. Whoever holds what is given back may make the change.
    ///
    /// What a form says of ties that are already so is taken out of it, since clients send back whole forms: the ties
    /// then stay as they are, whoever else changes them, and no turn is needed.
    pub(super) async fn relate(
        &self,
        home: &BareJid,
        caller: &Caller,
        request: &mut Request,
    ) -> Result<Option<MutexGuard<'_, ()>>, Failure> {
        if request.node().is_none_or(|name| name.len() > self.limits.name_bytes_max || is_kept(name)) {
            return match request {
                Request::Create { node: None, config: Some(values) }
                    if values
                        .0
                        .iter()
                        .any(|(var, given)| is_tie(var) && given.iter().any(|value| !value.is_empty())) =>
                {
                    Err(impossible("A node without a name is related to others when it has one."))
                }
                _ => Ok(None),
            };
        }
        if let Request::Delete { node, .. } = &*request {
            return Ok(Some(self.delete_below(home, caller, node, request).await?));
        }
        let Some((name, _)) = said(request) else { return Ok(None) };
        let entry = self.nodes.entry(home, name);
        if self.leaves_ties(&entry, request).await? {
            return Ok(None);
        }
        let turn = self.relation_turns.of(home.as_str()).await;
        // Somebody else may have had a turn meanwhile.
        if self.leaves_ties(&entry, request).await? {
            return Ok(None);
        }
        let held = self.nodes.held(&entry).await?;
        let Some((name, values)) = said(request) else { return Ok(None) };
        if held.is_some() && matches!(request, Request::Publish { .. } | Request::Create { .. }) {
            // Compared with what there is, and nothing changes; or refused.
            return Ok(Some(turn));
        }
        let before = held.as_ref().map(|held| Arc::clone(&held.node.config));
        let before = before.unwrap_or_else(|| Arc::new(NodeConfig::service(0)));
        let wanted =
            tied(&before, values).filter(|wanted| (&wanted.parent, &wanted.link) != (&before.parent, &before.link));
        let Some(wanted) = wanted else { return Ok(Some(turn)) };
        if let Some(held) = &held {
            // Who may not configure the node is told so, and nothing else.
            let view = self.view(&entry, Some(held), request, caller).await?;
            decide(&view, caller, request, self.now())?;
        }
        self.check_ties(home, caller, name, &wanted, held.is_some()).await?;
        Ok(Some(turn))
    }

    /// Whether a form for a node that is there says of its ties what is so; then it says nothing of them any more.
    async fn leaves_ties(&self, entry: &Entry, request: &mut Request) -> Result<bool, Failure> {
        let Request::Configure { config: Some(values), .. } = request else { return Ok(false) };
        let Some(held) = self.nodes.held(entry).await? else { return Ok(false) };
        let before = &held.node.config;
        let is_so = |wanted: NodeConfig| (&wanted.parent, &wanted.link) == (&before.parent, &before.link);
        let leaves = tied(before, values).is_some_and(is_so);
        if leaves {
            values.0.retain(|(var, _)| !is_tie(var));
        }
        Ok(leaves)
    }

    async fn check_ties(
        &self,
        home: &BareJid,
        caller: &Caller,
        name: &str,
        wanted: &NodeConfig,
        is_there: bool,
    ) -> Result<(), Failure> {
        let Some((tie, to)) = wanted.tie() else { return Ok(()) };
        let mut related = Related::default();
        if to.len() <= self.limits.name_bytes_max && !is_kept(to) {
            let entry = self.nodes.entry(home, to);
            if let Some(target) = self.nodes.held(&entry).await? {
                related.parent.clone_from(&target.node.config.parent);
                related.may_publish = self.may_tie(home, caller, &target).await?;
                related.line = self.line_from(home, &target).await?;
            }
            related.tied = self.nodes.below(home, to, tie, None, TIED_MAX).await?.len();
        }
        if is_there {
            let below = self.all_below(home, name).await?;
            related.height = below.into_iter().max().unwrap_or(0);
        }
        Ok(relate(name, wanted, &related)?)
    }

    /// Whether the caller may publish in a node that others are to be tied to.
    async fn may_tie(&self, home: &BareJid, caller: &Caller, target: &Held) -> Result<bool, Failure> {
        let relation = self.relation(home, &caller.bare).await?;
        Ok(self.nodes.passes(home, target, &caller.bare, &relation, may_publish).await?)
    }

    /// A node and those above it by ties.
    async fn line_from(&self, home: &BareJid, from: &Held) -> Result<Vec<Box<str>>, Failure> {
        let mut line = vec![Box::from(&*from.node.name)];
        let mut config = Arc::clone(&from.node.config);
        while line.len() <= TIES_MAX
            && let Some((_, next)) = config.tie()
        {
            line.push(next.into());
            let entry = self.nodes.entry(home, next);
            let Some(held) = self.nodes.held(&entry).await? else { break };
            config = Arc::clone(&held.node.config);
        }
        Ok(line)
    }

    /// For each node below one or linked to it, how many steps below that is.
    async fn all_below(&self, home: &BareJid, name: &str) -> Result<Vec<usize>, Failure> {
        let mut all: Vec<usize> = Vec::new();
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
                    all.resize(all.len() + page.len(), depth + 1);
                    waiting.extend(page.into_iter().map(|name| (name, depth + 1)));
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

    /// Up to `count` nodes below one or linked to it, each behind all that is below it: when they are deleted in this
    /// order nothing stays that leads nowhere, wherever that ends.
    async fn lowest(&self, home: &BareJid, name: &str, count: usize) -> Result<Vec<Box<str>>, Failure> {
        let mut lowest = Vec::new();
        // What is to be looked at, the next at the end; and whether all below it is in the list.
        let mut waiting: Vec<(Box<str>, usize, bool)> = vec![(name.into(), 0, false)];
        while let Some((at, depth, is_done)) = waiting.pop() {
            if lowest.len() >= count {
                break;
            }
            if is_done {
                lowest.push(at);
            } else if depth <= TIES_MAX {
                let children = self.nodes.below(home, &at, Tie::Child, None, count).await?;
                let linked = self.nodes.below(home, &at, Tie::Link, None, count).await?;
                if depth > 0 {
                    waiting.push((at, depth, true));
                }
                waiting.extend(children.into_iter().chain(linked).map(|name| (name, depth + 1, false)));
            }
        }
        Ok(lowest)
    }

    /// "When a parent node is deleted, all child nodes MUST be automatically deleted", and so must what is linked to it.
    /// Others have their turn in between, and what they put below goes too; should there always be more, they have none
    /// at last.
    async fn delete_below(
        &self,
        home: &BareJid,
        caller: &Caller,
        node: &str,
        request: &Request,
    ) -> Result<MutexGuard<'_, ()>, Failure> {
        let mut goes = None;
        let mut turn = self.relation_turns.of(home.as_str()).await;
        loop {
            let lowest = self.lowest(home, node, GO).await?;
            if lowest.is_empty() {
                return Ok(turn);
            }
            let entry = self.nodes.entry(home, node);
            let Some(held) = self.nodes.held(&entry).await? else { return Ok(turn) };
            let view = self.view(&entry, Some(&held), request, caller).await?;
            decide(&view, caller, request, self.now())?;
            let left = match goes {
                Some(left) => left,
                None => self.all_below(home, node).await?.len() / GO + MORE_GOES,
            };
            goes = Some(left.saturating_sub(1));
            let mut made = Vec::new();
            let deleted = self.delete_all(home, lowest, &mut made).await;
            let is_over = made.is_empty();
            if left > 0 {
                drop(turn);
                self.settle_all(home, made).await;
                turn = self.relation_turns.of(home.as_str()).await;
            } else {
                self.settle_all(home, made).await;
            }
            deleted?;
            if is_over {
                // What is said to be below is not there.
                return Ok(turn);
            }
        }
    }

    async fn delete_all(&self, home: &BareJid, names: Vec<Box<str>>, made: &mut Vec<Made>) -> Result<(), Failure> {
        // Most of them have one owner.
        let mut owners: HashMap<Box<str>, Caller> = HashMap::new();
        for name in names {
            let Some(held) = self.nodes.held(&self.nodes.entry(home, &name)).await? else { continue };
            let key: Box<str> = held.node.creator.as_str().into();
            let owner = match (home_of(home), owners.get(&key)) {
                (Home::Account, _) => Caller::new(home.into()),
                (Home::Service, Some(known)) if self.owns(&held, known).await? => known.clone(),
                (Home::Service, _) => self.an_owner(&held).await?,
            };
            owners.insert(key, owner.clone());
            made.push(self.make(home, &owner, Request::Delete { node: (*name).into(), redirect: None }).await?);
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn settle_all(&self, home: &BareJid, made: Vec<Made>) {
        for made in made {
            self.settle(home, made).await;
        }
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
        let mut after = None;
        loop {
            let listed = self.nodes.affiliations(held, after.as_ref(), PAGE).await?;
            if let Some((bare, _)) = listed.iter().find(|(_, affiliation)| *affiliation == Affiliation::Owner) {
                return Ok(Caller::new(Jid::from(bare)));
            }
            match listed.into_iter().next_back() {
                Some((last, _)) => after = Some(last),
                None => return Err(Refusal::Forbidden.into()),
            }
        }
    }
}
