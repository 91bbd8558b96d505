//! XEP-0356: Privileged Entity: what components may do in the name of the accounts of their host, as far as
//! `component.privileges` permits.
//!
//! Rosters are served in `roster`, which asks [`Privileges::permits_roster`]; here are messages and IQs in the names of
//! accounts, presence, and the message that tells a component what it may do. Nothing is mounted, and no feature is
//! announced, where no component has a privilege.

mod advertise;
mod iq;
mod message;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use xmpp::limits::Limits;
use xmpp::stanza::{Kind, PresenceType};
use xmpp::xml::element_bytes;
use xmpp::{BareJid, Element, Jid, Stanza, StanzaError, ns};

use super::presence::Announcer;
use super::roster::Books;
use crate::config::Config;
use crate::config::components::{PresenceAccess, Privileges as Rules};
use crate::extension::{Caller, Extension, Kit, Listener, Mount, Pending, Spec, To, Xep};
use crate::router::Router;
use crate::runtime::Ids;
use crate::session::Session;
use crate::session::mailbox::Frame;
use crate::tables::accounts::Accounts;

/// The privileges of all components.
pub struct Privileges {
    // The router owns the wiring, the wiring owns this.
    router: Weak<Router>,
    /// For what takes longer than a call.
    this: Weak<Self>,
    ids: Arc<dyn Ids>,
    accounts: Arc<Accounts>,
    books: Weak<Books>,
    announcer: Arc<Announcer>,
    /// By the component's domain.
    privileged: BTreeMap<Box<str>, Privileged>,
    /// What was told last of contacts elsewhere, by address: several accounts may have the same contact.
    told: Mutex<HashMap<Jid, u64>>,
    hasher: RandomState,
}

/// Contacts elsewhere of whom it is remembered what was told last.
const TOLD_MAX: usize = 100_000;
/// Contacts elsewhere who are asked for their presence when a component connects that may know of it.
const ASKED_MAX: usize = 20_000;
/// Sessions looked at before others run.
const STRIDE: usize = 256;

/// One component with privileges.
struct Privileged {
    host: BareJid,
    rules: Rules,
}

static SPEC: Spec = Spec { name: "privileges", xeps: &[Xep::complete(356, "0.4.1")], config: "" };

impl Privileges {
    /// Those that `config` gives. Changes of rosters are told from now on.
    #[must_use]
    pub fn new(
        kit: &Kit,
        accounts: &Arc<Accounts>,
        books: &Arc<Books>,
        announcer: &Arc<Announcer>,
        config: &Config,
    ) -> Arc<Self> {
        let mut privileged = BTreeMap::new();
        for component in config.component.iter().filter(|component| !component.privileges.is_empty()) {
            if let (Some(domain), Ok(host)) = (component.domain(), BareJid::new(&component.host_in(config))) {
                privileged.insert(domain, Privileged { host, rules: component.privileges.clone() });
            }
        }
        let privileges = Arc::new_cyclic(|this| Self {
            router: Arc::downgrade(&kit.router),
            this: Weak::clone(this),
            ids: Arc::clone(&kit.ids),
            accounts: Arc::clone(accounts),
            books: Arc::downgrade(books),
            announcer: Arc::clone(announcer),
            privileged,
            told: Mutex::default(),
            hasher: RandomState::new(),
        });
        if privileges.privileged.values().any(|one| one.rules.pushes_roster()) {
            let watching = Arc::downgrade(&privileges);
            books.watch(Arc::new(move |account, push| {
                if let Some(privileges) = watching.upgrade() {
                    privileges.roster_changed(account, push);
                }
            }));
        }
        privileges
    }

    /// The privileges of whom `caller` speaks for, if they are for `account`, which is an account or the host itself.
    fn of(&self, caller: &Jid, account: &BareJid) -> Option<&Privileged> {
        self.privileged.get(caller.domain()).filter(|one| one.host.domain() == account.domain())
    }

    /// Whether `caller` may read, or change, the roster of `account`, which exists.
    pub async fn permits_roster(&self, caller: &Caller, account: &BareJid, is_set: bool) -> bool {
        let may = caller.session.is_none()
            && self.of(&caller.jid, account).is_some_and(|one| one.rules.roster.permits(is_set));
        may && self.accounts.exists(account).await.unwrap_or_else(|error| {
            tracing::error!(%account, %error, "cannot tell whether an account exists");
            false
        })
    }

    /// `forbidden` unless `account` exists.
    async fn require_account(&self, account: &BareJid) -> Result<(), StanzaError> {
        match self.accounts.exists(account).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(StanzaError::forbidden()),
            Err(error) => Err(crate::extension::fault("accounts", &error)),
        }
    }

    /// Tells whoever may know of a change in the roster of `account`; `push` is the push behind the recipient's address.
    fn roster_changed(&self, account: &BareJid, push: &bytes::Bytes) {
        let Some(router) = self.router.upgrade() else { return };
        for (domain, one) in &self.privileged {
            let Ok(to) = Jid::new(domain) else { continue };
            if one.rules.pushes_roster() && one.host.domain() == account.domain() {
                // "With a 'from' attribute explicitly set to the bare JID of the managed entity."
                let mut after = Vec::with_capacity(push.len() + 64);
                after.extend_from_slice(b" from='");
                xmpp::xml::escape_attr(&mut after, account.as_str());
                after.push(b'\'');
                after.extend_from_slice(push);
                let frame = Frame::Addressed { before: "<iq type='set' to='", to, after: after.into() };
                let _away_is_no_matter = router.relay_frame(Some(&Jid::from(account)), domain, frame);
            }
        }
    }

    /// Tells whoever may know of the presence of a contact elsewhere, which `account` sees. "If a privileged entity is
    /// supposed to receive several times the same presence stanza, the server SHOULD send it only once."
    fn contact_changed(&self, account: &BareJid, stanza: &Stanza) {
        let may =
            |one: &&Privileged| one.rules.presence == PresenceAccess::Roster && one.host.domain() == account.domain();
        let (Some(router), Some(from)) = (self.router.upgrade(), &stanza.head.from) else { return };
        if !self.privileged.values().any(|one| may(&one)) {
            return;
        }
        let content = self.hasher.hash_one((stanza.head.kind, stanza.content.as_bytes()));
        {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.get(from) == Some(&content) {
                return;
            }
            if told.len() >= TOLD_MAX {
                told.clear();
            }
            told.insert(from.clone(), content);
        }
        for (domain, _) in self.privileged.iter().filter(|(_, one)| may(one)) {
            let mut copy = stanza.clone();
            copy.head.to = Jid::new(domain).ok();
            let _away_is_no_matter = router.relay_frame(Some(from), domain, Frame::Whole(copy.render()));
        }
    }

    /// Tells whoever may know that a session of ours became available, or no longer is.
    fn session_changed(&self, session: &Session, is_there: bool) {
        let Some(router) = self.router.upgrade() else { return };
        for (domain, one) in &self.privileged {
            if self.may_see(one, session) {
                tell_presence(&router, domain, session, is_there);
            }
        }
    }

    /// Tells a component that has just connected of everybody it may know of: "If a privileged entity is connected after
    /// first presence stanzas have been received, the server MUST send it all" (section 7). Who comes meanwhile is told by
    /// themselves.
    async fn tell_all(&self, router: &Router, domain: &str, one: &Privileged) {
        if one.rules.presence == PresenceAccess::None {
            return;
        }
        let all = router.sessions.all();
        for some in all.chunks(STRIDE) {
            for session in some.iter().filter(|session| self.may_see(one, session)) {
                tell_presence(router, domain, session, true);
            }
            tokio::task::yield_now().await;
        }
        if one.rules.presence == PresenceAccess::Roster {
            look_afar(&self.announcer, &one.host, &all).await;
        }
    }

    /// Whether a component may know that `session` is there: it is of an account of its host, or of a contact of one.
    fn may_see(&self, one: &Privileged, session: &Session) -> bool {
        let is_own = one.host.domain() == session.jid.domain();
        match one.rules.presence {
            PresenceAccess::None => false,
            PresenceAccess::ManagedEntity => is_own,
            PresenceAccess::Roster => {
                is_own || {
                    let book = self.books.upgrade().and_then(|books| books.at_hand(session.jid.as_bare_str()));
                    book.is_some_and(|book| book.is_seen_at(one.host.domain()))
                }
            }
        }
    }
}

/// Asks contacts elsewhere of those accounts of `host` that are here for their presence, each once. What they answer is
/// told like all they say.
async fn look_afar(announcer: &Announcer, host: &BareJid, all: &[Arc<Session>]) {
    let mut asked: HashSet<Jid> = HashSet::new();
    let mut accounts: HashSet<BareJid> = HashSet::new();
    for some in all.chunks(STRIDE) {
        for session in some {
            let account = session.jid.bare();
            if account.domain() != host.domain() || session.priority().is_none() || !accounts.insert(account.clone()) {
                continue;
            }
            let wanted = |contact: &Jid| asked.len() < ASKED_MAX && asked.insert(contact.clone());
            if let Err(error) = announcer.look_afar(&account, wanted).await {
                tracing::error!(%account, %error, "contacts elsewhere are not asked for their presence");
            }
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
    }
}

/// Presence of a session, directed to a component.
fn tell_presence(router: &Router, domain: &str, session: &Session, is_there: bool) {
    let Ok(to) = Jid::new(domain) else { return };
    let from = Jid::from(session.jid.clone());
    let shared = session.state().available.as_ref().map(|available| available.shared.clone());
    let frame = match (is_there, shared) {
        (true, Some(after)) => Frame::Addressed { before: "<presence to='", to, after },
        (true, None) => return,
        (false, _) => {
            let gone = Stanza::new(Kind::Presence(PresenceType::Unavailable)).from(from.clone()).to(to);
            Frame::Whole(gone.render())
        }
    };
    let _away_is_no_matter = router.relay_frame(Some(&from), domain, frame);
}

/// A stanza in `<forwarded/>` (XEP-0297), which must be of the namespace of clients.
fn forwarded(parent: &Element, name: &str) -> Result<Stanza, StanzaError> {
    let forwarded = parent.get_child("forwarded", ns::FORWARD).ok_or_else(StanzaError::bad_request)?;
    let stanza = forwarded.get_child(name, ns::CLIENT).ok_or_else(StanzaError::forbidden)?;
    parsed(stanza)
}

/// An element of the namespace of clients as a stanza.
fn parsed(element: &Element) -> Result<Stanza, StanzaError> {
    Stanza::parse(element_bytes(element), &Limits::server()).map_err(|_| StanzaError::bad_request())
}

impl Listener for Privileges {
    fn component_joined(&self, domain: &str) -> Pending<()> {
        let (Some(one), Some(router)) = (self.privileged.get(domain), self.router.upgrade()) else {
            return Pending::now(());
        };
        let message = advertise::message(&one.host, domain, &one.rules, &self.ids.id());
        // What it was told before, it may have forgotten.
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let Some(this) = self.this.upgrade() else { return Pending::now(()) };
        let domain = domain.to_owned();
        Pending::later(async move {
            if let Some(message) = message {
                router.relay(&domain, message).await;
            }
            if let Some(one) = this.privileged.get(&*domain) {
                this.tell_all(&router, &domain, one).await;
            }
        })
    }

    fn became_available(&self, session: &Arc<Session>) -> Pending<()> {
        self.session_changed(session, true);
        Pending::now(())
    }

    fn contact_presence(&self, account: &BareJid, stanza: &Stanza) -> Pending<()> {
        let book = self.books.upgrade().and_then(|books| books.at_hand(account.as_str()));
        let from = stanza.head.from.as_ref();
        if let (Some(book), Some(from)) = (book, from)
            && book.sees(from.as_bare_str())
        {
            self.contact_changed(account, stanza);
        }
        Pending::now(())
    }

    fn became_unavailable(&self, session: &Arc<Session>) -> Pending<()> {
        self.session_changed(session, false);
        Pending::now(())
    }
}

impl Extension for Privileges {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        if self.privileged.is_empty() {
            return;
        }
        at.iq_get(To::ACCOUNT, ("privileged_iq", ns::PRIVILEGE), &self, Self::privileged_iq);
        at.iq_set(To::ACCOUNT, ("privileged_iq", ns::PRIVILEGE), &self, Self::privileged_iq);
        at.unfeature(To::ACCOUNT, ns::PRIVILEGE);
        at.feature(To::DOMAIN, ns::PRIVILEGE);
        at.domain_message(("privilege", ns::PRIVILEGE), &self, Self::privileged_message);
        at.listener(self);
    }
}
