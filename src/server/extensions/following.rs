//! XEP-0376 (Pubsub Account Management), with the lists of XEP-0465 and XEP-0330 kept in step.
//!
//! A client asks its own account to subscribe it to a node, here or elsewhere; the server asks the service in the
//! account's name, remembers, tells the account's other clients, and lists everything the account follows. What is
//! told to the world is what the client said is public, and nothing else.

use std::sync::{Arc, Weak};

use pubsub::wire::event::parse_subscribed;
use pubsub::{Refusal, Request, SubscriptionState};
use xmpp::stanza::{Condition, IqType, Kind};
use xmpp::xml::WithAttribute as _;
use xmpp::{BareJid, Element, Jid, Stanza, StanzaError, ns};

use super::pep::{Pep, Share, is_public};
use super::timeline::Timeline;
use crate::extension::{Answer, Asked, Extension, Kit, Listener, Mount, Pending, Reply, Spec, To, Xep, fault};
use crate::router::Router;
use crate::runtime::start;

static SPEC: Spec = Spec {
    name: "following",
    xeps: &[Xep::partial(330, "0.1"), Xep::partial(376, "0.2"), Xep::complete(465, "0.1.1")],
    config: "",
};

/// Subscriptions by way of the account.
#[expect(missing_debug_implementations, reason = "there is nothing to show")]
pub struct Following {
    // The router owns the wiring, the wiring owns this.
    router: Weak<Router>,
    pep: Arc<Pep>,
    timeline: Arc<Timeline>,
}

/// What a client wants of its account.
struct Wish {
    account: BareJid,
    service: BareJid,
    node: Box<str>,
    /// The request, as the client wrote it.
    verb: Element,
    is_subscription: bool,
    /// Which subscription is to end.
    subid: Option<Box<str>>,
}

impl Wish {
    fn read(asked: &Asked) -> Result<Self, StanzaError> {
        let pam = asked.open()?;
        // The text of section 4.2 says `service`, its examples say `jid`.
        let service = pam.attr("jid").or_else(|| pam.attr("service")).ok_or_else(StanzaError::bad_request)?;
        let service = Jid::new(service).map_err(|_| StanzaError::jid_malformed())?;
        if service.is_full() {
            return Err(StanzaError::bad_request().with_text("a service is no resource"));
        }
        let verb = pam.children().find(|child| child.has_ns(ns::PUBSUB)).ok_or_else(StanzaError::bad_request)?;
        let is_subscription = match verb.name() {
            "subscribe" => true,
            "unsubscribe" => false,
            _ => return Err(StanzaError::bad_request()),
        };
        let node = verb.attr("node").filter(|node| !node.is_empty());
        let node = node.ok_or_else(|| Refusal::NodeIdRequired.to_error())?;
        if node.len() > 1023 {
            return Err(Refusal::NameTooLong(1023).to_error());
        }
        // "the client SHALL always use its own bare jid […], servers MUST verify this".
        if verb.attr("jid").and_then(|jid| Jid::new(jid).ok()) != Some(Jid::from(&asked.to)) {
            return Err(Refusal::InvalidJid.to_error());
        }
        let (node, verb) = (node.into(), verb.clone());
        let subid = verb.attr("subid").filter(|subid| !subid.is_empty()).map(Into::into);
        Ok(Self { account: asked.to.clone(), service: service.to_bare(), node, verb, is_subscription, subid })
    }

    /// Whether an error says that there is no subscription to end.
    fn finds_none(&self, error: &StanzaError) -> bool {
        !self.is_subscription
            && matches!(error.condition, Condition::ItemNotFound | Condition::UnexpectedRequest | Condition::Gone)
    }

    fn request(&self) -> Request {
        let (node, jid) = ((*self.node).into(), Jid::from(&self.account));
        match self.is_subscription {
            true => Request::Subscribe { node, jid, options: None },
            false => Request::Unsubscribe { node, jid, subid: self.subid.clone() },
        }
    }
}

impl Following {
    /// Follows by `pep` here, and elsewhere for `timeline`.
    #[must_use]
    pub fn new(kit: &Kit, pep: &Arc<Pep>, timeline: &Arc<Timeline>) -> Arc<Self> {
        Arc::new(Self { router: Arc::downgrade(&kit.router), pep: Arc::clone(pep), timeline: Arc::clone(timeline) })
    }

    async fn manage(self: Arc<Self>, asked: Asked) -> Answer {
        let asked = of_account(asked)?;
        asked.require_owner()?;
        let wish = Wish::read(&asked)?;
        let router = self.router.upgrade().ok_or_else(StanzaError::internal_server_error)?;
        if wish.is_subscription {
            self.timeline.may_follow(&wish.account).await?;
        }
        if router.serves(wish.service.domain()) {
            return Ok(self.manage_here(&asked, &wish).await);
        }
        let pubsub = Element::builder("pubsub", ns::PUBSUB).append(wish.verb.clone()).build();
        let iq = Stanza::new(Kind::Iq(IqType::Set)).from(wish.account.clone()).with(&pubsub);
        let to = Jid::from(&wish.service);
        let then = Box::new(move |answer: Option<Stanza>| {
            // The answer came as a stanza: its lane goes on with what follows.
            start(async move { self.answered(&asked, &wish, answer).await });
        });
        router.ask(to, iq, then).await;
        Ok(Reply::Sent)
    }

    /// At a service of this house.
    async fn manage_here(&self, asked: &Asked, wish: &Wish) -> Reply {
        let is_public = wish.is_subscription && is_public(&wish.verb);
        match self.pep.subscribe(&wish.service, &wish.account, wish.request(), is_public).await {
            // Of several subscriptions one ended: what is public stays so.
            Ok(state) if !wish.is_subscription && state != SubscriptionState::None => {}
            Ok(state) => self.list(wish, state).await,
            Err(error) => {
                if wish.finds_none(&error) {
                    self.list(wish, SubscriptionState::None).await;
                }
                self.refuse(asked, wish, &error).await;
                return Reply::Sent;
            }
        }
        Reply::Empty
    }

    /// What a service elsewhere answered.
    async fn answered(&self, asked: &Asked, wish: &Wish, answer: Option<Stanza>) {
        let head = &asked.stanza.head;
        let result = answer.as_ref().filter(|answer| answer.head.kind == Kind::Iq(IqType::Result));
        let Some(result) = result else {
            let error = answer.as_ref().and_then(Stanza::error);
            // Who is not subscribed there follows nothing, whatever we thought.
            if error.as_ref().is_some_and(|error| wish.finds_none(error)) {
                self.settle(wish, SubscriptionState::None).await;
            }
            let error = error.unwrap_or_else(StanzaError::remote_server_timeout);
            return self.refuse(asked, wish, &error).await;
        };
        let pubsub = result.content.child("pubsub", ns::PUBSUB).and_then(|child| child.open().ok());
        let state = match wish.is_subscription {
            false => SubscriptionState::None,
            true => pubsub.as_ref().and_then(parse_subscribed).unwrap_or(SubscriptionState::Subscribed),
        };
        self.settle(wish, state).await;
        self.pep.deliver(asked, Stanza::iq_result(head, None)).await;
    }

    /// Passes an error of the service on: "the generator MUST be set to the remote service if missing", and one without is
    /// taken for the account's own.
    async fn refuse(&self, asked: &Asked, wish: &Wish, error: &StanzaError) {
        let head = &asked.stanza.head;
        let from = head.to.clone().unwrap_or_else(|| Jid::from(&wish.account));
        let mut reply = Stanza::new(Kind::Iq(IqType::Error)).from(from);
        reply.head.to.clone_from(&head.from);
        reply.head.id.clone_from(&head.id);
        let error = error.to_element();
        let by = error.attr("by").unwrap_or(wish.service.as_str());
        let stamped = Element::builder("error", error.ns()).attribute("type", error.attr("type"));
        let stamped = stamped.attribute("by", by).append_all(error.children().cloned()).build();
        self.pep.deliver(asked, reply.with(&stamped)).await;
    }

    async fn settle(&self, wish: &Wish, state: SubscriptionState) {
        self.timeline.settle(&wish.account, &wish.service, &wish.node, state).await;
        self.list(wish, state).await;
    }

    /// Keeps the account's public lists in step: on them is what is subscribed to and was said to be public.
    async fn list(&self, wish: &Wish, state: SubscriptionState) {
        let share = match state {
            SubscriptionState::None => Share::Left,
            SubscriptionState::Subscribed if wish.is_subscription && is_public(&wish.verb) => Share::Public,
            SubscriptionState::Subscribed | SubscriptionState::Pending => Share::Private,
        };
        self.pep.share(&wish.account, &wish.service, &wish.node, share).await;
    }

    /// Section 4.4: everything the account follows, unless it is what the client knows.
    async fn subscriptions(self: Arc<Self>, asked: Asked) -> Answer {
        let asked = of_account(asked)?;
        asked.require_owner()?;
        let follows = self.timeline.follows(&asked.to).await.map_err(|error| fault("nodes", &error))?;
        let version = Timeline::version_of(&follows);
        if asked.open()?.attr("ver") == Some(&*version) {
            return Ok(Reply::Empty);
        }
        let mut list = Element::builder("subscriptions", ns::ACCOUNT_MANAGEMENT).attribute("ver", &*version);
        for follow in &follows {
            let one = Element::builder("subscription", ns::ACCOUNT_MANAGEMENT)
                .attribute("service", follow.home.as_str())
                .attribute("node", &*follow.name)
                .attribute("jid", follow.subscription.jid.as_str())
                .attribute("subscription", follow.subscription.state.as_str());
            list = list.append(one.build());
        }
        Ok(Reply::Element(list.build()))
    }
}

/// Libervia asks the host of the account where the account is meant.
fn of_account(mut asked: Asked) -> Result<Asked, StanzaError> {
    if asked.to.localpart().is_none() {
        let account = asked.caller.jid.to_bare();
        if asked.caller.session.is_none() || account.domain() != asked.to.domain() {
            return Err(StanzaError::service_unavailable());
        }
        asked.to = account;
    }
    Ok(asked)
}

impl Listener for Following {
    /// However a subscription ends, nothing the server put on the account's lists says that there is one.
    fn unfollowed(&self, account: &BareJid, home: &BareJid, node: &str) -> Pending<()> {
        let (pep, account, home, node) = (Arc::clone(&self.pep), account.clone(), home.clone(), Box::<str>::from(node));
        Pending::later(async move { pep.share(&account, &home, &node, Share::Private).await })
    }
}

impl Extension for Following {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        at.iq_set(To::ACCOUNT | To::DOMAIN, ("pam", ns::ACCOUNT_MANAGEMENT), &self, Self::manage);
        at.iq_get(To::ACCOUNT | To::DOMAIN, ("subscriptions", ns::ACCOUNT_MANAGEMENT), &self, Self::subscriptions);
        at.feature(To::ACCOUNT | To::SERVICE, ns::PUBLIC_SUBSCRIPTIONS);
        at.listener(self);
    }
}
