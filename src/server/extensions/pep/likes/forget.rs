//! What is attached goes with what it is attached to: with an item that is retracted, expires or makes room, and with
//! its node.
//!
//! An item and its part of the summary go in one step. Attachment nodes of many items go one after the other; until
//! then nobody sees them, since their access is that of a node that is not there.

use pubsub::config::Bound;
use pubsub::decide::{drop_kept, forget};
use pubsub::profile::attachments::{node_of, nodes_of, summary_of};
use pubsub::profile::public::subscribers_of;
use pubsub::profile::uri::Place;
use pubsub::{Caller, Request};
use store::{Batch, Fault};
use xmpp::BareJid;

use super::super::Pep;
use super::super::ensemble::{Ensemble, lock};
use super::super::serve::{ATTEMPTS, Changed, Failure, broken};
use super::{Attempt, contended, settled, told};

/// Nodes or items looked at before others have their turn.
const PAGE: usize = 200;

impl Pep {
    /// Retracts an item, and what is attached to it.
    pub(super) async fn retract(&self, home: &BareJid, caller: &Caller, request: Request) -> Result<Changed, Failure> {
        let Request::Retract { node, id, .. } = &request else { return self.change(home, caller, request).await };
        let entry = self.nodes.entry(home, node);
        let Some(held) = self.nodes.held(&entry).await? else { return self.change(home, caller, request).await };
        let item = self.item_in(&entry, &held, id).await?;
        let mut batch = Batch::new();
        if let Some(item) = &item {
            let place = Place { service: home.clone(), node: Box::from(&**node), item: Some(id.clone()) };
            self.unlink(&mut batch, item, &place).await?;
        }
        if batch.is_empty() && !self.has_summary(home, node).await? {
            return self.change(home, caller, request).await;
        }
        for _ in 0..ATTEMPTS {
            let attempt = self.try_retract(home, (node, id), caller, &request, batch.clone()).await?;
            if let Some(changed) = settled(attempt).await? {
                return Ok(changed);
            }
        }
        Err(contended())
    }

    async fn try_retract(
        &self,
        home: &BareJid,
        (node, id): (&str, &str),
        caller: &Caller,
        request: &Request,
        batch: Batch,
    ) -> Attempt {
        let (attachments, summary) = (node_of(home, node, id), summary_of(node));
        let entries = self.entries([(home, node), (home, &*attachments), (home, &*summary)]);
        let turnstiles = lock(&entries).await;
        let mut ensemble = Ensemble::load(self, &entries).await?;
        let Some(at) = ensemble.place(home, node) else { return Ok(None) };
        let reply = ensemble.decide(at, caller, request).await?;
        self.let_go(&mut ensemble, home, &attachments, &summary, id).await?;
        let Some((receipt, goes)) = ensemble.commit(batch).await? else { return Ok(None) };
        drop(turnstiles);
        Ok(Some((receipt, told(reply, goes))))
    }

    /// Drops the attachment node of an item, and the item's place in the summary.
    async fn let_go(
        &self,
        ensemble: &mut Ensemble<'_>,
        home: &BareJid,
        attachments: &str,
        summary: &str,
        id: &str,
    ) -> Result<(), Fault> {
        if let Some(at) = ensemble.place(home, attachments)
            && let Some(decision) = ensemble.node(at).map(drop_kept)
        {
            ensemble.note(at, decision);
        }
        if let Some(at) = ensemble.place(home, summary)
            && let Some(held) = ensemble.held(at).cloned()
            && let Some(head) = self.nodes.item_head(&self.nodes.entry(home, summary), &held, id).await?
        {
            ensemble.note(at, forget(&held.node, &head));
        }
        Ok(())
    }

    /// Drops what is attached to an item that is gone.
    pub(in crate::extensions::pep) async fn forget_item(
        &self,
        home: &BareJid,
        node: &str,
        id: &str,
    ) -> Result<(), Failure> {
        if !self.has_summary(home, node).await? {
            return Ok(());
        }
        let (attachments, summary) = (node_of(home, node, id), summary_of(node));
        for _ in 0..ATTEMPTS {
            let entries = self.entries([(home, node), (home, &*attachments), (home, &*summary)]);
            let _turnstiles = lock(&entries).await;
            let mut ensemble = Ensemble::load(self, &entries).await?;
            if let Some(held) = ensemble.place(home, node).and_then(|at| ensemble.held(at))
                && self.nodes.item_head(&self.nodes.entry(home, node), held, id).await?.is_some()
            {
                // It has come back.
                return Ok(());
            }
            self.let_go(&mut ensemble, home, &attachments, &summary, id).await?;
            if ensemble.commit(Batch::new()).await?.is_some() {
                return Ok(());
            }
        }
        Err(Fault::new("a summary was changed by somebody else again and again").into())
    }

    /// The item that the next one published pushes out, if anything may be attached to it.
    pub(super) async fn next_to_go(&self, home: &BareJid, node: &str) -> Result<Option<Box<str>>, Fault> {
        let Some(held) = self.nodes.held(&self.nodes.entry(home, node)).await? else { return Ok(None) };
        let is_full = matches!(held.node.config.max_items, Bound::At(max) if held.node.tally.items >= max);
        if !is_full || !self.has_summary(home, node).await? {
            return Ok(None);
        }
        Ok(self.nodes.oldest(&held).await?.map(|head| head.id))
    }

    /// Publishes an ordinary item, and drops what is attached to the one it pushes out.
    pub(super) async fn publish_and_trim(
        &self,
        home: &BareJid,
        caller: &Caller,
        request: Request,
    ) -> Result<Changed, Failure> {
        let Some(node) = request.node().cloned() else { return self.change(home, caller, request).await };
        let trimmed = self.next_to_go(home, &node).await?;
        let changed = self.change(home, caller, request).await?;
        if let Some(id) = trimmed {
            self.forget_item(home, &node, &id).await?;
        }
        Ok(changed)
    }

    /// Purges or deletes a node, and what is attached to its items; with a node that is deleted goes the list of its public
    /// subscribers.
    pub(super) async fn empty(&self, home: &BareJid, caller: &Caller, request: Request) -> Result<Changed, Failure> {
        let Some(node) = request.node().cloned() else { return self.change(home, caller, request).await };
        let list = self.list_to_go(home, &request).await?;
        if list.is_none() && !self.has_summary(home, &node).await? {
            return self.change(home, caller, request).await;
        }
        for _ in 0..ATTEMPTS {
            let attempt = self.try_empty(home, (&node, list.as_deref()), caller, &request).await?;
            let Some(changed) = settled(attempt).await? else { continue };
            self.sweep(home, &node).await?;
            return Ok(changed);
        }
        Err(contended())
    }

    /// The list of the public subscribers of a node that is to be deleted, if there is one.
    async fn list_to_go(&self, home: &BareJid, request: &Request) -> Result<Option<String>, Fault> {
        let Request::Delete { node, .. } = request else { return Ok(None) };
        let Some(list) = subscribers_of(node) else { return Ok(None) };
        Ok(self.nodes.stored(&self.nodes.entry(home, &list)).await?.map(|_| list))
    }

    async fn try_empty(
        &self,
        home: &BareJid,
        (node, list): (&str, Option<&str>),
        caller: &Caller,
        request: &Request,
    ) -> Attempt {
        let summary = summary_of(node);
        let kept = [Some(&*summary), list];
        let names = kept.into_iter().flatten().chain([node]);
        let entries = self.entries(names.map(|name| (home, name)));
        let turnstiles = lock(&entries).await;
        let mut ensemble = Ensemble::load(self, &entries).await?;
        let Some(at) = ensemble.place(home, node) else { return Ok(None) };
        let reply = ensemble.decide(at, caller, request).await?;
        for name in kept.into_iter().flatten() {
            if let Some(at) = ensemble.place(home, name)
                && let Some(decision) = ensemble.node(at).map(drop_kept)
            {
                ensemble.note(at, decision);
            }
        }
        let Some((receipt, goes)) = ensemble.commit(Batch::new()).await? else { return Ok(None) };
        drop(turnstiles);
        Ok(Some((receipt, told(reply, goes))))
    }

    /// Drops the attachment nodes of all items of a node.
    async fn sweep(&self, home: &BareJid, node: &str) -> Result<(), Failure> {
        let prefix = nodes_of(home, node);
        let mut after: Box<str> = Box::from(&*prefix);
        loop {
            let page = self.nodes.of_home(home, Some(&after), PAGE).await?;
            let mut is_over = page.len() < PAGE;
            for held in &page {
                is_over |= !held.node.name.starts_with(&prefix);
                if is_over && !held.node.name.starts_with(&prefix) {
                    break;
                }
                after = Box::from(&*held.node.name);
                self.drop_node(home, &held.node.name).await?;
            }
            if is_over {
                return Ok(());
            }
        }
    }

    /// Drops a node that the service keeps.
    pub(in crate::extensions::pep) async fn drop_node(&self, home: &BareJid, name: &str) -> Result<(), Failure> {
        let entry = self.nodes.entry(home, name);
        let _turnstile = entry.turnstile.lock().await;
        let Some(held) = self.nodes.stored(&entry).await? else { return Ok(()) };
        let decision = drop_kept(&held.node);
        Ok(self.carry_out(&entry, &held, decision).await.map_err(broken)?)
    }

    /// Drops what is attached to items that are no longer there, after a change that may have taken many.
    pub(super) async fn settle_likes(&self, home: &BareJid, node: &str) -> Result<(), Failure> {
        let entry = self.nodes.entry(home, node);
        let summary = self.nodes.entry(home, &summary_of(node));
        let mut after = 0;
        loop {
            let Some(held) = self.nodes.held(&entry).await? else { return Ok(()) };
            let Some(sums) = self.nodes.held(&summary).await? else { return Ok(()) };
            let page = self.nodes.items(&sums, after, None, false, store::Page::rows(PAGE)).await?;
            for item in &page {
                after = item.sequence;
                if self.nodes.item_head(&entry, &held, &item.id).await?.is_none() {
                    self.forget_item(home, node, &item.id).await?;
                }
            }
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }

    /// The nodes of a home that follow `after`, without those kept for single items: there may be as many as items.
    pub(in crate::extensions::pep) async fn listed_nodes(
        &self,
        home: &BareJid,
        after: Option<&str>,
        rows_max: usize,
    ) -> Result<Vec<crate::tables::nodes::Held>, Fault> {
        use pubsub::profile::attachments::{PREFIX, is_attachments};
        let mut page = self.nodes.of_home(home, after, rows_max).await?;
        if let Some(at) = page.iter().position(|held| is_attachments(&held.node.name)) {
            page.truncate(at);
            // The last name there could be with that beginning.
            let end = format!("{PREFIX}\u{10ffff}");
            let rest = rows_max.saturating_sub(page.len());
            page.extend(self.nodes.of_home(home, Some(&end), rest).await?);
        }
        Ok(page)
    }

    /// What expired is gone, and what was attached to it.
    pub(in crate::extensions::pep) async fn forget_expired(&self, home: &BareJid, node: &str, ids: Vec<Box<str>>) {
        for id in ids {
            if let Err(error) = self.forget_item(home, node, &id).await {
                tracing::error!(?error, %home, node, "what was attached to an expired item remains");
            }
        }
    }
}
