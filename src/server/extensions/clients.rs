//! XEP-0494: Client Access Management: an account's owner sees which clients log in to it, and takes that from them.
//!
//! What is known of clients is kept in `tables/clients.rs` when they log in. A stream that said nothing of its client is
//! listed as long as it lasts.

use std::sync::{Arc, Weak};

use xmpp::stream::Condition as StreamCondition;
use xmpp::xml::WithAttribute as _;
use xmpp::{BareJid, Element, StanzaError, ns};

use super::certificates::may_manage;
use crate::extension::{Answer, Asked, Extension, Kit, Listener, Mount, Pending, Reply, Spec, To, Xep, fault};
use crate::router::Router;
use crate::runtime::{Clock, Timestamp, rfc3339};
use crate::session::Session;
use crate::tables::Credentials;
use crate::tables::certificates::Certificates;
use crate::tables::clients::{Certificate, Client, Clients};

/// Tells of clients, and sends them away.
#[expect(missing_debug_implementations, reason = "there is nothing to show")]
pub struct ClientAccess {
    // The router owns the wiring, the wiring owns this.
    router: Weak<Router>,
    clock: Arc<dyn Clock>,
    clients: Arc<Clients>,
    certificates: Arc<Certificates>,
}

static SPEC: Spec = Spec {
    name: "clients",
    xeps: &[Xep::complete(494, "0.1.0")],
    config: r"[clients]
# For how many days a token for logging in is good. Clients that come more often get another in time.
token_days = 30
# After how many days a client that did not log in is forgotten, with its tokens.
days_max = 180
# How many clients of one account are remembered.
clients_per_account_max = 64
# Whether the names of their software and devices are, which their users see.
keep_descriptions = true
",
};

impl ClientAccess {
    /// Tells of what is in `credentials`.
    #[must_use]
    pub fn new(kit: &Kit, credentials: &Credentials) -> Arc<Self> {
        let (router, clock) = (Arc::downgrade(&kit.router), Arc::clone(&kit.clock));
        let (clients, certificates) = (Arc::clone(&credentials.clients), Arc::clone(&credentials.certificates));
        Arc::new(Self { router, clock, clients, certificates })
    }

    fn sessions(&self, account: &BareJid) -> Vec<Arc<Session>> {
        self.router.upgrade().map(|router| router.sessions.of(account.as_str())).unwrap_or_default()
    }

    /// What the client of `session` is called.
    fn name_of(&self, session: &Session) -> Box<str> {
        let known = session.state().login.as_ref().and_then(|login| login.client.clone());
        known.unwrap_or_else(|| self.clients.name_of_resource(&session.jid.bare(), session.jid.resource()).into())
    }

    async fn list(self: Arc<Self>, asked: Asked) -> Answer {
        asked.require_owner()?;
        let now = self.clock.now();
        let known = self.clients.list(&asked.to, now).await.map_err(|error| fault("clients", &error))?;
        let sessions = self.sessions(&asked.to);
        let mut here: Vec<(Box<str>, &Arc<Session>)> =
            sessions.iter().map(|session| (self.name_of(session), session)).collect();
        let mut list = Element::builder("clients", ns::CLIENT_ACCESS);
        for (name, client) in &known {
            let is_connected = here.iter().any(|(other, _)| other == name);
            here.retain(|(other, _)| other != name);
            list = list.append(describe(name, is_connected, client, now));
        }
        for (name, session) in here {
            let since = session.last_heard();
            // Nothing but a password or a certificate lets such a stream in.
            let is_certified = session.state().login.as_ref().is_some_and(|login| login.certificate.is_some());
            let way = if is_certified { Way::Certificate } else { Way::Password };
            list = list.append(entry(&name, true, (since, since), &[way], None));
        }
        Ok(Reply::Element(list.build()))
    }

    async fn revoke(self: Arc<Self>, asked: Asked) -> Answer {
        asked.require_owner()?;
        if !may_manage(&asked) {
            return Err(StanzaError::forbidden());
        }
        let query = asked.open()?;
        let name = query.attr("id").filter(|name| !name.is_empty()).ok_or_else(StanzaError::bad_request)?;
        let known = self.clients.find(&asked.to, name).await.map_err(|error| fault("clients", &error))?;
        let its = |session: &&Arc<Session>| *self.name_of(session) == *name;
        let here: Vec<Arc<Session>> = self.sessions(&asked.to).iter().filter(its).cloned().collect();
        if known.is_none() && here.is_empty() {
            return Err(StanzaError::item_not_found());
        }
        let login = |session: &Arc<Session>| session.state().login.as_ref()?.certificate.clone();
        let shown: Vec<Certificate> = here.iter().filter_map(login).chain(known.iter().flat_map(shown_by)).collect();
        let is_vouched_for = shown.iter().any(|shown| shown.is_vouched_for);
        // The row comes last: as long as it is there, the owner can ask again should something fail.
        self.unregister(&asked.to, &shown).await?;
        self.clients.forget(&asked.to, name).await.map_err(|error| fault("clients", &error))?;
        let own = asked.caller.session.as_ref();
        for session in self.sessions(&asked.to).iter().filter(its) {
            // Whoever sends itself away hears the answer first.
            if !own.is_some_and(|own| Arc::ptr_eq(own, session)) {
                session.mailbox.close(Some(StreamCondition::NotAuthorized));
            }
        }
        tracing::info!(account = %asked.to, client = name, "a client was sent away");
        if is_vouched_for {
            let error = StanzaError::service_unavailable();
            return Err(error.with_text("Its certificate is an authority's, who alone can revoke it"));
        }
        if known.map_or(shown.is_empty(), |client| client.password.is_some()) {
            // Its sessions and tokens are gone, and it can come back by the password it knows.
            let error = StanzaError::service_unavailable().with_text("The client knows the password: change that");
            return Err(error.with_specific(Element::builder("password-reset-required", ns::CLIENT_ACCESS).build()));
        }
        Ok(Reply::Empty)
    }

    /// Takes away those certificates that a client has shown, as far as they are registered.
    async fn unregister(&self, account: &BareJid, shown: &[Certificate]) -> Result<(), StanzaError> {
        for Certificate { fingerprint, .. } in shown {
            let found = self.certificates.find(account, fingerprint).await.map_err(|error| fault("clients", &error))?;
            if let Some(found) = found {
                self.certificates.remove(account, &found.name).await.map_err(|error| fault("clients", &error))?;
            }
        }
        Ok(())
    }
}

/// The certificates that a client has shown, or has tokens for.
fn shown_by(client: &Client) -> impl Iterator<Item = Certificate> {
    let tokens = [&client.used, &client.given].map(|token| token.as_ref()?.certificate.clone());
    tokens.into_iter().chain([client.certificate.clone()]).flatten()
}

/// A way to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Password,
    Token,
    Certificate,
}

impl Way {
    fn element(self) -> Element {
        match self {
            Self::Password => Element::builder("password", ns::CLIENT_ACCESS).build(),
            Self::Token => Element::builder("fast", ns::CLIENT_ACCESS).build(),
            // The specification leaves it to other namespaces; this is the element in which SASL names it.
            Self::Certificate => Element::builder("mechanism", ns::SASL).append("EXTERNAL").build(),
        }
    }
}

fn describe(name: &str, is_connected: bool, client: &Client, now: Timestamp) -> Element {
    let mut ways = Vec::new();
    if client.password.is_some() {
        ways.push(Way::Password);
    }
    if client.used.is_some() || client.given.is_some() {
        ways.push(Way::Token);
    }
    if client.certificate.is_some() {
        ways.push(Way::Certificate);
    }
    let mut agent = Element::builder("user-agent", ns::CLIENT_ACCESS);
    for (what, text) in [("software", &client.software), ("device", &client.device)] {
        if !text.is_empty() {
            agent = agent.append(Element::builder(what, ns::CLIENT_ACCESS).append(&**text).build());
        }
    }
    let last_seen = if is_connected { now } else { client.last_seen };
    entry(name, is_connected, (client.first_seen, last_seen), &ways, Some(agent.build()))
}

fn entry(
    name: &str,
    is_connected: bool,
    (first, last): (Timestamp, Timestamp),
    ways: &[Way],
    agent: Option<Element>,
) -> Element {
    let element = |name: &str| Element::builder(name, ns::CLIENT_ACCESS);
    let time = |at: Timestamp| rfc3339(at / 1_000_000 * 1_000_000);
    let mut auth = element("auth");
    for way in ways {
        auth = auth.append(way.element());
    }
    // Who knows no password cannot change it (XEP-0257 section "Changing the Password").
    let is_unrestricted = !ways.contains(&Way::Certificate) || ways.contains(&Way::Password);
    let mut entry = element("client")
        .attribute("connected", if is_connected { "true" } else { "false" })
        .attribute("id", name)
        .attribute("type", "session")
        .append(element("first-seen").append(time(first)).build())
        .append(element("last-seen").append(time(last)).build())
        .append(auth.build())
        .append(
            element("permission").attribute("status", if is_unrestricted { "unrestricted" } else { "normal" }).build(),
        );
    if let Some(agent) = agent {
        entry = entry.append(agent);
    }
    entry.build()
}

impl Listener for ClientAccess {
    fn account_removed(&self, account: &BareJid) -> Pending<()> {
        let (clients, account) = (Arc::clone(&self.clients), account.clone());
        Pending::later(async move {
            if let Err(error) = clients.forget_all(&account).await {
                let _told = fault("clients", &error);
            }
        })
    }
}

impl Extension for ClientAccess {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        at.iq_get(To::ACCOUNT, ("list", ns::CLIENT_ACCESS), &self, Self::list);
        at.iq_set(To::ACCOUNT, ("revoke", ns::CLIENT_ACCESS), &self, Self::revoke);
        at.listener(self);
    }
}
