//! Attaching to an item, and taking it back: the attachment node, the summary, the heart among the comments.

use std::sync::Arc;

use bytes::Bytes;
use pubsub::decide::{create_kept, drop_kept, resummarize};
use pubsub::profile::attachments::{Attached, Summary, node_of, summary_of, target};
use pubsub::profile::likes::{comments_of, heart};
use pubsub::profile::tags::is_tag;
use pubsub::profile::uri::Place;
use pubsub::request::{NewItem, NewPayload};
use pubsub::{Caller, Item, Refusal, Request, decide};
use store::{Batch, Fault};
use xmpp::{BareJid, Jid};

use super::super::ensemble::{Ensemble, lock};
use super::super::serve::{ATTEMPTS, Changed, Failure};
use super::super::{Pep, step};
use super::{Attempt, contended, settled, told};
use crate::tables::nodes::{Entry, Held, Nodes};

/// An item that things are attached to.
pub(super) struct Target {
    /// Where its node is.
    pub(super) entry: Arc<Entry>,
    /// Its node.
    pub(super) held: Arc<Held>,
    /// The item.
    pub(super) item: Arc<Item>,
}

impl Target {
    /// The name of the node of what is attached to it.
    pub(super) fn attachments(&self) -> String {
        node_of(&self.entry.home, &self.entry.name, &self.item.id)
    }
}

impl Pep {
    /// Publishes to an attachment node, or retracts from one.
    pub(super) async fn attach(&self, home: &BareJid, caller: &Caller, request: &Request) -> Result<Changed, Failure> {
        let name = request.node().ok_or(Refusal::NodeIdRequired)?;
        let (node, item) = target(home, name).ok_or(Refusal::ItemNotFound)?;
        // What is attached is attached to the post, and not to a copy of it.
        if is_tag(&node) && self.hosting.keeps_tags(home) {
            return Err(Refusal::ItemNotFound.into());
        }
        for _ in 0..ATTEMPTS {
            let attempt = self.try_attach(home, (&node, &item), caller, request).await?;
            if let Some(changed) = settled(attempt).await? {
                return Ok(changed);
            }
        }
        Err(contended())
    }

    async fn try_attach(
        &self,
        home: &BareJid,
        (node, item): (&str, &str),
        caller: &Caller,
        request: &Request,
    ) -> Attempt {
        let entry = self.nodes.entry(home, node);
        let held = self.nodes.held(&entry).await?.ok_or(Refusal::ItemNotFound)?;
        // Who may not read the node learns nothing of its items.
        if matches!(request, Request::Publish { .. }) {
            self.require_reading(&entry, &held, caller).await?;
        }
        let item = self.live_item(&entry, &held, item).await?.ok_or(Refusal::ItemNotFound)?;
        let target = Target { entry, held, item };
        let comments = match comments_of(&target.item.payload) {
            Some(place) if self.are_comments_of(&place, &target.item.publisher).await? => Some(place),
            _ => None,
        };
        let (attachments, summary) = (target.attachments(), summary_of(node));
        let mut names = vec![(home, &*attachments), (home, &*summary)];
        names.extend(comments.as_ref().map(|place| (&place.service, &*place.node)));
        let entries = self.entries(names);
        let turnstiles = lock(&entries).await;
        let mut ensemble = Ensemble::load(self, &entries).await?;
        let Some(at) = ensemble.place(home, &attachments) else { return Ok(None) };
        if !self.prepare(&mut ensemble, at, &target, matches!(request, Request::Publish { .. })).await? {
            return Ok(None);
        }
        let (person, after) = match request {
            Request::Publish { item: Some(NewItem { payload: NewPayload::One { bytes, .. }, .. }), .. } => {
                (caller.bare.clone(), Attached::stored(bytes))
            }
            Request::Retract { id, .. } => (BareJid::new(id).map_err(|_| Refusal::ItemNotFound)?, Attached::default()),
            _ => (caller.bare.clone(), Attached::default()),
        };
        let before = self.attached(&ensemble, at, &person).await?;
        let reply = ensemble.decide(at, caller, request).await?;
        self.sum_up(&mut ensemble, &target, &before, &after).await?;
        let mut batch = Batch::new();
        self.note_attached(&mut batch, &person, &target, &after);
        if let Some(place) = comments.filter(|_| before.noticed != after.noticed) {
            self.say_heart(&mut ensemble, &mut batch, &place, &person, after.noticed).await?;
        }
        let Some((receipt, goes)) = ensemble.commit(batch).await? else { return Ok(None) };
        drop(turnstiles);
        Ok(Some((receipt, told(reply, goes))))
    }

    /// Notes where an account here has attached something: it goes with the account.
    pub(super) fn note_attached(&self, batch: &mut Batch, person: &BareJid, target: &Target, what: &Attached) {
        if person.localpart().is_some() && self.serves(person) {
            let is_attached = what.noticed || !what.reactions.is_empty();
            Nodes::set_attached(batch, person, &target.entry.home, &target.attachments(), is_attached);
        }
    }

    /// Takes back whatever an account that is removed has attached, wherever that is here.
    pub(in crate::extensions::pep) async fn detach_all(&self, person: &BareJid) -> Result<(), Failure> {
        let own = Caller::new(Jid::from(person));
        let mut last = None;
        loop {
            let page = self.nodes.attached_by(person, last.as_ref(), 100).await?;
            let mut batch = Batch::new();
            for (home, node) in &page {
                let request = Request::Retract { node: (&**node).into(), id: person.as_str().into(), notify: true };
                match self.take_back(home, &own, request).await {
                    Err(Failure::Fault(error)) => return Err(error.into()),
                    // The post is gone, and with it what was attached.
                    Ok(()) | Err(Failure::Refused(_)) => Nodes::set_attached(&mut batch, person, home, node, false),
                }
            }
            self.nodes.note_attached(batch).await.map_err(super::super::serve::broken)?;
            last = page.last().cloned();
            if page.len() < 100 {
                return Ok(());
            }
        }
    }

    /// Refuses who may not read a node.
    pub(super) async fn require_reading(&self, entry: &Entry, held: &Held, caller: &Caller) -> Result<(), Failure> {
        let request = Request::NodeItems { node: held.node.name.clone(), page: xmpp::paging::Query::default() };
        let view = self.view(entry, Some(held), &request, caller).await?;
        decide(&view, caller, &request, self.now())?;
        Ok(())
    }

    /// Has the attachment node of `target` there, with its turnstile held. Whether everything is as it was: the item is
    /// still there, and the node is about this item, and not about one of its name that went long ago.
    pub(super) async fn prepare(
        &self,
        ensemble: &mut Ensemble<'_>,
        at: usize,
        target: &Target,
        may_create: bool,
    ) -> Result<bool, Failure> {
        let Some(held) = self.nodes.held(&target.entry).await? else { return Err(Refusal::ItemNotFound.into()) };
        let head = self.nodes.item_head(&target.entry, &held, &target.item.id).await?;
        let head = head.ok_or(Refusal::ItemNotFound)?;
        match ensemble.node(at) {
            Some(node) if node.created < head.published => {
                let decision = drop_kept(node);
                let entry = self.nodes.entry(&target.entry.home, &target.attachments());
                let Some(stale) = ensemble.held(at).cloned() else { return Ok(false) };
                // Not together with what is asked: a name is not given up and taken in one step.
                self.carry_out(&entry, &stale, decision).await.map_err(super::super::serve::broken)?;
                Ok(false)
            }
            Some(_) => Ok(true),
            None if may_create => {
                let node = create_kept(&held.node, &target.attachments(), &self.limits, ensemble.now());
                ensemble.create(at, node, &held);
                Ok(true)
            }
            None => Err(Refusal::ItemNotFound.into()),
        }
    }

    /// What a person has attached so far, as far as it counts.
    pub(super) async fn attached(
        &self,
        ensemble: &Ensemble<'_>,
        at: usize,
        person: &BareJid,
    ) -> Result<Attached, Fault> {
        let payload = self.attachment(ensemble, at, person).await?;
        Ok(payload.map(|payload| Attached::stored(&payload)).unwrap_or_default())
    }

    /// The payload of what a person has attached so far.
    pub(super) async fn attachment(
        &self,
        ensemble: &Ensemble<'_>,
        at: usize,
        person: &BareJid,
    ) -> Result<Option<Bytes>, Fault> {
        let Some(held) = ensemble.held(at).filter(|held| held.node.tally.items > 0) else { return Ok(None) };
        Ok(self.nodes.item(held, person.as_str()).await?.map(|item| item.payload))
    }

    /// Puts a change of what somebody attached into the summary, which is made if there is none.
    pub(super) async fn sum_up(
        &self,
        ensemble: &mut Ensemble<'_>,
        target: &Target,
        before: &Attached,
        after: &Attached,
    ) -> Result<(), Failure> {
        let (home, id) = (&target.entry.home, &*target.item.id);
        let name = summary_of(&target.entry.name);
        let Some(at) = ensemble.place(home, &name) else { return Ok(()) };
        let previous = match ensemble.held(at) {
            Some(held) => self.item_in(&self.nodes.entry(home, &name), held, id).await?,
            None => None,
        };
        let mut summary = previous.as_ref().map(|item| Summary::parse(&item.payload)).unwrap_or_default();
        if !summary.change(before, after)? {
            return Ok(());
        }
        if ensemble.node(at).is_none() {
            let node = create_kept(&target.held.node, &name, &self.limits, ensemble.now());
            ensemble.create(at, node, &target.held);
        }
        let Some(node) = ensemble.node(at) else { return Ok(()) };
        let head = previous.map(|item| item.head());
        let is_told = self.storms.is_calm(home, &name, id);
        let decision = resummarize(node, id, head.as_ref(), summary.write(), home, ensemble.now(), is_told);
        ensemble.note(at, decision);
        Ok(())
    }

    /// Whether a node is where the comments on posts of `author` are: the author made it.
    pub(super) async fn are_comments_of(&self, place: &Place, author: &BareJid) -> Result<bool, Fault> {
        if !self.serves(&place.service) {
            return Ok(false);
        }
        let held = self.nodes.held(&self.nodes.entry(&place.service, &place.node)).await?;
        Ok(held.is_some_and(|held| held.node.creator == *author))
    }

    /// Says among the comments what somebody attached, or takes it back there. Where that somebody may not comment,
    /// nothing is said.
    async fn say_heart(
        &self,
        ensemble: &mut Ensemble<'_>,
        batch: &mut Batch,
        place: &Place,
        person: &BareJid,
        noticed: bool,
    ) -> Result<(), Failure> {
        let Some(at) = ensemble.place(&place.service, &place.node) else { return Ok(()) };
        let Some(held) = ensemble.held(at).cloned() else { return Ok(()) };
        let caller = Caller::new(Jid::from(person));
        let current = self.nodes.heart(&held.number, person).await?;
        let (request, id) = match (current, noticed) {
            (None, true) => {
                let id = self.ids.id();
                let item = Place { item: Some((&*id).into()), ..place.clone() };
                let entry = heart(person, &item, ensemble.now());
                (step::publish(&place.node, &id, &entry, None), Some(id))
            }
            (Some(id), false) => (Request::Retract { node: held.node.name.clone(), id, notify: true }, None),
            _ => return Ok(()),
        };
        match ensemble.decide(at, &caller, &request).await {
            Err(Failure::Refused(_)) if noticed => return Ok(()),
            Err(Failure::Fault(error)) => return Err(error.into()),
            _ => {}
        }
        Nodes::set_heart(batch, &held.number, person, id.as_deref());
        Ok(())
    }
}
