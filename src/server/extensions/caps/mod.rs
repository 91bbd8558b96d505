//! XEP-0115: Entity Capabilities.
//!
//! Tells the server's own hash in the stream features, and learns what clients want to be told (`+notify`,
//! XEP-0163) by asking once for each hash. A hash is remembered only when the answer gives it (section 5.4): an
//! answer that does not is used for that one resource, so that nobody can teach the server what others want.
//!
//! Of the resources of contacts on other servers one is asked at a time for each hash and server (`afar`).

mod afar;
mod hash;

use std::sync::{Arc, Weak};

use xmpp::stanza::{Content, IqType, Kind};
use xmpp::xml::WithAttribute as _;
use xmpp::{BareJid, Element, FullJid, Stanza, ns};

use self::afar::Questions;
pub use self::hash::hash;
use super::disco;
use crate::extension::{Extension, Kit, Listener, Mount, Pending, Spec, To, Xep};
use crate::router::Router;
use crate::session::Session;
use crate::session::interest::{Claim, Interest};

/// What the server calls itself in its own capabilities.
const NODE: &str = "urn:chirrup:server";
/// Features, identities and form fields an answer may have: more are not hashed (section 8).
const ELEMENTS_MAX: usize = 2000;

/// Learns capabilities.
pub struct Caps {
    // The router owns the wiring, the wiring owns this.
    router: Weak<Router>,
    questions: Arc<Questions>,
}

static SPEC: Spec = Spec { name: "caps", xeps: &[Xep::complete(115, "1.6.0")], config: "" };

impl Caps {
    /// Learns for the kit's router.
    #[must_use]
    pub fn new(kit: &Kit) -> Arc<Self> {
        let router = Arc::downgrade(&kit.router);
        Arc::new(Self { questions: Questions::new(Weak::clone(&router)), router })
    }
}

/// The node under which the server's own features are asked for: its name and its hash.
#[must_use]
pub fn own_node(router: &Router) -> String {
    format!("{NODE}#{}", hash(&disco::domain_info(router, None)).unwrap_or_default())
}

/// The `<c/>` of the stream features (section 6.3).
#[must_use]
pub fn stream_feature(router: &Router) -> Element {
    Element::builder("c", ns::CAPS)
        .attribute("hash", "sha-1")
        .attribute("node", NODE)
        .attribute("ver", hash(&disco::domain_info(router, None)).as_deref())
        .build()
}

impl Listener for Caps {
    fn presence_updated(&self, session: &Arc<Session>) -> Pending<()> {
        let Some(router) = self.router.upgrade() else { return Pending::now(()) };
        let Some(content) = session.state().available.as_ref().map(|available| available.content.clone()) else {
            return Pending::now(());
        };
        let claim = Content::from_bytes_checked(content).ok().and_then(|content| Claim::of(&content));
        let Some(claim) = claim else { return Pending::now(()) };
        let session = Arc::clone(session);
        if claim.is_verifiable
            && let Some(known) = router.interests.get(&claim.ver)
        {
            return settle(&session, known, &router);
        }
        Pending::later(async move {
            let mut iq = question(&claim);
            iq.head.from = xmpp::Jid::new(session.jid.domain()).ok();
            let asked = Arc::clone(&router);
            let to = session.jid.clone().into();
            let then = Box::new(move |answer: Option<Stanza>| {
                let Some((interest, _)) = learned(&asked, &claim, answer) else { return };
                // The answer came as a stanza of that very session: its own task goes on with what follows.
                crate::runtime::start(settle(&session, interest, &asked));
            });
            router.ask(to, iq, then).await;
        })
    }

    fn remote_claims(&self, account: &BareJid, resource: &FullJid, claim: &Claim) -> Pending<()> {
        let (questions, account) = (Arc::clone(&self.questions), account.clone());
        let (resource, claim) = (resource.clone(), claim.clone());
        Pending::later(async move { questions.wanted(account, resource, claim).await })
    }
}

/// What to ask who makes a claim.
fn question(claim: &Claim) -> Stanza {
    let node = format!("{}#{}", claim.node, claim.ver);
    let mut iq = Stanza::new(Kind::Iq(IqType::Get));
    iq.content.push(&Element::builder("query", ns::DISCO_INFO).attribute("node", &*node).build());
    iq
}

/// What an answer says, and whether it holds for everyone who makes the claim: then it is remembered.
fn learned(router: &Router, claim: &Claim, answer: Option<Stanza>) -> Option<(Arc<Interest>, bool)> {
    let answer = answer.filter(|answer| answer.head.kind == Kind::Iq(IqType::Result))?;
    let query = answer.content.child("query", ns::DISCO_INFO)?.open().ok()?;
    if query.children().count() > ELEMENTS_MAX {
        return None;
    }
    let features =
        query.children().filter(|child| child.is("feature", ns::DISCO_INFO)).filter_map(|child| child.attr("var"));
    let interest = Interest::from_features(features);
    if claim.is_verifiable && hash(&query).as_deref() == Some(&*claim.ver) {
        return Some((router.interests.learn(&claim.ver, interest), true));
    }
    tracing::debug!(from = ?answer.head.from, ?claim, "capabilities that cannot be verified serve their sender alone");
    Some((Arc::new(interest), false))
}

/// Notes what the session wants and, if that is news, tells whoever has something for it.
fn settle(session: &Arc<Session>, interest: Arc<Interest>, router: &Arc<Router>) -> Pending<()> {
    {
        let mut state = session.state();
        let Some(available) = &mut state.available else { return Pending::now(()) };
        if available.interest.as_ref().is_some_and(|known| **known == *interest) {
            return Pending::now(());
        }
        available.interest = Some(interest);
    }
    session.settles();
    let (session, router) = (Arc::clone(session), Arc::clone(router));
    Pending::later(async move {
        router.tell(|listener| listener.caps_learned(&session)).await;
    })
}

impl Extension for Caps {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        at.feature(To::DOMAIN, ns::CAPS);
        at.listener(self);
    }
}
