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

/// Questions that wait for their answers: in all, and of entities of one domain.
const OPEN_MAX: usize = 10_000;
const OPEN_PER_DOMAIN_MAX: usize = 1_000;
/// Of them for one account. There is one of one entity.
const OPEN_PER_ACCOUNT_MAX: usize = 6;
const OPEN_PER_ACCOUNT_AND_DOMAIN_MAX: usize = 2;
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

/// A wish about which its owner is asked.
struct Question {
    wish: Wish,
    since: Timestamp,
    /// Whom the form was shown. It goes with the last of them: nobody is left who could answer.
    shown: Vec<Weak<Session>>,
}

impl Question {
    fn waits(&self, now: Timestamp) -> bool {
        now.saturating_sub(self.since) < PATIENCE && self.shown.iter().any(is_there)
    }
}

fn is_there(session: &Weak<Session>) -> bool {
    session.upgrade().is_some_and(|session| !session.mailbox.is_closed())
}

/// What a manager is to be told: all of an account's namespaces that it handles from now on.
pub(super) type Told = (Jid, Vec<String>);

/// What an answer has changed.
#[derive(Debug, PartialEq)]
pub(super) struct Answered {
    pub(super) manager: Jid,
    /// What the manager was granted anew.
    pub(super) granted: Vec<String>,
    /// Everybody for whom something has changed.
    pub(super) told: Vec<Told>,
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
        is_there(&self.session)
    }
}

/// What is left to each of `managers`, each named once.
fn left(all: &[Grant], mut managers: Vec<Jid>) -> Vec<Told> {
    managers.sort_unstable();
    managers.dedup();
    let of = |manager: &Jid| {
        all.iter().filter(|grant| grant.manager == *manager).map(|grant| grant.namespace.clone()).collect()
    };
    managers.into_iter().map(|manager| (manager.clone(), of(&manager))).collect()
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
    open: BTreeMap<Box<str>, Question>,
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

    /// Notes that the owner is asked on the sessions `shown`, unless too much is asked already.
    pub(super) fn ask(&self, wish: Wish, challenge: &str, shown: &[Arc<Session>], now: Timestamp) -> bool {
        let open = &mut self.state().open;
        open.retain(|_, question| question.waits(now));
        let (mut of_account, mut of_domain, mut of_both) = (0, 0, 0);
        for other in open.values().map(|question| &question.wish) {
            let is_of_account = other.account == wish.account;
            let is_of_domain = other.manager.domain() == wish.manager.domain();
            if is_of_account && other.manager.as_bare_str() == wish.manager.as_bare_str() {
                return false;
            }
            of_account += usize::from(is_of_account);
            of_domain += usize::from(is_of_domain);
            of_both += usize::from(is_of_account && is_of_domain);
        }
        if open.len() >= OPEN_MAX
            || of_domain >= OPEN_PER_DOMAIN_MAX
            || of_account >= OPEN_PER_ACCOUNT_MAX
            || of_both >= OPEN_PER_ACCOUNT_AND_DOMAIN_MAX
        {
            return false;
        }
        let shown = shown.iter().map(Arc::downgrade).collect();
        open.insert(challenge.into(), Question { wish, since: now, shown }).is_none()
    }

    /// Takes the answer that came on `session`. `None` if nobody has asked, or not this account, or too long ago. What was
    /// granted to the same manager before and is refused now is over.
    pub(super) fn answer(&self, session: &Arc<Session>, form: &Form, now: Timestamp) -> Option<Answered> {
        let challenge = form.value("challenge")?;
        let account = session.jid.bare();
        let mut state = self.state();
        let question = state.open.get(challenge)?;
        if question.wish.account != account || !question.waits(now) {
            return None;
        }
        let Question { wish: Wish { manager, namespaces, .. }, .. } = state.open.remove(challenge)?;
        let is_granted =
            |namespace: &String| form.field(namespace).is_some_and(|field| matches!(field.to_bool(), Ok(true)));
        let (granted, refused): (Vec<String>, Vec<String>) = match form.type_ {
            FormType::Submit => namespaces.into_iter().partition(is_granted),
            _ => Default::default(),
        };
        let all = state.granted.entry(account.clone()).or_default();
        // Those whose sessions are gone make room.
        all.retain(Grant::holds);
        let mut changed = Vec::new();
        // One has a namespace.
        all.retain(|grant| {
            let is_over =
                granted.contains(&grant.namespace) || (grant.manager == manager && refused.contains(&grant.namespace));
            if is_over {
                changed.push(grant.manager.clone());
            }
            !is_over
        });
        if !granted.is_empty() {
            changed.push(manager.clone());
        }
        all.extend(granted.iter().map(|namespace| Grant {
            namespace: namespace.clone(),
            manager: manager.clone(),
            session: Arc::downgrade(session),
            said: Vec::new(),
        }));
        let told = left(all, changed);
        if all.is_empty() {
            state.granted.remove(&account);
        }
        Some(Answered { manager, granted, told })
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

    /// What was asked and granted on `session` is over: who is to be told what is left.
    pub(super) fn end(&self, session: &Session) -> Vec<Told> {
        if !self.is_any() {
            return Vec::new();
        }
        let account = session.jid.bare();
        let mut state = self.state();
        state.open.retain(|_, question| {
            question.shown.retain(|shown| !std::ptr::eq(shown.as_ptr(), session));
            !question.shown.is_empty()
        });
        let Some(all) = state.granted.get_mut(&account) else { return Vec::new() };
        let losers = all.iter().filter(|grant| grant.is_of(session)).map(|grant| grant.manager.clone()).collect();
        all.retain(|grant| !grant.is_of(session));
        let told = left(all, losers);
        if all.is_empty() {
            state.granted.remove(&account);
        }
        told
    }

    /// An account is gone, with all it was asked and has granted: who is to be told that nothing is left.
    pub(super) fn forget(&self, account: &BareJid) -> Vec<Told> {
        let mut state = self.state();
        state.open.retain(|_, question| question.wish.account != *account);
        let gone = state.granted.remove(account).unwrap_or_default();
        left(&[], gone.into_iter().map(|grant| grant.manager).collect())
    }
}
