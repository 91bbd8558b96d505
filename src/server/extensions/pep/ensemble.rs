//! Several nodes that change together: all of it, or nothing.
//!
//! Who needs several turnstiles takes them in one order ([`Pep::entries`]), so nobody waits for another in a circle.
//! Each node may pass through several decisions, each of which sees what the one before made of the node, though not of
//! its items.

use std::sync::Arc;

use pubsub::profile::attachments::is_kept;
use pubsub::{Caller, Change, Decision, Item, Node, Notice, Reply, Request, Timestamp, decide};
use store::{Batch, CommitError, Fault, Receipt};
use tokio::sync::{MutexGuard, oneshot};
use xmpp::BareJid;

use super::serve::{Failure, broken, is_new};
use super::{Pep, home_of};

use crate::fanout::Job;
use crate::tables::nodes::{Entry, Held, Number, Step};
use crate::tables::timeline::Reservation;

/// A node on its way through several decisions.
struct Part<'a> {
    entry: &'a Arc<Entry>,
    /// As it is stored, if it is.
    held: Option<Arc<Held>>,
    /// What is loaded from when a request is decided: the node, or the one that is about to be.
    basis: Option<Arc<Held>>,
    node: Option<Node>,
    number: Number,
    changes: Vec<Change>,
    notices: Vec<Notice>,
}

/// The nodes.
pub(super) struct Ensemble<'a> {
    pep: &'a Pep,
    parts: Vec<Part<'a>>,
    /// When all of it happens: given under the turnstiles, so that the items of a node are in order of time.
    reservation: Reservation,
}

/// Waits for the turnstiles of all entries, which are in the order of [`Pep::entries`].
pub(super) async fn lock(entries: &[Arc<Entry>]) -> Vec<MutexGuard<'_, ()>> {
    let mut turnstiles = Vec::with_capacity(entries.len());
    for entry in entries {
        turnstiles.push(entry.turnstile.lock().await);
    }
    turnstiles
}

impl Pep {
    /// The entries of these nodes, each once, in the order in which turnstiles are taken.
    pub(super) fn entries<'a>(&self, names: impl IntoIterator<Item = (&'a BareJid, &'a str)>) -> Vec<Arc<Entry>> {
        let mut names: Vec<(&BareJid, &str)> = names.into_iter().collect();
        names.sort_unstable_by_key(|(home, name)| (home.as_str(), *name));
        names.dedup();
        names.into_iter().map(|(home, name)| self.nodes.entry(home, name)).collect()
    }
}

impl<'a> Ensemble<'a> {
    /// The nodes as they are. Their turnstiles are held.
    pub(super) async fn load(pep: &'a Pep, entries: &'a [Arc<Entry>]) -> Result<Self, Fault> {
        let mut parts = Vec::with_capacity(entries.len());
        for entry in entries {
            let held = pep.nodes.held(entry).await?;
            let node = held.as_ref().map(|held| held.node.clone());
            let mut number = Number::default();
            pep.ids.fill(&mut number);
            let basis = held.clone();
            parts.push(Part { entry, held, basis, node, number, changes: Vec::new(), notices: Vec::new() });
        }
        let reservation = pep.timeline.feeder().reserve().await?;
        Ok(Self { pep, parts, reservation })
    }

    /// The time at which all of it happens.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp(self.reservation.time())
    }

    /// Where a node is among them.
    pub(super) fn place(&self, home: &BareJid, name: &str) -> Option<usize> {
        self.parts.iter().position(|part| part.entry.home == *home && *part.entry.name == *name)
    }

    /// The home of a node among them.
    pub(super) fn home(&self, at: usize) -> Option<&BareJid> {
        Some(&self.parts.get(at)?.entry.home)
    }

    /// The node as it is stored, or as it will be where it was [`Ensemble::create`]d.
    pub(super) fn held(&self, at: usize) -> Option<&Arc<Held>> {
        self.parts.get(at)?.basis.as_ref()
    }

    /// The node as the decisions so far left it.
    pub(super) fn node(&self, at: usize) -> Option<&Node> {
        self.parts.get(at)?.node.as_ref()
    }

    /// Whether the item that was decided to be put into a node is a new one; `None` where none is.
    pub(super) fn is_new(&self, at: usize) -> Option<bool> {
        is_new(&self.parts.get(at)?.changes)
    }

    /// The version that such an item replaces, in a feed.
    pub(super) async fn replaced(&self, at: usize) -> Result<Option<Arc<Item>>, Fault> {
        match self.parts.get(at) {
            Some(Part { entry, held: Some(held), changes, .. }) => self.pep.replaced(entry, held, changes).await,
            _ => Ok(None),
        }
    }

    /// Makes a node that `guard` decides about.
    pub(super) fn create(&mut self, at: usize, node: Node, guard: &Held) {
        if let Some(part) = self.parts.get_mut(at) {
            part.basis = Some(Held::coming(node.clone(), part.number, guard));
            part.changes.push(Change::CreateNode(node.clone()));
            part.node = Some(node);
        }
    }

    /// Decides a request about a node.
    pub(super) async fn decide(&mut self, at: usize, caller: &Caller, request: &Request) -> Result<Reply, Failure> {
        let Some(part) = self.parts.get(at) else { return Err(Fault::new("a node is missing").into()) };
        let mut view = self.pep.view(part.entry, part.basis.as_deref(), request, caller).await?;
        view.node.clone_from(&part.node);
        let decision = decide(&view, caller, request, self.now())?;
        Ok(self.note(at, decision))
    }

    /// Takes a decision in: what the next one about the node must know of it, and what is to be done.
    pub(super) fn note(&mut self, at: usize, decision: Decision) -> Reply {
        let Some(part) = self.parts.get_mut(at) else { return decision.reply };
        for change in &decision.changes {
            match (change, &mut part.node) {
                (Change::CreateNode(node), _) => part.node = Some(node.clone()),
                (Change::DeleteNode, _) => part.node = None,
                (Change::Tally(tally), Some(node)) => node.tally = *tally,
                (Change::Configure(config), Some(node)) => node.config = Arc::new(config.clone()),
                _ => {}
            }
        }
        part.changes.extend(decision.changes);
        part.notices.extend(decision.notices);
        decision.reply
    }

    /// Commits everything together with `batch`, and queues what is to be told. `None` when somebody else was first.
    pub(super) async fn commit(self, batch: Batch) -> Result<Option<(Receipt, Vec<oneshot::Sender<bool>>)>, Failure> {
        let (changed, others): (Vec<Part<'_>>, Vec<Part<'_>>) =
            self.parts.into_iter().partition(|part| !part.changes.is_empty());
        let steps: Vec<Step<'_>> = changed.iter().map(Part::step).collect();
        let committed = self.pep.nodes.commit_together(&steps, batch, self.pep.clock.now()).await;
        let (receipt, after) = match committed {
            Ok(committed) => committed,
            Err(CommitError::Conflict(_)) => return Ok(None),
            Err(error) => return Err(broken(error).into()),
        };
        // What is kept about items is not news of its own: it is in nobody's timeline.
        let feeder = self.pep.timeline.feeder();
        let posts = changed.iter().zip(&after).filter(|(part, _)| !is_kept(&part.entry.name));
        let landing: Vec<_> = posts
            .filter_map(|(part, after)| Some(feeder.landing(part.entry, after.as_ref()?, &part.changes)))
            .collect();
        drop(self.reservation);
        for jobs in landing {
            feeder.write(jobs).await;
        }
        let mut goes = Vec::new();
        let unchanged = others.into_iter().map(|part| (part, None));
        for (part, after) in changed.into_iter().zip(after).chain(unchanged) {
            let Some(held) = after.or(part.held).filter(|_| !part.notices.is_empty()) else { continue };
            let (go, gone) = oneshot::channel();
            let (entry, home) = (Arc::clone(part.entry), home_of(&part.entry.home));
            self.pep.fanout.queue(Job { entry, held, home, notices: part.notices, go: gone }).await;
            goes.push(go);
        }
        Ok(Some((receipt, goes)))
    }
}

impl Part<'_> {
    fn step(&self) -> Step<'_> {
        let Self { entry, held, number, changes, .. } = self;
        Step { entry, held: held.as_deref(), changes, number: *number }
    }
}
