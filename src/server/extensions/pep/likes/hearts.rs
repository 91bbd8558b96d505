//! Likes that come as comments: a heart among the comments of a post is attached to the post, and taken from it with the
//! comment. Everybody has one; a second takes the place of the first.

use std::sync::Arc;

use pubsub::profile::attachments::{Attached, summary_of, with_noticed};
use pubsub::profile::likes::{comments_of, is_heart};
use pubsub::profile::uri::Place;
use pubsub::request::{NewItem, NewPayload};
use pubsub::{Caller, Request};
use store::{Batch, Fault};
use xmpp::{BareJid, Jid};

use super::super::ensemble::{Ensemble, lock};
use super::super::serve::{ATTEMPTS, Changed, Failure};
use super::super::{Pep, step};
use super::attach::Target;
use super::{Attempt, contended, settled, told};
use crate::tables::nodes::{Held, Nodes};

/// What a change to comments means for a like.
struct Meaning {
    /// Whose like.
    person: BareJid,
    /// Where it was until now.
    before: Option<Box<str>>,
    /// Where it is from now on; `None` when it is taken back.
    after: Option<Box<str>>,
}

impl Pep {
    /// Publishes to the comments of a post, or retracts from them.
    pub(super) async fn comment(&self, home: &BareJid, caller: &Caller, request: Request) -> Result<Changed, Failure> {
        let mut request = request;
        if let Request::Publish { item: Some(item), .. } = &mut request
            && item.id.is_none()
            && matches!(&item.payload, NewPayload::One { bytes, .. } if is_heart(bytes))
        {
            // The like must be found again.
            item.id = Some(self.ids.id().into());
        }
        let name = request.node().cloned().unwrap_or_else(|| "".into());
        let entry = self.nodes.entry(home, &name);
        let Some(held) = self.nodes.held(&entry).await? else { return self.change(home, caller, request).await };
        if self.meaning(&held, caller, &request).await?.is_none() {
            return self.change(home, caller, request).await;
        }
        for _ in 0..ATTEMPTS {
            let attempt = self.try_like(home, &name, caller, &request).await?;
            if let Some(changed) = settled(attempt).await? {
                return Ok(changed);
            }
        }
        Err(contended())
    }

    /// Whether a change to comments is about a like.
    async fn meaning(&self, held: &Held, caller: &Caller, request: &Request) -> Result<Option<Meaning>, Fault> {
        let (person, id, is_like) = match request {
            Request::Publish { item: Some(NewItem { id, payload: NewPayload::One { bytes, .. } }), .. } => {
                (caller.bare.clone(), id.as_deref(), is_heart(bytes))
            }
            Request::Retract { id, .. } => {
                let Some(item) = self.nodes.item(held, id).await? else { return Ok(None) };
                (item.publisher, Some(&**id), false)
            }
            _ => return Ok(None),
        };
        let before = self.nodes.heart(&held.number, &person).await?;
        let after = id.filter(|_| is_like).map(Into::into);
        let concerns = is_like || before.is_some() && before.as_deref() == id;
        Ok(concerns.then_some(Meaning { person, before, after }))
    }

    async fn try_like(&self, home: &BareJid, name: &str, caller: &Caller, request: &Request) -> Attempt {
        let comments = Place { service: home.clone(), node: name.into(), item: None };
        let held = self.nodes.held(&self.nodes.entry(home, name)).await?;
        let target = match held {
            Some(held) => self.commented(&comments, &held.node.creator).await?,
            None => None,
        };
        let others = target.as_ref().map(|target| (target.attachments(), summary_of(&target.entry.name)));
        let mut names = vec![(home, name)];
        if let (Some(target), Some((attachments, summary))) = (&target, &others) {
            names.extend([(&target.entry.home, &**attachments), (&target.entry.home, &**summary)]);
        }
        let entries = self.entries(names);
        let turnstiles = lock(&entries).await;
        let mut ensemble = Ensemble::load(self, &entries).await?;
        let Some(at) = ensemble.place(home, name) else { return Ok(None) };
        let Some(held) = ensemble.held(at).cloned() else { return Ok(None) };
        let reply = ensemble.decide(at, caller, request).await?;
        let mut batch = Batch::new();
        if let Some(Meaning { person, before, after }) = self.meaning(&held, caller, request).await? {
            let own = Caller::new(Jid::from(&person));
            if let (Some(before), Some(_)) = (before.filter(|before| Some(before) != after.as_ref()), &after) {
                let request = Request::Retract { node: held.node.name.clone(), id: before, notify: true };
                match ensemble.decide(at, &own, &request).await {
                    Err(Failure::Fault(error)) => return Err(error.into()),
                    _gone_already => {}
                }
            }
            Nodes::set_heart(&mut batch, &held.number, &person, after.as_deref());
            if let Some(target) = &target {
                self.notice(&mut ensemble, &mut batch, target, &own, after.is_some()).await?;
            }
        }
        let Some((receipt, goes)) = ensemble.commit(batch).await? else { return Ok(None) };
        drop(turnstiles);
        Ok(Some((receipt, told(reply, goes))))
    }

    /// The post of `author` whose comments are there, if it is ours and says so itself.
    async fn commented(&self, comments: &Place, author: &BareJid) -> Result<Option<Target>, Fault> {
        let Some(post) = self.nodes.commented_post(comments, author).await? else { return Ok(None) };
        let Some(id) = post.item else { return Ok(None) };
        let entry = self.nodes.entry(&post.service, &post.node);
        let Some(held) = self.nodes.held(&entry).await? else { return Ok(None) };
        let Some(item) = self.live_item(&entry, &held, &id).await? else { return Ok(None) };
        let says_so = comments_of(&item.payload).is_some_and(|place| place == *comments);
        Ok((says_so && item.publisher == *author).then_some(Target { entry, held, item }))
    }

    /// Attaches to a post that somebody notices it, or takes that back. Not where that somebody may not read the post.
    async fn notice(
        &self,
        ensemble: &mut Ensemble<'_>,
        batch: &mut Batch,
        target: &Target,
        person: &Caller,
        noticed: bool,
    ) -> Result<(), Failure> {
        let name = target.attachments();
        let Some(at) = ensemble.place(&target.entry.home, &name) else { return Ok(()) };
        if ensemble.node(at).is_none() && !noticed {
            return Ok(());
        }
        if noticed && self.require_reading(&target.entry, &target.held, person).await.is_err() {
            return Ok(());
        }
        match self.prepare(ensemble, at, target, noticed).await {
            Ok(true) => {}
            // The post is gone, or what is attached is about one that went before: the comment is all there is.
            Ok(false) | Err(Failure::Refused(_)) => return Ok(()),
            Err(error) => return Err(error),
        }
        let payload = self.attachment(ensemble, at, &person.bare).await?;
        let before = payload.as_deref().map(Attached::stored).unwrap_or_default();
        if before.noticed == noticed {
            return Ok(());
        }
        let element = with_noticed(payload.as_deref(), noticed, &ensemble.now().to_string());
        let request = match &element {
            Some(element) => step::publish(&name, person.bare.as_str(), element, None),
            None => Request::Retract { node: (*name).into(), id: person.bare.as_str().into(), notify: true },
        };
        match ensemble.decide(at, person, &request).await {
            Ok(_) => {}
            Err(Failure::Refused(_)) => return Ok(()),
            Err(error) => return Err(error),
        }
        let after = Attached { noticed, reactions: before.reactions.clone() };
        self.note_attached(batch, &person.bare, target, &after);
        self.sum_up(ensemble, target, &before, &after).await
    }

    /// Publishes a post that says where its comments are, and remembers that.
    pub(super) async fn post(
        &self,
        home: &BareJid,
        caller: &Caller,
        request: &Request,
        comments: &Place,
    ) -> Result<Changed, Failure> {
        let mut request = request.clone();
        if let Request::Publish { item: Some(item), .. } = &mut request
            && item.id.is_none()
        {
            item.id = Some(self.ids.id().into());
        }
        let Request::Publish { node, item: Some(NewItem { id: Some(id), .. }), .. } = &request else {
            return self.change(home, caller, request).await;
        };
        let post = Place { service: home.clone(), node: Box::from(&**node), item: Some(id.clone()) };
        let trimmed = self.next_to_go(home, node).await?;
        let mut batch = Batch::new();
        Nodes::set_commented_post(&mut batch, comments, &caller.bare, Some(&post));
        for _ in 0..ATTEMPTS {
            let attempt = self.try_post(home, node, caller, &request, batch.clone()).await?;
            let Some(changed) = settled(attempt).await? else { continue };
            if let Some(id) = trimmed {
                self.forget_item(home, node, &id).await?;
            }
            return Ok(changed);
        }
        Err(contended())
    }

    async fn try_post(&self, home: &BareJid, node: &str, caller: &Caller, request: &Request, batch: Batch) -> Attempt {
        let entries = self.entries([(home, node)]);
        let turnstiles = lock(&entries).await;
        let mut ensemble = Ensemble::load(self, &entries).await?;
        let Some(at) = ensemble.place(home, node) else { return Ok(None) };
        let reply = ensemble.decide(at, caller, request).await?;
        let (is_new, before) = (ensemble.is_new(at), ensemble.replaced(at).await?);
        let Some((receipt, goes)) = ensemble.commit(batch).await? else { return Ok(None) };
        drop(turnstiles);
        Ok(Some((receipt, Changed { is_new, before, ..told(reply, goes) })))
    }

    /// Has a retracted post forgotten as one that has comments there.
    pub(super) async fn unlink(&self, batch: &mut Batch, post: &Arc<pubsub::Item>, at: &Place) -> Result<(), Fault> {
        let Some(comments) = comments_of(&post.payload) else { return Ok(()) };
        if self.nodes.commented_post(&comments, &post.publisher).await?.as_ref() == Some(at) {
            Nodes::set_commented_post(batch, &comments, &post.publisher, None);
        }
        Ok(())
    }
}
