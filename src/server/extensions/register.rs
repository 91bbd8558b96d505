//! XEP-0077: In-Band Registration, with invitations by XEP-0445.
//!
//! Opening an account over XMPP is closed unless the configuration says `open` or `invite`, and bounded by network
//! address. Changing the password and removing the account is for every logged-in user. No form and no e-mail:
//! a name and a password are all an account needs here.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use xmpp::stanza::{Condition, IqType, Kind};
use xmpp::{BareJid, Element, Stanza, StanzaError, ns};

use crate::config::{Config, Registration};
use crate::extension::{
    Answer, Application, Applied, Asked, BoxFuture, Extension, Kit, Mount, Registrar, Reply, Spec, To, Xep,
};
use crate::router::Router;
use crate::runtime::{Clock, Timestamp};
use crate::tables::accounts::{AccountError, Accounts};

/// Opens, changes and removes accounts.
pub struct Register {
    // The router owns the wiring, the wiring owns this.
    router: Weak<Router>,
    clock: Arc<dyn Clock>,
    accounts: Arc<Accounts>,
    policy: Registration,
    /// Who administers: not for strangers to be.
    admins: Vec<BareJid>,
    per_address_per_hour_max: usize,
    opened: Mutex<HashMap<IpAddr, Vec<Timestamp>>>,
}

static SPEC: Spec =
    Spec { name: "register", xeps: &[Xep::complete(77, "2.4"), Xep::partial(445, "0.2.0")], config: "" };

const HOUR: Timestamp = 3_600_000_000;
/// Addresses remembered for the hourly bound; when there are more, the oldest memory is dropped whole.
const ADDRESSES_MAX: usize = 100_000;

impl Register {
    /// Registers as `config` allows.
    #[must_use]
    pub fn new(kit: &Kit, accounts: &Arc<Accounts>, config: &Config) -> Arc<Self> {
        Arc::new(Self {
            router: Arc::downgrade(&kit.router),
            clock: Arc::clone(&kit.clock),
            accounts: Arc::clone(accounts),
            policy: config.registration,
            admins: config.admins.iter().filter_map(|admin| BareJid::new(admin).ok()).collect(),
            per_address_per_hour_max: config.limits.registrations_per_address_per_hour_max,
            opened: Mutex::default(),
        })
    }

    /// Whether `peer` may open one more account now; counts it if so.
    fn may_open(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        if peer.is_loopback() {
            return true;
        }
        let now = self.clock.now();
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.len() > ADDRESSES_MAX {
            opened.clear();
        }
        let recent = opened.entry(peer).or_default();
        recent.retain(|at| at.saturating_add(HOUR) > now);
        let may = recent.len() < self.per_address_per_hour_max;
        if may {
            recent.push(now);
        }
        may
    }

    async fn applied(self: Arc<Self>, application: Application) -> Applied {
        let head = application.stanza.head.clone();
        let mut invitation = application.invitation.clone();
        let answer = self.answer(&application, &mut invitation).await;
        let reply = match answer {
            Ok(element) => Some(Stanza::iq_result(&head, element.as_ref())),
            Err(error) => Stanza::error_reply(&head, None, &error),
        };
        Applied { reply: reply.unwrap_or_else(|| Stanza::iq_result(&head, None)), invitation }
    }

    async fn answer(
        &self,
        application: &Application,
        invitation: &mut Option<Box<str>>,
    ) -> Result<Option<Element>, StanzaError> {
        let stanza = &application.stanza;
        if let Some(shown) = stanza.content.child("preauth", ns::PRE_AUTHENTICATED) {
            let token = shown.open().map_err(|_| StanzaError::bad_request())?;
            *invitation = Some(self.accept(token.attr("token"), &application.domain).await?);
            return Ok(None);
        }
        match self.policy {
            Registration::Closed => return Err(StanzaError::not_allowed().with_text("Registration is closed here")),
            Registration::Invite if invitation.is_none() => {
                return Err(StanzaError::not_allowed().with_text("Registration needs an invitation here"));
            }
            Registration::Invite | Registration::Open => {}
        }
        if stanza.head.kind == Kind::Iq(IqType::Get) {
            return Ok(Some(fields(None)));
        }
        let query = stanza
            .content
            .child("query", ns::REGISTER)
            .and_then(|query| query.open().ok())
            .ok_or_else(StanzaError::bad_request)?;
        if query.get_child("remove", ns::REGISTER).is_some() {
            return Err(StanzaError::unexpected_request());
        }
        let (name, password) = wanted(&query)?;
        let account = BareJid::from_parts(Some(&name), &application.domain)
            .map_err(|_| StanzaError::not_acceptable().with_text("That name cannot be part of an address"))?;
        if self.admins.contains(&account) && !application.peer.to_canonical().is_loopback() {
            return Err(StanzaError::not_allowed().with_text("That name is kept for an administrator"));
        }
        if !self.may_open(application.peer) {
            return Err(StanzaError::resource_constraint()
                .with_text("Too many accounts were opened from your address; try later"));
        }
        let now = self.clock.now();
        let opened = match invitation.as_deref() {
            Some(token) => self.accounts.create_invited(&account, &password, token, now).await,
            None => self.accounts.create(&account, &password, now).await,
        };
        opened.map_err(|error| refusal(&error))?;
        tracing::info!(%account, peer = %application.peer, "account opened");
        *invitation = None;
        Ok(None)
    }

    /// Accepts an invitation that exists, is for `domain` and has not expired (XEP-0445 section 4).
    async fn accept(&self, token: Option<&str>, domain: &str) -> Result<Box<str>, StanzaError> {
        let unusable = || StanzaError::item_not_found().with_text("The provided token is invalid or expired");
        let token = token.filter(|token| token.len() <= 128).ok_or_else(unusable)?;
        match self.accounts.is_invitation(token, domain, self.clock.now()).await {
            Ok(true) => Ok(token.into()),
            Ok(false) => Err(unusable()),
            Err(fault) => Err(refusal(&fault.into())),
        }
    }

    /// What is on file: the name. The password is not, and nobody gets it.
    async fn tell(self: Arc<Self>, asked: Asked) -> Answer {
        let name = asked.caller.jid.localpart().ok_or_else(StanzaError::bad_request)?;
        Ok(Reply::Element(fields(Some(name))))
    }

    /// Changes the password or removes the account of whoever asks.
    async fn change(self: Arc<Self>, asked: Asked) -> Answer {
        let account = asked.caller.jid.to_bare();
        // Only a session of ours has an account here to change.
        let Some(session) = &asked.caller.session else { return Err(StanzaError::forbidden()) };
        // XEP-0257 section "Changing the Password". Removing the account is no less.
        if session.state().login.as_ref().is_some_and(|login| login.certificate.is_some()) {
            return Err(StanzaError::not_authorized().with_text("Log in with the password to do that"));
        }
        let query = asked.open()?;
        if query.get_child("remove", ns::REGISTER).is_some() {
            if query.children().count() > 1 {
                return Err(StanzaError::bad_request());
            }
            let router = self.router.upgrade().ok_or_else(StanzaError::internal_server_error)?;
            let existed = self.accounts.remove(&account).await.map_err(|fault| refusal(&fault.into()))?;
            if !existed {
                return Err(StanzaError::registration_required());
            }
            // The result goes out before the stream that asked is closed with the others (section 3.2).
            session.deliver(Stanza::iq_result(&asked.stanza.head, None).render());
            router.close_account(&account).await;
            if let Err(error) = self.accounts.closed(&account).await {
                let _told = refusal(&error.into());
            }
            tracing::info!(%account, "account removed by its owner");
            return Ok(Reply::Sent);
        }
        // Section 3.3 has another word than section 3.1 for what is missing.
        let (name, password) =
            wanted(&query).map_err(|error| StanzaError { condition: Condition::BadRequest, ..error })?;
        let named = BareJid::from_parts(Some(&name), account.domain()).map_err(|_| StanzaError::bad_request())?;
        if named != account {
            return Err(StanzaError::bad_request().with_text("The username is not yours"));
        }
        self.accounts.set_password(&account, &password).await.map_err(|error| refusal(&error))?;
        Ok(Reply::Empty)
    }
}

/// What the applicant is told; what it is about stays in the log.
fn refusal(error: &AccountError) -> StanzaError {
    match error {
        AccountError::Exists => StanzaError::conflict(),
        AccountError::Unknown => StanzaError::registration_required(),
        AccountError::NotAnAccount | AccountError::BadPassword => {
            StanzaError::not_acceptable().with_text(error.to_string())
        }
        AccountError::BadInvitation => StanzaError::not_allowed().with_text(error.to_string()),
        AccountError::Fault(fault) => {
            tracing::error!(%fault, "an account cannot be opened or changed");
            StanzaError::internal_server_error()
        }
    }
}

/// `username` and `password` of a submitted query; `not-acceptable` if one is missing or empty (section 3.1).
fn wanted(query: &Element) -> Result<(String, String), StanzaError> {
    let text = |name| query.get_child(name, ns::REGISTER).map(Element::text).filter(|text| !text.is_empty());
    match (text("username"), text("password")) {
        (Some(name), Some(password)) => Ok((name, password)),
        _ => Err(StanzaError::not_acceptable().with_text("Both a username and a password are needed")),
    }
}

/// The fields we ask for; filled in with the name for who is registered already.
fn fields(registered: Option<&str>) -> Element {
    let field = |name: &str, text: &str| {
        let field = Element::builder(name, ns::REGISTER);
        if text.is_empty() { field.build() } else { field.append(text).build() }
    };
    let mut query = Element::builder("query", ns::REGISTER);
    if registered.is_some() {
        query = query.append(field("registered", ""));
    }
    query
        .append(field("instructions", "Choose a username and a password."))
        .append(field("username", registered.unwrap_or_default()))
        .append(field("password", ""))
        .build()
}

/// What is mounted as registrar: it hands out owners of the extension that live as long as their futures.
struct Desk(Arc<Register>);

impl Registrar for Desk {
    fn apply(&self, application: Application) -> BoxFuture<Applied> {
        Box::pin(Arc::clone(&self.0).applied(application))
    }
}

impl Extension for Register {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        at.iq_get(To::DOMAIN | To::ACCOUNT, ("query", ns::REGISTER), &self, Self::tell);
        at.iq_set(To::DOMAIN | To::ACCOUNT, ("query", ns::REGISTER), &self, Self::change);
        at.registrar(Arc::new(Desk(self)));
    }
}
