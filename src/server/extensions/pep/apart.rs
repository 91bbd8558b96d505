//! Blocking (XEP-0191) where who blocks is not the one addressed: in the nodes that an account has in a service, and
//! among what several people publish in one node. It holds in both directions, as between two accounts.

use std::sync::Arc;

use pubsub::{Item, Refusal, Request};
use store::Fault;
use xmpp::{BareJid, Jid, StanzaError};

use super::{Pep, home_of};
use crate::extension::fault;
use crate::extensions::blocking::blocked;

/// Who of two blocks the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Apart {
    /// The first.
    Itself,
    /// The second.
    Other,
}

impl Pep {
    /// Whether one of two blocks the other, as far as they are accounts here.
    async fn apart(&self, one: &BareJid, other: &BareJid) -> Result<Option<Apart>, Fault> {
        if one == other {
            return Ok(None);
        }
        let blocks = self.timeline.blocks();
        let is_here = |jid: &BareJid| jid.localpart().is_some() && self.serves(jid);
        if is_here(one) && blocks.is_blocked(one, &Jid::from(other)).await? {
            return Ok(Some(Apart::Itself));
        }
        if is_here(other) && blocks.is_blocked(other, &Jid::from(one)).await? {
            return Ok(Some(Apart::Other));
        }
        Ok(None)
    }

    /// Whether one of two blocks the other.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn are_apart(&self, one: &BareJid, other: &BareJid) -> Result<bool, Fault> {
        Ok(self.apart(one, other).await?.is_some())
    }

    /// Refuses `caller` what is asked of a node of somebody whom it blocks, or who blocks it, as if it were asked of
    /// their account.
    pub(super) async fn require_together(
        &self,
        home: &BareJid,
        caller: &BareJid,
        request: &Request,
    ) -> Result<(), StanzaError> {
        // Who has blocked may leave.
        let (Some(node), false) = (request.node(), matches!(request, Request::Unsubscribe { .. })) else {
            return Ok(());
        };
        let whose = match home_of(home) {
            pubsub::Home::Account => Some(home.clone()),
            pubsub::Home::Service => {
                let held = self.nodes.held(&self.nodes.entry(home, node)).await;
                held.map_err(|error| fault("nodes", &error))?.map(|held| held.node.creator.clone())
            }
        };
        let Some(whose) = whose else { return Ok(()) };
        match self.apart(caller, &whose).await.map_err(|error| fault("blocklists", &error))? {
            None => Ok(()),
            Some(Apart::Itself) => Err(blocked()),
            Some(Apart::Other) if home == &whose => Err(StanzaError::service_unavailable()),
            Some(Apart::Other) => Err(Refusal::Forbidden.to_error()),
        }
    }

    /// Leaves out what was published by those whom `reader` blocks, or who block it.
    pub(super) async fn shown_to(
        &self,
        reader: &BareJid,
        home: &BareJid,
        items: Vec<Arc<Item>>,
    ) -> Result<Vec<Arc<Item>>, Fault> {
        let mut known: Vec<(BareJid, bool)> = Vec::new();
        let mut shown = Vec::with_capacity(items.len());
        for item in items {
            let publisher = &item.publisher;
            if publisher != home {
                let is_apart = match known.iter().find(|(jid, _)| jid == publisher) {
                    Some((_, is_apart)) => *is_apart,
                    None => {
                        let is_apart = self.are_apart(reader, publisher).await?;
                        known.push((publisher.clone(), is_apart));
                        is_apart
                    }
                };
                if is_apart {
                    continue;
                }
            }
            shown.push(item);
        }
        Ok(shown)
    }
}
