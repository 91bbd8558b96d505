//! Telling those whose subscriptions reach further than the node they are to (XEP-0497).
//!
//! They are found from the node that something happened in: its own, then those of the node it is linked to, then those
//! of each node above it. Each address is told once. Who is told may read the node and everything above it, and the node
//! it is subscribed to.

use pubsub::access::may_read;
use pubsub::extended::Place;
use pubsub::request::Relation;
use pubsub::{Audience, Home, Notice};
use store::Fault;
use xmpp::Jid;

use super::audience::Variants;
use super::{Job, STRIDE, Telling};
use crate::router::Router;
use crate::tables::nodes::{Held, Lookout};

impl Telling {
    /// Tells who has extended subscriptions to the node, or to one that it is or was related to.
    pub(super) async fn tell_extended(&self, router: &Router, job: &Job, before: &Held, notice: &Notice) {
        let mut variants = Variants::new(self, router, job, notice);
        if job.held.node.tally.extended > 0 {
            let here = Lookout { held: job.held.clone(), place: Place::Here };
            self.tell_lookout(router, &mut variants, &here).await;
        }
        self.tell_lookouts(router, &mut variants, &job.held).await;
        // Where it has gone from (section 4.2.2).
        self.tell_lookouts(router, &mut variants, before).await;
        variants.finish();
    }

    /// Tells those who see the node, as it is related in `held`, from another.
    pub(super) async fn tell_lookouts(&self, router: &Router, variants: &mut Variants<'_>, held: &Held) {
        for lookout in held.lookouts() {
            self.tell_lookout(router, variants, &lookout).await;
        }
    }

    async fn tell_lookout(&self, router: &Router, variants: &mut Variants<'_>, lookout: &Lookout) {
        let mut from = None;
        loop {
            let told = match self.nodes.extended(&lookout.held.number, from.as_ref(), STRIDE).await {
                Ok((page, next)) => {
                    from = next;
                    self.tell_page(router, variants, &page, Some(lookout)).await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = told {
                let entry = &variants.job.entry;
                tracing::error!(%error, home = %entry.home, node = %entry.name, "extended subscribers cannot be read");
                return;
            }
            if from.is_none() {
                return;
            }
        }
    }

    /// Whether an address that sees the node from another may be told, and is not told anyway.
    pub(super) async fn is_new_to(
        &self,
        router: &Router,
        variants: &Variants<'_>,
        lookout: &Lookout,
        to: &Jid,
    ) -> Result<bool, Fault> {
        let (job, bare) = (variants.job, to.to_bare());
        let is_told = match variants.notice.audience {
            Audience::Extended => variants.told.get(bare.as_str()).is_some_and(|told| told.contains(to)),
            _ => self.told_explicitly(router, variants, &bare).await?.contains(to),
        };
        if is_told {
            return Ok(false);
        }
        let home = &job.entry.home;
        let relation = match job.home {
            Home::Account if bare != *home => self.contacts.relation(home, &bare).await?,
            Home::Account | Home::Service => Relation::default(),
        };
        let nodes = &self.nodes;
        Ok(nodes.passes(home, &job.held, &bare, &relation, may_read).await?
            && (lookout.place == Place::Here || nodes.lets(home, &lookout.held, &bare, &relation, may_read).await?))
    }
}
