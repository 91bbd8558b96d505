//! Service discovery of accounts, services and their nodes (XEP-0060 sections 5.1 to 5.5, XEP-0163 section 7).

use std::sync::Arc;

use pubsub::access::may_see;
use pubsub::config::AccessModel;
use pubsub::profile::public::is_guarded;
use pubsub::request::Relation;
use pubsub::wire::lists;
use pubsub::{Caller, Home, Limits, Refusal, Request};
use store::Fault;
use xmpp::form::{Field, FieldType, Form, FormType};
use xmpp::paging::{Page, Query, Start};
use xmpp::{BareJid, Element, StanzaError};

use super::extended::Extended;
use super::serve::Failure;
use super::types::Types;
use super::{Pep, feeds, home_of};
use crate::extension::{self, BoxFuture, fault};
use crate::extensions::timeline::Timeline;
use crate::tables::nodes::Held;

/// Nodes looked at for one answer, whether they may be seen or not.
const NODES_READ_MAX: usize = 2_000;

impl extension::Discoverable for PepHandle {
    fn may_discover(&self, caller: extension::Caller, account: BareJid) -> BoxFuture<Result<(), StanzaError>> {
        let pep = Arc::clone(&self.0);
        Box::pin(async move { pep.may_discover(&Caller::new(caller.jid), &account).await })
    }

    fn info(
        &self,
        caller: extension::Caller,
        account: BareJid,
        node: Box<str>,
    ) -> BoxFuture<Result<Vec<Element>, StanzaError>> {
        let pep = Arc::clone(&self.0);
        if *node == *xmpp::ns::TIMELINE && caller.owns(&account) {
            return Box::pin(async move { Ok(Timeline::information()) });
        }
        if *node == *xmpp::ns::DIRECTORY && pep.hosting.keeps_tags(&account) {
            return Box::pin(async move { Ok(feeds::information()) });
        }
        let request = pep.as_kept(&account, Request::NodeInformation { node: (*node).into() });
        Box::pin(async move {
            let caller = Caller::new(caller.jid);
            pep.require_notified(&account, &caller, &request).await?;
            let mut information = pep.discover(&caller, &account, &request).await?;
            if *node == *xmpp::ns::NOTIFICATIONS && caller.bare == account {
                information.push(pep.unread_form(&account).await?);
            }
            Ok(information)
        })
    }

    fn items(
        &self,
        caller: extension::Caller,
        account: BareJid,
        node: Option<Box<str>>,
        query: Element,
    ) -> BoxFuture<Result<Vec<Element>, StanzaError>> {
        let pep = Arc::clone(&self.0);
        Box::pin(async move {
            let caller = Caller::new(caller.jid);
            let page = Query::parse(&query)
                .map_err(|bad| StanzaError::bad_request().with_text(bad.to_string()))?
                .unwrap_or_default();
            let extended = Extended::parse(&query)?;
            let Some(node) = node else {
                pep.may_discover(&caller, &account).await?;
                let types = Types::parse(&query)?;
                if let Some(wanted) = extended {
                    return Ok(pep.nodes_described(&account, &caller, &wanted, (&page, &types)).await?);
                }
                let (nodes, set) = pep.nodes_seen(&account, &caller, &page, &types).await?;
                let rows = nodes.iter().map(|held| (&*held.node.name, held.node.config.title.as_deref()));
                return opened(&lists::nodes(&account, rows, set.as_ref()));
            };
            if *node == *xmpp::ns::DIRECTORY && pep.hosting.keeps_tags(&account) {
                return pep.feeds(&caller, &account, &page).await;
            }
            let request = pep.as_kept(&account, Request::NodeItems { node: (*node).into(), page: page.clone() });
            if let (Some(wanted), Some(node)) = (extended, request.node()) {
                pep.require_together(&account, &caller.bare, &request).await?;
                return pep.around(&account, &caller, node, &wanted, &page).await;
            }
            pep.discover(&caller, &account, &request).await
        })
    }
}

/// What the discovery extension is given.
pub(super) struct PepHandle(pub(super) Arc<Pep>);

impl Pep {
    /// Who may know that an account exists: itself, who sees its presence, and anyone if it has something to show to
    /// anyone. To others it is as if there were none (RFC 6121 section 8.5.1).
    async fn may_discover(&self, caller: &Caller, account: &BareJid) -> Result<(), StanzaError> {
        if home_of(account) == Home::Service {
            return Ok(());
        }
        let hidden = StanzaError::service_unavailable;
        if !self.accounts.exists(account).await.map_err(|error| fault("accounts", &error))? {
            return Err(hidden());
        }
        if caller.bare == *account {
            return Ok(());
        }
        let relation = self.contacts.relation(account, &caller.bare).await.map_err(|error| fault("rosters", &error))?;
        if relation.sees_presence {
            return Ok(());
        }
        let one = Query { max: Some(1), ..Query::default() };
        let seen = self.nodes_seen(account, caller, &one, &Types::ALL).await;
        match seen {
            Ok((nodes, _)) if !nodes.is_empty() => Ok(()),
            Ok(_) => Err(hidden()),
            Err(failure) => Err(failure.into()),
        }
    }

    /// The children of the answer to a disco query.
    async fn discover(
        &self,
        caller: &Caller,
        account: &BareJid,
        request: &Request,
    ) -> Result<Vec<Element>, StanzaError> {
        self.require_together(account, &caller.bare, request).await?;
        let Some(query) = self.read(account, caller, request).await? else { return Ok(Vec::new()) };
        opened(&query)
    }

    /// The nodes of an account or service that the caller may know of, in the order of their names.
    pub(super) async fn nodes_seen(
        &self,
        account: &BareJid,
        caller: &Caller,
        query: &Query,
        types: &Types,
    ) -> Result<(Vec<Held>, Option<Page>), Failure> {
        let size = query.size(usize::try_from(self.limits.page_items_max).unwrap_or(usize::MAX));
        let mut after: Option<Box<str>> = match query.start() {
            Start::First => None,
            Start::After(name) => Some(self.onward.name(account, name).ok_or(Refusal::ItemNotFound)?),
            Start::Before(_) | Start::Last | Start::Index(_) => return Err(Refusal::Unsupported("rsm").into()),
        };
        // Looked up once, whether or not a node asks for it.
        let relation = self.relation(account, &caller.bare).await?;
        let mut seen = Vec::new();
        let mut read = 0;
        let mut is_complete = false;
        while seen.len() < size && read < NODES_READ_MAX && !is_complete {
            let page = self.listed_nodes(account, after.as_deref(), 200).await?;
            is_complete = page.len() < 200;
            for held in page {
                read += 1;
                after = Some(Box::from(&*held.node.name));
                if types.has(held.node.config.payload_type.as_deref())
                    && self.is_seen(account, caller, &held, &relation).await?
                {
                    seen.push(held);
                }
                if seen.len() == size {
                    is_complete = false;
                    break;
                }
            }
            tokio::task::yield_now().await;
        }
        let is_page = *query != Query::default() || !is_complete;
        // Where nothing was found so far, it goes on behind what was looked at, which is not named.
        let looked_at = after.filter(|_| seen.is_empty() && !is_complete && size > 0);
        let onward = looked_at.map(|name| self.onward.mark(self.ids.as_ref(), account, &name));
        let set = is_page.then(|| Page {
            first: seen.first().map(|held| held.node.name.to_string()).or_else(|| onward.clone()),
            last: seen.last().map(|held| held.node.name.to_string()).or(onward),
            index: None,
            count: None,
        });
        Ok((seen, set))
    }

    async fn is_seen(
        &self,
        account: &BareJid,
        caller: &Caller,
        held: &Held,
        relation: &Relation,
    ) -> Result<bool, Fault> {
        let is_watched =
            is_guarded(&held.node.name) || held.node.config.parent.is_some() || held.node.config.link.is_some();
        let guarded = match is_watched {
            true => self.nodes.held(&self.nodes.entry(account, &held.node.name)).await?,
            false => None,
        };
        if guarded.is_none() && is_watched {
            return Ok(false);
        }
        let held = guarded.as_deref().unwrap_or(held);
        let config = &held.node.config;
        if caller.bare == *account
            || config.access_model == AccessModel::Open && held.node.tally.affiliations == 0 && !held.is_watched()
        {
            return Ok(true);
        }
        self.nodes.passes(account, held, &caller.bare, relation, may_see).await
    }
}

/// The children of an answer that is written already.
fn opened(query: &[u8]) -> Result<Vec<Element>, StanzaError> {
    let query = xmpp::xml::parse_element(query, "").map_err(|_| StanzaError::internal_server_error())?;
    Ok(query.children().cloned().collect())
}

/// What publishers should know beforehand, as a form of the domain's disco#info (XEP-0128).
pub(super) fn limits_form(limits: &Limits, guests_items_per_minute_max: u64) -> Element {
    let field = |var: &str, value: u64| Field::new(var, FieldType::TextSingle).value(value.to_string());
    Form::typed(FormType::Result, "urn:chirrup:pubsub:limits:0")
        .with(field("payload_bytes_max", limits.payload_bytes_max))
        .with(field("items_per_node_max", limits.items_per_node_max))
        .with(field("page_items_max", limits.page_items_max))
        .with(field("guests_items_per_minute_max", guests_items_per_minute_max))
        .to_element()
}
