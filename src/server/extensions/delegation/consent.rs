//! XEP-0355 section 5, client mode: somebody asks for a namespace of one account, its owner is asked in turn, and what is
//! granted lasts as long as the session it was granted on is there.
//!
//! What was asked and what was granted, and who handles what then; the stanzas are in `request`. In memory only, and
//! bounded. Only namespaces that the administrator names can be asked for, and by default there are none.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use xmpp::form::{Form, FormType};
use xmpp::{BareJid, Element, Jid};

use crate::extension::Caller;
use crate::runtime::Timestamp;
use crate::session::Session;

/// Questions that wait for their answers: in all, and of one account.
const OPEN_MAX: usize = 1_000;
const OPEN_PER_ACCOUNT_MAX: usize = 3;
/// How long they wait, in microseconds.
const PATIENCE: Timestamp = 600_000_000;

/// Somebody's wish.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wish {
    /// Who is to handle them.
    pub(super) manager: Jid,
    /// Whose they are.
    pub(super) account: BareJid,
    pub(super) namespaces: Vec<String>,
}

/// What an account has granted.
struct Grant {
    namespace: String,
    manager: Jid,
    session: Weak<Session>,
    /// What the manager says of itself: children of disco#info.
    said: Vec<Element>,
}

impl Grant {
    fn is_of(&self, session: &Session) -> bool {
        std::ptr::eq(self.session.as_ptr(), session)
    }

    fn holds(&self) -> bool {
        self.session.upgrade().is_some_and(|session| !session.mailbox.is_closed())
    }
}

/// Wishes and grants of all accounts.
pub(super) struct Consents {
    /// What may be asked for.
    namespaces: Vec<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By challenge.
    open: BTreeMap<Box<str>, (Wish, Timestamp)>,
    granted: BTreeMap<BareJid, Vec<Grant>>,
}

impl Consents {
    pub(super) fn new(namespaces: Vec<String>) -> Self {
        Self { namespaces, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anything can be asked for.
    pub(super) fn is_any(&self) -> bool {
        !self.namespaces.is_empty()
    }

    pub(super) fn may_be_asked(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|one| one == namespace)
    }

    /// Notes that the owner is asked, unless too much is asked already.
    pub(super) fn ask(&self, wish: Wish, challenge: &str, now: Timestamp) -> bool {
        let open = &mut self.state().open;
        open.retain(|_, (_, since)| now.saturating_sub(*since) < PATIENCE);
        let own = || open.values().filter(|(other, _)| other.account == wish.account);
        if open.len() >= OPEN_MAX || own().count() >= OPEN_PER_ACCOUNT_MAX || own().any(|(other, _)| *other == wish) {
            return false;
        }
        open.insert(challenge.into(), (wish, now)).is_none()
    }

    /// Takes the answer that came on `session`: what was asked, and what of it is granted from now on. `None` if nobody
    /// has asked, or not this account, or too long ago.
    pub(super) fn answer(&self, session: &Arc<Session>, form: &Form, now: Timestamp) -> Option<(Wish, Vec<String>)> {
        let challenge = form.value("challenge")?;
        let account = session.jid.bare();
        let mut state = self.state();
        let (wish, since) = state.open.get(challenge)?;
        if wish.account != account || now.saturating_sub(*since) >= PATIENCE {
            return None;
        }
        let (wish, _) = state.open.remove(challenge)?;
        let is_granted =
            |namespace: &&String| form.field(namespace).is_some_and(|field| matches!(field.to_bool(), Ok(true)));
        let granted: Vec<String> = match form.type_ {
            FormType::Submit => wish.namespaces.iter().filter(is_granted).cloned().collect(),
            _ => Vec::new(),
        };
        let all = state.granted.entry(account).or_default();
        // One has a namespace; and those whose sessions are gone make room.
        all.retain(|grant| grant.holds() && !granted.contains(&grant.namespace));
        all.extend(granted.iter().map(|namespace| Grant {
            namespace: namespace.clone(),
            manager: wish.manager.clone(),
            session: Arc::downgrade(session),
            said: Vec::new(),
        }));
        Some((wish, granted))
    }

    /// Who handles this namespace for `entity` when `caller` asks (section 5.2).
    pub(super) fn way(&self, caller: &Caller, entity: &BareJid, namespace: &str) -> Option<Jid> {
        if !self.is_any() {
            return None;
        }
        let state = self.state();
        let own = if entity.localpart().is_some() { entity.clone() } else { caller.session.as_ref()?.jid.bare() };
        let grant = state.granted.get(&own)?.iter().find(|grant| grant.namespace == namespace && grant.holds())?;
        let is_manager = match grant.manager.is_domain() {
            true => caller.jid.domain() == grant.manager.domain(),
            false => caller.jid.as_bare_str() == grant.manager.as_bare_str(),
        };
        (!is_manager && own.domain() == entity.domain()).then(|| grant.manager.clone())
    }

    /// Keeps what a manager says of itself.
    pub(super) fn nest(&self, account: &BareJid, manager: &Jid, namespace: &str, said: Vec<Element>) {
        let mut state = self.state();
        let mut grants = state.granted.get_mut(account).into_iter().flatten();
        if let Some(grant) = grants.find(|grant| grant.namespace == namespace && grant.manager == *manager) {
            grant.said = said;
        }
    }

    /// What is said of an account's namespaces elsewhere.
    pub(super) fn said(&self, account: &BareJid) -> Vec<(String, Vec<Element>)> {
        let state = self.state();
        let grants = state.granted.get(account).into_iter().flatten();
        let said = grants.filter(|grant| grant.holds() && !grant.said.is_empty());
        said.map(|grant| (grant.namespace.clone(), grant.said.clone())).collect()
    }

    /// What was granted on `session` is over: who is to be told, and what is left to each.
    pub(super) fn end(&self, session: &Session) -> Vec<(Jid, Vec<String>)> {
        if !self.is_any() {
            return Vec::new();
        }
        let account = session.jid.bare();
        let mut state = self.state();
        let Some(all) = state.granted.get_mut(&account) else { return Vec::new() };
        let mut losers: Vec<Jid> = all.iter().filter(|grant| grant.is_of(session)).map(|g| g.manager.clone()).collect();
        // Those of one manager need not stand together.
        losers.sort_unstable();
        losers.dedup();
        all.retain(|grant| !grant.is_of(session));
        let left = |manager: &Jid| {
            all.iter().filter(|grant| grant.manager == *manager).map(|grant| grant.namespace.clone()).collect()
        };
        let told = losers.into_iter().map(|manager| (manager.clone(), left(&manager))).collect();
        if all.is_empty() {
            state.granted.remove(&account);
        }
        told
    }

    /// An account is gone, with all it was asked and has granted.
    pub(super) fn forget(&self, account: &BareJid) {
        let mut state = self.state();
        state.open.retain(|_, (wish, _)| wish.account != *account);
        state.granted.remove(account);
    }
}
