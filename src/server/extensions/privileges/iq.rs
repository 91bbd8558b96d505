//! IQs in the names of accounts (XEP-0356 section 6).

use std::sync::Arc;

use xmpp::stanza::{IqType, Kind};
use xmpp::{Jid, Stanza, StanzaError, ns};

use super::{Privileges, parsed};
use crate::extension::{Answer, Asked, Caller, Reply};

impl Privileges {
    /// Asks what a component wants asked in an account's name; the answer is forwarded when it comes.
    pub(super) async fn privileged_iq(self: Arc<Self>, asked: Asked) -> Answer {
        let router = self.router.upgrade().ok_or_else(StanzaError::internal_server_error)?;
        let mut inner = self.encapsulated(&asked).await?;
        let account = asked.to.clone();
        let own_id = inner.head.id.take().unwrap_or_default();
        inner.head.from = Some(account.clone().into());
        // What has no `to` is for the account itself (RFC 6120 section 10.3).
        let to = inner.head.to.get_or_insert_with(|| account.clone().into()).clone();
        let head = asked.stanza.head.clone();
        let then_router = Arc::downgrade(&router);
        let then = move |answer: Option<Stanza>| {
            let Some(router) = then_router.upgrade() else { return };
            let reply = match answer {
                Some(answer) => {
                    Some(Stanza::iq_result_bytes(&head, "privilege", ns::PRIVILEGE, &wrapped(answer, &own_id)))
                }
                None => Stanza::error_reply(&head, None, &StanzaError::remote_server_timeout()),
            };
            if let Some(reply) = reply {
                router.give_back(reply);
            }
        };
        let caller = Caller { jid: account.into(), session: None };
        router.ask_as(caller, to, inner, Box::new(then)).await;
        Ok(Reply::Sent)
    }

    /// The IQ inside, if everything about it is permitted; `forbidden` in all the cases section 6.3 lists.
    async fn encapsulated(&self, asked: &Asked) -> Result<Stanza, StanzaError> {
        let privileged = self.of(&asked.caller.jid, &asked.to).filter(|_| asked.caller.session.is_none());
        let privileged = privileged.ok_or_else(StanzaError::forbidden)?;
        if !asked.stanza.head.to.as_ref().is_some_and(|to| to.is_bare() && to.localpart().is_some()) {
            return Err(StanzaError::forbidden());
        }
        self.require_account(&asked.to).await?;
        let request = asked.open()?;
        let mut children = request.children();
        let (Some(iq), None) = (children.next(), children.next()) else { return Err(StanzaError::bad_request()) };
        if !iq.is("iq", ns::CLIENT) {
            return Err(StanzaError::forbidden());
        }
        let inner = parsed(iq)?;
        let is_set = match inner.head.kind {
            Kind::Iq(IqType::Get) => false,
            Kind::Iq(IqType::Set) => true,
            _ => return Err(StanzaError::forbidden()),
        };
        let is_own = |from: &Jid| from.is_bare() && from.to_bare() == asked.to;
        let payload = inner.content.children().next().ok_or_else(StanzaError::bad_request)?;
        let permits =
            privileged.rules.iq.iter().any(|rule| rule.namespace == payload.ns() && rule.access.permits(is_set));
        let is_permitted =
            permits && inner.head.kind == asked.stanza.head.kind && inner.head.from.as_ref().is_none_or(is_own);
        if is_permitted { Ok(inner) } else { Err(StanzaError::forbidden()) }
    }
}

/// An answer as it is forwarded, under the identifier the component gave to its question.
fn wrapped(mut answer: Stanza, own_id: &str) -> Vec<u8> {
    answer.head.id = Some(own_id.into());
    let mut out =
        ["<privilege xmlns='", ns::PRIVILEGE, "'><forwarded xmlns='", ns::FORWARD, "'>"].concat().into_bytes();
    answer.render_alone_into(&mut out, ns::CLIENT);
    out.extend_from_slice(b"</forwarded></privilege>");
    out
}
