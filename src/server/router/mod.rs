//! Where stanzas go: classify, guard, then hand to the rules or to the one handler.
//!
//! Everything here runs inside the task of whoever sent the stanza, so one sender's stanzas are handled in the
//! order they came (RFC 6120 section 10.1) without a queue to guarantee it.

pub mod awaiting;
pub mod bundle;
pub mod classify;
mod dispatch;
pub mod road;
pub mod rules;
mod turns;

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, OnceLock};

use xmpp::stanza::{IqType, Kind, MessageType};
use xmpp::stream::Condition;
use xmpp::{BareJid, Jid, Stanza, StanzaError, ns};

use self::awaiting::{Awaiting, Then};
use self::bundle::Reach;
use self::classify::{Destination, classify};
use self::road::Road;
use self::turns::Turns;
use crate::extension::{Caller, Direction, DomainMessageHandler, Listener, Wiring};
use crate::runtime::{Clock, Ids};
use crate::session::Session;
use crate::session::Sessions;
use crate::session::interest::Interests;
use crate::session::mailbox::Frame;
use crate::session::remotes::Remotes;

/// The routing half of the house: who is here, what is wired, what is asked.
pub struct Router {
    /// Who is here.
    pub sessions: Sessions,
    /// What kinds of clients want to be told.
    pub interests: Interests,
    /// Who is there on other servers.
    pub remotes: Remotes,
    /// Which other servers spread one stanza to many themselves.
    pub(crate) reach: Arc<Reach>,
    turns: Turns,
    hosts: HashSet<Box<str>>,
    wiring: OnceLock<Wiring>,
    /// Domains of components, and the way to them.
    gate: OnceLock<Gate>,
    road: OnceLock<Arc<dyn Road>>,
    /// Taken instead of `road`, if there is one.
    detour: OnceLock<Arc<dyn Road>>,
    awaiting: Awaiting,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
}

/// The way to domains that programs beside this server serve.
struct Gate {
    domains: BTreeSet<Box<str>>,
    road: Arc<dyn Road>,
}

/// Seconds an entity has to answer a question of the house.
const ANSWER_SECONDS: u64 = 30;

impl Router {
    /// A router for `hosts`, not wired yet.
    #[must_use]
    pub fn new(
        hosts: impl IntoIterator<Item = Box<str>>,
        sessions: Sessions,
        interests: Interests,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Self {
        Self {
            sessions,
            interests,
            remotes: Remotes::default(),
            reach: Arc::default(),
            turns: Turns::default(),
            hosts: hosts.into_iter().collect(),
            wiring: OnceLock::new(),
            gate: OnceLock::new(),
            road: OnceLock::new(),
            detour: OnceLock::new(),
            awaiting: Awaiting::default(),
            clock,
            ids,
        }
    }

    /// Freezes the wiring. Only the first call has an effect; it comes before the first stream.
    pub fn wire(&self, wiring: Wiring) {
        let _already_wired = self.wiring.set(wiring);
    }

    /// What is mounted.
    pub fn wiring(&self) -> &Wiring {
        self.wiring.get_or_init(Wiring::default)
    }

    /// Opens the way to the components that serve `domains`. To this house they are remote; the world finds them here.
    /// Only the first call has an effect.
    pub fn open_gate(&self, domains: BTreeSet<Box<str>>, road: Arc<dyn Road>) {
        let _already_open = self.gate.set(Gate { domains, road });
    }

    /// The domains of components.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.gate.get().into_iter().flat_map(|gate| &gate.domains).map(AsRef::as_ref)
    }

    /// Whether `domain` is a component's.
    #[must_use]
    pub fn is_component(&self, domain: &str) -> bool {
        self.gate.get().is_some_and(|gate| gate.domains.contains(domain))
    }

    /// Whether this house speaks for `domain` towards other servers: it serves it, or a component does.
    #[must_use]
    pub fn speaks_for(&self, domain: &str) -> bool {
        self.serves(domain) || self.is_component(domain)
    }

    /// Opens the way to other servers. Only the first call has an effect.
    pub fn open_road(&self, road: Arc<dyn Road>) {
        let _already_open = self.road.set(road);
    }

    /// Opens a way that is taken instead of the road, also when that is open already: for a stage on which several
    /// houses are joined without streams. Only the first call has an effect.
    pub fn open_detour(&self, road: Arc<dyn Road>) {
        let _already_open = self.detour.set(road);
    }

    /// Whether this house serves `domain`, as a host or as a service of one.
    #[must_use]
    pub fn serves(&self, domain: &str) -> bool {
        self.hosts.contains(domain) || self.is_service(domain)
    }

    /// The domains served: hosts, which have accounts, and from the wiring on their services, which have none.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        let services = self.wiring.get().into_iter().flat_map(|wiring| wiring.services.keys());
        self.hosts.iter().chain(services).map(AsRef::as_ref)
    }

    /// Whether `domain` is a service of one of the hosts.
    #[must_use]
    pub fn is_service(&self, domain: &str) -> bool {
        // Asked before the wiring, there is none; asking must not freeze it.
        self.wiring.get().is_some_and(|wiring| wiring.services.contains_key(domain))
    }

    /// Whom `to` names.
    #[must_use]
    pub fn classify(&self, to: &Jid) -> Destination {
        classify(to, &self.hosts, |domain| self.is_service(domain))
    }

    /// Tells every listener of a moment, in order.
    pub async fn tell<'a>(&'a self, mut moment: impl FnMut(&'a dyn Listener) -> crate::extension::Pending<()>) {
        for listener in &self.wiring().listeners {
            moment(listener.as_ref()).await;
        }
    }

    /// Handles a stanza that a local session sent. `from` is overwritten with the truth (RFC 6120 section 8.1.2.1).
    pub async fn from_session(&self, session: &Arc<Session>, mut stanza: Stanza) {
        stanza.head.from = Some(session.jid.clone().into());
        if let Kind::Presence(_) = stanza.head.kind {
            match &self.wiring().presences {
                Some(rules) => rules.outbound(Arc::clone(session), stanza).await,
                None => self.bounce(&stanza, &StanzaError::service_unavailable()).await,
            }
            return;
        }
        if let Some(to) = &stanza.head.to
            && let Err(error) = self.guard(Direction::Outbound, session.jid.as_bare_str(), to, &stanza).await
        {
            self.bounce(&stanza, &error).await;
            return;
        }
        let caller = Caller { jid: session.jid.clone().into(), session: Some(Arc::clone(session)) };
        self.route(caller, stanza).await;
    }

    /// Routes a message or IQ whose `from` is proven. Presence goes through [`Router::presence_to`].
    pub async fn route(&self, caller: Caller, mut stanza: Stanza) {
        let destination = match &stanza.head.to {
            Some(to) => self.classify(to),
            // RFC 6120 section 10.3: without `to` a stanza is for the sender's own account.
            None => {
                let own = caller.jid.to_bare();
                if let Kind::Message(_) = stanza.head.kind {
                    stanza.head.to = Some(own.clone().into());
                }
                Destination::Account(own)
            }
        };
        match stanza.head.kind {
            Kind::Iq(type_) => self.iq(caller, type_, destination, stanza).await,
            Kind::Message(_) => self.message(caller.session, destination, stanza).await,
            Kind::Presence(_) => self.presence_to(stanza).await,
        }
    }

    /// Answers `stanza` with `error`; errors and results are never answered (RFC 6120 section 8.3.1).
    pub async fn bounce(&self, stanza: &Stanza, error: &StanzaError) {
        if let Some(reply) = Stanza::error_reply(&stanza.head, None, error) {
            self.answer(reply).await;
        }
    }

    /// Sends an answer to its `to`: straight to the session if it is ours, else to its server.
    pub async fn answer(&self, stanza: Stanza) {
        let Some(to) = &stanza.head.to else { return };
        match self.classify(to) {
            Destination::Account(_) if matches!(stanza.head.kind, Kind::Presence(_)) => self.presence_to(stanza).await,
            Destination::Account(_) | Destination::Resource(_) if matches!(stanza.head.kind, Kind::Message(_)) => {
                Box::pin(self.hand_over(None, stanza)).await;
            }
            Destination::Resource(full) => {
                if let Some(session) = self.sessions.find(&full) {
                    session.deliver(stanza.render());
                }
            }
            // An answer to a question of the house.
            Destination::Account(_) | Destination::Domain(_) | Destination::Service(_) => {
                if let (Kind::Iq(IqType::Result | IqType::Error), Some(from), Some(id)) =
                    (stanza.head.kind, stanza.head.from.clone(), stanza.head.id.clone())
                {
                    self.awaiting.answer(&from, &id, stanza);
                }
            }
            Destination::Remote(domain) => self.relay(&domain, stanza).await,
        }
    }

    /// Asks `to` with an IQ; `then` gets the answer or `None`. Who is asked may be a resource, or anybody elsewhere, or an
    /// account or a domain of ours.
    ///
    /// The IQ's id is made here. `iq.head.from` says in whose name is asked.
    pub async fn ask(&self, to: Jid, mut iq: Stanza, then: Then) {
        iq.head.to = Some(to.clone());
        let destination = self.classify(&to);
        iq.head.id = Some(self.expect_answer(to, ANSWER_SECONDS, then));
        match (destination, iq.head.from.clone()) {
            (Destination::Resource(_) | Destination::Remote(_), _) | (_, None) => self.answer(iq).await,
            (_, Some(jid)) => Box::pin(self.route(Caller { jid, session: None }, iq)).await,
        }
    }

    /// Makes the id of an IQ that the caller will send to `to`; `then` gets the answer, or `None` when there is none
    /// within `seconds`.
    pub fn expect_answer(&self, to: Jid, seconds: u64, then: Then) -> Box<str> {
        let id: Box<str> = self.ids.id().into();
        self.awaiting.park(to, id.clone(), self.clock.now() + seconds * 1_000_000, then);
        id
    }

    /// Gives an answer to an IQ to whom it is for: a session, a question of the house, or another server. For who is told of
    /// an answer and has nobody to wait with; one that cannot be brought to another server is lost.
    pub fn give_back(&self, answer: Stanza) {
        let Some(to) = &answer.head.to else { return };
        match self.classify(to) {
            Destination::Resource(full) => {
                if let Some(session) = self.sessions.find(&full) {
                    session.deliver(answer.render());
                }
            }
            Destination::Account(_) | Destination::Domain(_) | Destination::Service(_) => {
                if let (Some(from), Some(id)) = (answer.head.from.clone(), answer.head.id.clone()) {
                    self.awaiting.answer(&from, &id, answer);
                }
            }
            Destination::Remote(domain) => {
                let sent = self.relay_frame(answer.head.from.as_ref(), &domain, Frame::Whole(answer.render()));
                if let Err(error) = sent {
                    tracing::debug!(%domain, %error, "an answer was not taken");
                }
            }
        }
    }

    /// Asks `to` in the name of `caller`, as if the caller had asked; `then` gets the answer or `None`. `iq.head.to` says
    /// the same.
    ///
    /// The IQ's id is made here.
    pub async fn ask_as(&self, caller: Caller, to: Jid, mut iq: Stanza, then: Then) {
        iq.head.id = Some(self.expect_answer(to, ANSWER_SECONDS, then));
        Box::pin(self.route(caller, iq)).await;
    }

    /// Ends the sessions of an account that was removed, and has everybody drop what they keep of it.
    pub async fn close_account(&self, account: &BareJid) {
        self.sessions.for_each_of(account.as_str(), |session| session.mailbox.close(Some(Condition::NotAuthorized)));
        self.tell(|listener| listener.account_removed(account)).await;
    }

    /// Gives up on questions that were never answered. Called now and then.
    pub fn expire_questions(&self) {
        self.awaiting.expire(self.clock.now());
    }

    /// Delivers presence to whomever its `to` names; `from` is proven and set.
    pub async fn presence_to(&self, stanza: Stanza) {
        let Some(to) = &stanza.head.to else { return };
        match self.classify(to) {
            Destination::Account(_) | Destination::Resource(_) => {
                if let Some(rules) = &self.wiring().presences {
                    rules.inbound(stanza).await;
                }
            }
            // The domain itself has no presence: RFC 6121 gives it nothing to do. It may have some to pass on.
            Destination::Domain(_) => {
                if let Some(multicast) = &self.wiring().multicast
                    && stanza.content.has("addresses", ns::ADDRESS)
                {
                    multicast.spread(stanza).await;
                }
            }
            Destination::Service(_) => {}
            Destination::Remote(domain) => self.relay(&domain, stanza).await,
        }
    }

    async fn message(&self, sender: Option<Arc<Session>>, destination: Destination, stanza: Stanza) {
        match destination {
            Destination::Account(account) => match &self.wiring().forms {
                Some(forms) if stanza.content.has("x", ns::DATA_FORMS) => {
                    if let Some(stanza) = forms.submitted(account.clone(), stanza).await {
                        self.message_in(sender, account.as_str(), stanza).await;
                    }
                }
                _ => self.message_in(sender, account.as_str(), stanza).await,
            },
            Destination::Resource(full) => self.message_in(sender, full.as_bare_str(), stanza).await,
            Destination::Domain(_) if self.domain_message(&stanza).is_some() => {
                if let Some(handler) = self.domain_message(&stanza) {
                    handler(stanza).await;
                }
            }
            Destination::Domain(_) => match &self.wiring().multicast {
                Some(multicast) if stanza.content.has("addresses", ns::ADDRESS) => multicast.spread(stanza).await,
                _ => self.bounce(&stanza, &StanzaError::service_unavailable()).await,
            },
            Destination::Service(service) => self.message_to_service(service, stanza).await,
            Destination::Remote(domain) => match (&self.wiring().messages, sender) {
                (Some(rules), Some(sender)) => rules.departs(sender, domain, stanza).await,
                _ => self.relay(&domain, stanza).await,
            },
        }
    }

    /// Who takes this message to a host, if it has something special to say.
    fn domain_message(&self, stanza: &Stanza) -> Option<&DomainMessageHandler> {
        let mut handlers = self.wiring().domain_messages.iter();
        handlers
            .find(|((name, ns), _)| !stanza.head.kind.is_error() && stanza.content.has(name, ns))
            .map(|(_, handler)| handler)
    }

    /// A service takes forms, and hears what came back of its own messages. It has nobody who would read the rest.
    async fn message_to_service(&self, service: BareJid, stanza: Stanza) {
        if stanza.head.kind.is_error() {
            return self.tell(|listener| listener.bounced(&service, &stanza)).await;
        }
        let left = match &self.wiring().forms {
            Some(forms) if stanza.content.has("x", ns::DATA_FORMS) => forms.submitted(service, stanza).await,
            _ => Some(stanza),
        };
        if let Some(stanza) = left {
            self.bounce(&stanza, &StanzaError::service_unavailable()).await;
        }
    }

    async fn message_in(&self, sender: Option<Arc<Session>>, account: &str, stanza: Stanza) {
        if let Some(from) = &stanza.head.from
            && let Err(error) = self.guard(Direction::Inbound, account, from, &stanza).await
        {
            // A blocked headline or error is dropped without a word (XEP-0191 section 3.8).
            if !matches!(stanza.head.kind, Kind::Message(MessageType::Headline)) {
                self.bounce(&stanza, &error).await;
            }
            return;
        }
        if let Some(events) = &self.wiring().events
            && stanza.content.has("event", ns::PUBSUB_EVENT)
            && stanza.head.to.as_ref().is_some_and(Jid::is_bare)
            && stanza.head.from.as_ref().is_some_and(|from| !self.serves(from.domain()))
        {
            let account = stanza.head.to.as_ref().map(Jid::to_bare);
            if let Some(account) = account {
                events.arrived(account, &stanza).await;
            }
        }
        self.hand_over(sender, stanza).await;
    }

    /// A message to an account that may pass.
    async fn hand_over(&self, sender: Option<Arc<Session>>, stanza: Stanza) {
        if stanza.head.kind.is_error()
            && let Some(to) = stanza.head.to.as_ref().filter(|to| to.is_bare())
        {
            // It answers what was sent in the account's own name.
            let account = to.to_bare();
            self.tell(|listener| listener.bounced(&account, &stanza)).await;
        }
        match &self.wiring().messages {
            Some(rules) => rules.message(sender, stanza).await,
            None => self.bounce(&stanza, &StanzaError::service_unavailable()).await,
        }
    }

    /// Asks every guard whether `stanza` may pass between `account` and `other`.
    pub async fn guard(
        &self,
        direction: Direction,
        account: &str,
        other: &Jid,
        stanza: &Stanza,
    ) -> Result<(), StanzaError> {
        for guard in &self.wiring().guards {
            guard.check(direction, account, other, stanza).await?;
        }
        Ok(())
    }

    /// Handles a stanza that another server or a component sent. The link has proven that it may speak for the domain of
    /// `from`, and that `to` is of a domain we speak for, or anybody's if a component sent it; both are set. When this resolves, what the stanza changed is durable.
    pub async fn from_remote(&self, stanza: Stanza) {
        self.reach.heard(&stanza);
        let _turn = self.turns.of(&stanza).await;
        match (stanza.head.kind, &stanza.head.from) {
            (Kind::Presence(_), _) => self.presence_to(stanza).await,
            (_, Some(from)) => {
                let caller = Caller { jid: from.clone(), session: None };
                self.route(caller, stanza).await;
            }
            (_, None) => {}
        }
    }

    /// Hands `stanza` to the server of `domain`, or tells its sender why not.
    pub async fn relay(&self, domain: &str, stanza: Stanza) {
        let Err(error) = self.relay_frame(stanza.head.from.as_ref(), domain, Frame::Whole(stanza.render())) else {
            return;
        };
        self.undelivered(&stanza, &error).await;
    }

    /// Tells the sender of a stanza, who is here, that it could not be brought to another server: a road does when it
    /// gives up. Presence goes by its rules, since it may be some that nobody sent by hand. Errors are not answered.
    pub async fn undelivered(&self, stanza: &Stanza, error: &StanzaError) {
        let Some(reply) = Stanza::error_reply(&stanza.head, None, error) else { return };
        match reply.head.kind {
            Kind::Presence(_) => Box::pin(self.presence_to(reply)).await,
            Kind::Message(_) | Kind::Iq(_) => Box::pin(self.answer(reply)).await,
        }
    }

    /// Hands a finished stanza from `from` to the server of `domain`: for who tells many and shares the bytes.
    ///
    /// # Errors
    /// What to tell the sender when it is not taken.
    pub fn relay_frame(&self, from: Option<&Jid>, domain: &str, frame: Frame) -> Result<(), StanzaError> {
        if let Some(gate) = self.gate.get().filter(|gate| gate.domains.contains(domain)) {
            let from = from.map_or("", Jid::domain);
            return gate.road.send(from, domain, frame);
        }
        match (self.detour.get().or_else(|| self.road.get()), from) {
            (Some(road), Some(from)) => road.send(from.domain(), domain, frame),
            _ => Err(StanzaError::remote_server_not_found()),
        }
    }
}
