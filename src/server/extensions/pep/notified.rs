//! The node of what concerns an account, `urn:chirrup:notifications:0`, as its owner meets it: read, and cleared, but
//! written by the server alone. What is in it is the affair of the extension `notifications`.

use std::sync::Arc;

use pubsub::profile::NOTIFICATIONS_MAX;
use pubsub::profile::attachments::{Attached, Summary, node_of, summary_of};
use pubsub::profile::microblog::date;
use pubsub::profile::uri::Place;
use pubsub::{Caller, Item, Refusal, Request, Timestamp};
use store::Fault;
use xmpp::form::{Field, FieldType, Form, FormType};
use xmpp::{BareJid, Element, StanzaError, ns};

use super::Pep;
use super::serve::Failure;
use crate::extension::fault;

impl Pep {
    /// Refuses what must not be done to the node, and has it there for who asks what is in it.
    pub(super) async fn require_notified(
        &self,
        home: &BareJid,
        caller: &Caller,
        request: &Request,
    ) -> Result<(), StanzaError> {
        if request.node().is_none_or(|node| &**node != ns::NOTIFICATIONS) || home.localpart().is_none() {
            return Ok(());
        }
        if caller.bare != *home {
            return Err(Refusal::ItemNotFound.to_error());
        }
        match request {
            Request::Items { .. }
            | Request::NodeInformation { .. }
            | Request::Subscribe { .. }
            | Request::Retract { .. }
            | Request::Purge { .. } => {
                let request = Request::Create { node: Some(ns::NOTIFICATIONS.into()), config: None };
                if self.nodes.held(&self.nodes.entry(home, ns::NOTIFICATIONS)).await.is_ok_and(|held| held.is_none())
                    && let Err(Failure::Fault(error)) = self.do_change(home, caller, request).await
                {
                    return Err(Failure::Fault(error).into());
                }
                Ok(())
            }
            _ if request.is_change()
                && !matches!(request, Request::Unsubscribe { .. } | Request::SetOptions { .. }) =>
            {
                Err(Refusal::Forbidden.to_error())
            }
            _ => Ok(()),
        }
    }

    /// How many entries the account has not read, as a form of the node's disco#info: those that have changed since what it
    /// says it has read.
    pub(super) async fn unread_form(&self, account: &BareJid) -> Result<Element, StanzaError> {
        let broken = |error: Fault| fault("notifications", &error);
        let read = self.item_of(account, ns::NOTIFICATIONS_READ, "current").await.map_err(broken)?;
        let read = read.and_then(|item| {
            let read = xmpp::xml::parse_element(&item.payload, "").ok()?;
            Timestamp::parse(read.attr("stamp")?)
        });
        let entries_max = usize::try_from(NOTIFICATIONS_MAX).unwrap_or(usize::MAX);
        let entries = self.newest_of(account, ns::NOTIFICATIONS, entries_max).await.map_err(broken)?;
        let is_unread = |item: &&Arc<Item>| read.is_none_or(|read| updated(item) > read);
        let unread = entries.iter().filter(is_unread).count();
        let field = Field::new("unread", FieldType::TextSingle).value(unread.to_string());
        Ok(Form::typed(FormType::Result, ns::NOTIFICATIONS).with(field).to_element())
    }

    /// How many notice an item, and who attached something to it lately, the newest last, with what and when; `None`
    /// where nobody ever did.
    ///
    /// # Errors
    /// When the store fails.
    pub(in crate::extensions) async fn attached_to(
        &self,
        place: &Place,
        people_max: usize,
    ) -> Result<Option<(u64, Vec<(BareJid, pubsub::Timestamp, Attached)>)>, Fault> {
        let Some(id) = &place.item else { return Ok(None) };
        let node = node_of(&place.service, &place.node, id);
        if self.nodes.held(&self.nodes.entry(&place.service, &node)).await?.is_none() {
            return Ok(None);
        }
        let newest = self.newest_of(&place.service, &node, people_max).await?;
        let people = newest.iter().map(|item| (item.publisher.clone(), item.updated, Attached::stored(&item.payload)));
        let people = people.filter(|(_, _, what)| what.noticed || !what.reactions.is_empty()).collect();
        let summary = self.item_of(&place.service, &summary_of(&place.node), id).await?;
        let noticed = summary.map_or(0, |item: Arc<pubsub::Item>| Summary::parse(&item.payload).noticed);
        Ok(Some((noticed, people)))
    }
}

/// When an entry says that it was changed last, which is what clients say that they have read.
fn updated(item: &Item) -> Timestamp {
    date(&item.payload).and_then(Timestamp::parse).unwrap_or(item.updated)
}
