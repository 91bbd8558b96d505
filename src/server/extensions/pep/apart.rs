//! Blocking (XEP-0191) where who blocks is not the one addressed: in the nodes that an account has in a service, and
//! among what several people publish in one node. It holds in both directions, as between two accounts.

use std::sync::Arc;

use pubsub::{Home, Item, Refusal, Request};
use store::Fault;
use xmpp::{BareJid, StanzaError};

use super::{Pep, home_of};
use crate::extension::fault;
use crate::extensions::blocking::blocked;
use crate::extensions::blocking::blocks::Apart;
use crate::tables::nodes::Held;

impl Pep {
    /// Refuses `caller` what is asked of a node of somebody whom it blocks, or who blocks it, as if it were asked of
    /// their account. Gives back the node if that is not the caller's home and it was looked up: to find out whose it
    /// is, or for who asks next what a guest may publish there.
    pub(super) async fn require_together(
        &self,
        home: &BareJid,
        caller: &BareJid,
        request: &Request,
    ) -> Result<Option<Arc<Held>>, StanzaError> {
        let Some(node) = request.node().filter(|_| caller != home) else { return Ok(None) };
        let held = match home_of(home) == Home::Service || matches!(request, Request::Publish { .. }) {
            true => self.nodes.held(&self.nodes.entry(home, node)).await.map_err(|error| fault("nodes", &error))?,
            false => None,
        };
        let whose = match (home_of(home), &held) {
            // Who has blocked may leave.
            _ if matches!(request, Request::Unsubscribe { .. }) => return Ok(held),
            (Home::Account, _) => home,
            (Home::Service, Some(held)) => &held.node.creator,
            (Home::Service, None) => return Ok(None),
        };
        match self.timeline.blocks().apart(caller, whose).await.map_err(|error| fault("blocklists", &error))? {
            None => Ok(held),
            Some(Apart::Itself) => Err(blocked()),
            Some(Apart::Other) if home == whose => Err(StanzaError::service_unavailable()),
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
                        let is_apart = self.timeline.blocks().are_apart(reader, publisher).await?;
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
