//! XEP-0257: Client Certificate Management for SASL EXTERNAL: users say with which certificates their clients log in.
//!
//! What is registered is kept in `tables/certificates.rs`; who may log in with it is decided in `net/external.rs`. A client
//! that itself logged in with a certificate which may not manage others reads the list and changes nothing.

use std::sync::{Arc, Weak};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use xmpp::stream::Condition as StreamCondition;
use xmpp::{BareJid, Element, Stanza, StanzaError, ns};

use crate::config::{Config, ConfigError};
use crate::extension::{Answer, Asked, Extension, Kit, Listener, Mount, Pending, Reply, Spec, To, Xep, fault};
use crate::net::trust::ClientCertificate;
use crate::router::Router;
use crate::runtime::Clock;
use crate::session::Session;
use crate::tables::Credentials;
use crate::tables::certificates::{
    CERTIFICATE_BYTES_MAX, Certificates, Fingerprint, NotAdded, PER_ACCOUNT_MAX, Registered,
};

/// The longest name for one, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// Keeps lists of certificates.
#[expect(missing_debug_implementations, reason = "there is nothing to show")]
pub struct ClientCertificates {
    // The router owns the wiring, the wiring owns this.
    router: Weak<Router>,
    clock: Arc<dyn Clock>,
    certificates: Arc<Certificates>,
    is_offered: bool,
    per_account_max: usize,
}

static SPEC: Spec = Spec { name: "certificates", xeps: &[Xep::complete(257, "0.3")], config: "" };

impl ClientCertificates {
    /// Keeps what is in `credentials`, as `config` allows.
    ///
    /// # Errors
    /// When that would be more for one account than there may be.
    pub fn new(kit: &Kit, credentials: &Credentials, config: &Config) -> Result<Arc<Self>, ConfigError> {
        let per_account_max = config.c2s.client_certificates_per_account_max;
        if per_account_max > PER_ACCOUNT_MAX {
            return Err(ConfigError::new(format!("`c2s.client_certificates_per_account_max` is {per_account_max}"))
                .with_hint(format!("choose at most {PER_ACCOUNT_MAX}")));
        }
        Ok(Arc::new(Self {
            router: Arc::downgrade(&kit.router),
            clock: Arc::clone(&kit.clock),
            certificates: Arc::clone(&credentials.certificates),
            is_offered: config.c2s.client_certificates,
            per_account_max,
        }))
    }

    fn sessions(&self, account: &BareJid) -> Vec<Arc<Session>> {
        self.router.upgrade().map(|router| router.sessions.of(account.as_str())).unwrap_or_default()
    }

    /// Section "Request a List of all Certificates".
    async fn list(self: Arc<Self>, asked: Asked) -> Answer {
        require_secure_owner(&asked)?;
        let known = self.certificates.list(&asked.to).await.map_err(|error| fault("certificates", &error))?;
        let sessions = self.sessions(&asked.to);
        let element = |name: &str| Element::builder(name, ns::CERTIFICATES);
        let mut list = element("items");
        for one in known {
            let mut item = element("item")
                .append(element("name").append(&*one.name).build())
                .append(element("x509cert").append(STANDARD.encode(&one.der)).build());
            if !one.may_manage {
                item = item.append(element("no-cert-management").build());
            }
            let mut users = element("users").build();
            for session in sessions.iter().filter(|session| shows(session, &one.fingerprint)) {
                users.append_child(element("resource").append(session.jid.resource()).build());
            }
            if users.children().next().is_some() {
                item = item.append(users);
            }
            list = list.append(item.build());
        }
        Ok(Reply::Element(list.build()))
    }

    /// Section "Add a X.509 Certificate".
    async fn append(self: Arc<Self>, asked: Asked) -> Answer {
        require_manager(&asked)?;
        let query = asked.open()?;
        let name = name(&query)?;
        let text = query.get_child("x509cert", ns::CERTIFICATES).ok_or_else(StanzaError::bad_request)?.text();
        let text: String = text.split_ascii_whitespace().collect();
        let der = STANDARD.decode(text).map_err(|_| StanzaError::bad_request().with_text("Not Base64"))?;
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err(StanzaError::not_acceptable().with_text("The certificate is too long"));
        }
        let unreadable = || StanzaError::bad_request().with_text("Not an X.509 certificate in DER");
        let certificate = ClientCertificate::read(&der).ok_or_else(unreadable)?;
        let now = self.clock.now();
        if certificate.until() < now {
            return Err(StanzaError::not_acceptable().with_text("The certificate has expired"));
        }
        // Whose certificate it is would be in doubt when it is shown.
        let addresses = &certificate.addresses;
        if !addresses.is_empty() && !addresses.iter().any(|jid| jid.to_bare() == asked.to) {
            return Err(StanzaError::not_acceptable().with_text("The certificate is for other addresses"));
        }
        let added = Registered {
            name,
            fingerprint: certificate.fingerprint,
            until: certificate.until(),
            may_manage: query.get_child("no-cert-management", ns::CERTIFICATES).is_none(),
            der: der.into(),
        };
        match self.certificates.add(&asked.to, &added, self.per_account_max, now).await {
            Ok(()) => {}
            Err(NotAdded::Taken) => {
                return Err(StanzaError::conflict().with_text("The name or the certificate is there already"));
            }
            Err(NotAdded::TooMany) => {
                return Err(StanzaError::resource_constraint().with_text("There are too many certificates"));
            }
            Err(NotAdded::NoAccount) => return Err(StanzaError::item_not_found()),
            Err(NotAdded::Fault(error)) => return Err(fault("certificates", &error)),
        }
        tracing::info!(account = %asked.to, "a certificate was added");
        Ok(Reply::Empty)
    }

    /// Section "Disable a Certificate".
    async fn disable(self: Arc<Self>, asked: Asked) -> Answer {
        self.take_away(&asked).await.map(|_| Reply::Empty)
    }

    /// Section "Revoke a Certificate": whoever is here with it has to go, be it who asks. Whoever is about to be looks
    /// whether it is still there once it can be found here.
    async fn revoke(self: Arc<Self>, asked: Asked) -> Answer {
        let taken = self.take_away(&asked).await?;
        let own = asked.caller.session.as_ref();
        if let Some(own) = own {
            own.deliver(Stanza::iq_result(&asked.stanza.head, None).render());
        }
        for session in self.sessions(&asked.to).iter().filter(|session| shows(session, &taken.fingerprint)) {
            session.mailbox.close(Some(StreamCondition::NotAuthorized));
        }
        Ok(if own.is_some() { Reply::Sent } else { Reply::Empty })
    }

    async fn take_away(&self, asked: &Asked) -> Result<Registered, StanzaError> {
        require_manager(asked)?;
        let name = name(&asked.open()?)?;
        let taken = self.certificates.remove(&asked.to, &name).await.map_err(|error| fault("certificates", &error))?;
        let taken = taken.ok_or_else(StanzaError::item_not_found)?;
        tracing::info!(account = %asked.to, "a certificate was taken away");
        Ok(taken)
    }
}

/// `forbidden` unless the caller owns the account and may change the list.
fn require_manager(asked: &Asked) -> Result<(), StanzaError> {
    require_secure_owner(asked)?;
    if may_manage(asked) {
        return Ok(());
    }
    Err(StanzaError::forbidden().with_text("The certificate you logged in with may not manage others"))
}

/// Whether the session that asks may change who has access to its account: a certificate may be registered as one that
/// may not. What it was when the client came counts, so that nobody gains by its being taken away.
pub(super) fn may_manage(asked: &Asked) -> bool {
    let session = asked.caller.session.as_ref();
    session.is_none_or(|session| session.state().login.as_ref().is_none_or(|login| login.may_manage))
}

/// Whether the client of `session` has shown this certificate.
pub(super) fn shows(session: &Session, fingerprint: &Fingerprint) -> bool {
    let state = session.state();
    let shown = state.login.as_ref().and_then(|login| login.certificate.as_ref());
    shown.is_some_and(|shown| shown.fingerprint == *fingerprint)
}

/// Section "Stream Characteristics": only who owns the account, and nobody in the clear.
fn require_secure_owner(asked: &Asked) -> Result<(), StanzaError> {
    asked.require_owner()?;
    let is_secure = asked.caller.session.as_ref().is_some_and(|session| !session.state().is_in_clear);
    if is_secure { Ok(()) } else { Err(StanzaError::not_allowed().with_text("Not without TLS")) }
}

fn name(query: &Element) -> Result<Box<str>, StanzaError> {
    let name = query.get_child("name", ns::CERTIFICATES).map(Element::text).unwrap_or_default();
    let name = name.trim();
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(StanzaError::bad_request().with_text("The certificate needs a name of up to 256 bytes"));
    }
    Ok(name.into())
}

impl Listener for ClientCertificates {
    fn account_removed(&self, account: &BareJid) -> Pending<()> {
        let (certificates, account) = (Arc::clone(&self.certificates), account.clone());
        Pending::later(async move {
            if let Err(error) = certificates.remove_all(&account).await {
                let _told = fault("certificates", &error);
            }
        })
    }
}

impl Extension for ClientCertificates {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        if self.is_offered {
            at.iq_get(To::ACCOUNT, ("items", ns::CERTIFICATES), &self, Self::list);
            at.iq_set(To::ACCOUNT, ("append", ns::CERTIFICATES), &self, Self::append);
            at.iq_set(To::ACCOUNT, ("disable", ns::CERTIFICATES), &self, Self::disable);
            at.iq_set(To::ACCOUNT, ("revoke", ns::CERTIFICATES), &self, Self::revoke);
            at.feature(To::DOMAIN, ns::CERTIFICATES);
        }
        at.listener(self);
    }
}
