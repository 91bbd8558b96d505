//! What is said in client mode (XEP-0355 section 5.1): the wish, the form that its owner gets, the answer, and what the
//! manager is told then.

use std::sync::Arc;

use xmpp::form::{Field, FieldType, Form, FormType};
use xmpp::stanza::{Kind, MessageType};
use xmpp::xml::WithAttribute as _;
use xmpp::{BareJid, Element, Jid, Stanza, StanzaError, ns};

use super::Delegation;
use super::consent::{Answered, Wish};
use crate::extension::{Answer, Asked, Reply};
use crate::router::Router;
use crate::session::Session;

impl Delegation {
    /// Somebody wants to handle namespaces of an account. The answer is the same whether the account exists, is here, or
    /// is asked at all.
    pub(super) async fn request(self: Arc<Self>, asked: Asked) -> Answer {
        let query = asked.open()?;
        let account = query.attr("to").and_then(|to| BareJid::new(to).ok()).ok_or_else(StanzaError::bad_request)?;
        let wanted = query.children().filter(|child| child.is("delegate", ns::DELEGATION));
        let namespaces: Option<Vec<String>> =
            wanted.map(|child| child.attr("namespace").map(str::to_owned)).take(64).collect();
        let mut namespaces = namespaces.filter(|all| !all.is_empty()).ok_or_else(StanzaError::bad_request)?;
        namespaces.sort_unstable();
        namespaces.dedup();
        let manager = asked.caller.jid.clone();
        if account.domain() != asked.to.domain()
            || account.localpart().is_none()
            || account.as_str() == manager.as_bare_str()
            || !namespaces.iter().all(|namespace| self.consents.may_be_asked(namespace))
        {
            return Err(StanzaError::forbidden());
        }
        let Some(router) = self.router.upgrade() else { return Err(StanzaError::internal_server_error()) };
        let here: Vec<Arc<Session>> = router.sessions.of(account.as_str());
        let here: Vec<Arc<Session>> = here.into_iter().filter(|session| session.priority().is_some()).collect();
        if here.is_empty() || self.is_blocked(&account, &manager).await {
            return Ok(Reply::Empty);
        }
        let wish = Wish { manager, account, namespaces };
        let challenge = self.ids.id();
        if self.consents.ask(wish.clone(), &challenge, &here, self.clock.now()) {
            for session in here {
                let message = Stanza::new(Kind::Message(MessageType::Normal)).from(asked.to.clone());
                let message = message.to(session.jid.clone()).id(self.ids.id());
                let body = Element::builder("body", ns::CLIENT).append(in_words(&wish)).build();
                session.deliver(message.with(&body).with(&question(&wish, &challenge).to_element()).render());
            }
        }
        Ok(Reply::Empty)
    }

    async fn is_blocked(&self, account: &BareJid, manager: &Jid) -> bool {
        match self.blocks.open(account).await {
            Ok(list) => list.blocks(manager),
            Err(error) => {
                tracing::error!(%account, %error, "a delegation is not asked for");
                true
            }
        }
    }

    /// The owner's answer, or some other form that came to the host.
    pub(super) async fn submitted(self: Arc<Self>, stanza: Stanza) {
        let Some(router) = self.router.upgrade() else { return };
        let session = stanza.head.from.as_ref().and_then(Jid::to_full).and_then(|full| router.sessions.find(&full));
        let form = stanza.content.child("x", ns::DATA_FORMS).and_then(|form| Form::parse(&form.open().ok()?).ok());
        let answered = session.zip(form).and_then(|(session, form)| {
            let answered = self.consents.answer(&session, &form, self.clock.now());
            Some((session.jid.bare(), answered?))
        });
        let Some((account, Answered { manager, granted, told })) = answered else {
            return router.bounce(&stanza, &StanzaError::service_unavailable()).await;
        };
        for (manager, namespaces) in told {
            tracing::info!(%account, %manager, ?namespaces, "an owner has changed who handles their namespaces");
            self.tell(&router, &account, &manager, &namespaces).await;
        }
        for namespace in granted {
            self.inquire_for(&router, &account, &manager, namespace).await;
        }
    }

    /// Says what of `account` is delegated to `manager` from now on: "if delegations are changed during a session, server
    /// MUST notify managing entity of the new delegations" (business rule 3).
    pub(super) async fn tell(&self, router: &Router, account: &BareJid, manager: &Jid, namespaces: &[String]) {
        let Ok(host) = BareJid::new(account.domain()) else { return };
        let delegated = namespaces.iter().map(|namespace| {
            Element::builder("delegated", ns::DELEGATION).attribute("namespace", namespace.as_str()).build()
        });
        let delegation =
            Element::builder("delegation", ns::DELEGATION).attribute("to", account.as_str()).append_all(delegated);
        let message = Stanza::new(Kind::Message(MessageType::Normal)).from(host.clone()).to(manager.clone());
        let message = message.id(self.ids.id()).with(&delegation.build());
        let caller = crate::extension::Caller { jid: host.into(), session: None };
        Box::pin(router.route(caller, message)).await;
    }
}

fn in_words(wish: &Wish) -> String {
    format!(
        "{} wants to handle for you what this server does otherwise: {}.\nIt will see and answer all of it. Allow that only \
         if you know who this is and trust them.",
        wish.manager,
        wish.namespaces.join(", ")
    )
}

/// The form: "the server MUST use namespaces as field var", and no is what is said unless the owner says otherwise.
fn question(wish: &Wish, challenge: &str) -> Form {
    let mut form = Form::typed(FormType::Form, ns::DELEGATION);
    form.title = Some("Delegation request".to_owned());
    form.instructions = vec![format!("{} wants to handle this for you. Do you allow it?", wish.manager)];
    form = form.with(Field::new("challenge", FieldType::Hidden).value(challenge));
    for namespace in &wish.namespaces {
        let label = match namespace.as_str() {
            ns::PUBSUB => format!("Your posts, lists and everything else in nodes ({namespace})"),
            _ => namespace.clone(),
        };
        let field = Field::new(namespace, FieldType::ListSingle).label(label).value("0");
        form = form.with(field.option("0", Some("No")).option("1", Some("Yes")));
    }
    form
}
