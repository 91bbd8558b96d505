//! IQs: to the one handler that is mounted for them, or to the resource they name (RFC 6120 section 8.2.3,
//! RFC 6121 section 8.5).

use std::sync::Arc;

use xmpp::stanza::IqType;
use xmpp::{BareJid, Stanza, StanzaError, ns};

use super::Router;
use super::classify::Destination;
use crate::extension::{Asked, Caller, Direction, IqHandler, Reply, To};
use crate::runtime::survive;

impl Router {
    /// Routes an IQ of type `type_`; `from` is proven.
    pub(super) async fn iq(&self, caller: Caller, type_: IqType, destination: Destination, stanza: Stanza) {
        if self.is_misaddressed(&caller, type_, &destination, &stanza) {
            return self.bounce(&stanza, &StanzaError::forbidden()).await;
        }
        let (at, entity) = match destination {
            Destination::Remote(domain) => {
                if type_ == IqType::Set
                    && let Some(events) = &self.wiring().events
                    && stanza.content.has("pubsub", ns::PUBSUB)
                    && let Err(error) = events.departs(&stanza).await
                {
                    return self.bounce(&stanza, &error).await;
                }
                return self.relay(&domain, stanza).await;
            }
            Destination::Resource(full) => {
                if let Some(from) = &stanza.head.from
                    && let Err(error) = self.guard(Direction::Inbound, full.as_bare_str(), from, &stanza).await
                {
                    return self.bounce(&stanza, &error).await;
                }
                if matches!(type_, IqType::Result | IqType::Error)
                    && caller.session.is_none()
                    && let Some(events) = &self.wiring().events
                {
                    events.answered(&stanza).await;
                }
                return match self.sessions.find(&full) {
                    Some(session) if session.deliver(stanza.render()) => {}
                    _ => self.bounce(&stanza, &StanzaError::service_unavailable()).await,
                };
            }
            Destination::Domain(domain) => (To::DOMAIN, domain),
            Destination::Service(service) => (To::SERVICE, service),
            Destination::Account(account) => (To::ACCOUNT, account),
        };
        if matches!(type_, IqType::Result | IqType::Error) {
            // An answer is for whoever asked. If that is nobody, it is dropped (RFC 6120 section 8.2.3).
            let id = stanza.head.id.clone();
            if let Some(id) = id {
                self.answered(&caller, &id, stanza);
            }
            return;
        }
        if at == To::ACCOUNT
            && !caller.owns(&entity)
            && let Err(error) = self.guard(Direction::Inbound, entity.as_str(), &caller.jid, &stanza).await
        {
            return self.bounce(&stanza, &error).await;
        }
        if at != To::SERVICE
            && let Some(delegate) = &self.wiring().delegate
            && let Some(forwarding) = delegate.forward(&caller, &entity, &stanza)
        {
            return forwarding.await;
        }
        self.handle(at, type_, caller, entity, stanza).await;
    }

    /// Whether a component uses a privilege over somebody who is no account: what is asked in an account's name goes to
    /// its bare address, and "the server MUST refuse the request" otherwise (XEP-0356 section 6.3).
    fn is_misaddressed(&self, caller: &Caller, type_: IqType, destination: &Destination, stanza: &Stanza) -> bool {
        matches!(type_, IqType::Get | IqType::Set)
            && !matches!(destination, Destination::Account(_))
            && stanza.content.has("privileged_iq", ns::PRIVILEGE)
            && caller.session.is_none()
            && self.is_component(caller.jid.domain())
            && self.wiring().handler(To::ACCOUNT, type_, "privileged_iq", ns::PRIVILEGE).is_some()
    }

    fn answered(&self, caller: &Caller, id: &str, stanza: Stanza) {
        self.awaiting.answer(&caller.jid, id, stanza);
    }

    /// The handler for an IQ, or how to refuse it.
    fn handler(&self, at: To, type_: IqType, stanza: &Stanza) -> Result<IqHandler, StanzaError> {
        let mut children = stanza.content.children();
        // A get or set has exactly one child (RFC 6120 section 8.2.3).
        let (Some(payload), None) = (children.next(), children.next()) else {
            return Err(StanzaError::bad_request());
        };
        let wiring = self.wiring();
        match wiring.handler(at, type_, payload.name(), payload.ns()) {
            Some(handler) => Ok(Arc::clone(handler)),
            None if wiring.answers_otherwise(at, type_, payload.name(), payload.ns()) => {
                Err(StanzaError::bad_request())
            }
            None => Err(StanzaError::service_unavailable()),
        }
    }

    async fn handle(&self, at: To, type_: IqType, caller: Caller, entity: BareJid, stanza: Stanza) {
        let head = stanza.head.clone();
        let found = self.handler(at, type_, &stanza);
        let session = caller.session.clone();
        let answer = match (found, Asked::new(caller, entity, stanza)) {
            (Ok(handler), Some(asked)) => survive(handler(asked)).await.unwrap_or_else(|| {
                tracing::error!("a handler panicked; its caller was told internal-server-error");
                Err(StanzaError::internal_server_error())
            }),
            (Err(error), _) => Err(error),
            (Ok(_), None) => Err(StanzaError::bad_request()),
        };
        let reply = match answer {
            Ok(Reply::Empty) => Some(Stanza::iq_result(&head, None)),
            Ok(Reply::Element(element)) => Some(Stanza::iq_result(&head, Some(&element))),
            Ok(Reply::Bytes { name, ns, bytes }) => Some(Stanza::iq_result_bytes(&head, name, ns, &bytes)),
            Ok(Reply::Sent) => None,
            Err(error) => Stanza::error_reply(&head, None, &error),
        };
        let Some(reply) = reply else { return };
        match session {
            Some(session) => {
                session.deliver(reply.render());
            }
            None => self.answer(reply).await,
        }
    }
}
