//! Capabilities of clients on other servers (XEP-0115 section 6.2, XEP-0163 section 4).
//!
//! Asked in the name of an account that was sent the client's presence: nobody else would be answered. For each hash
//! one client of a server is asked at a time; others that claim it wait, and are asked in turn if the answer does not
//! prove it. So one liar hinders nobody, and a server cannot hinder the users of another.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use xmpp::{BareJid, FullJid, Stanza};

use super::{learned, question};
use crate::router::Router;
use crate::session::interest::{Claim, Interest};

/// Clients that wait for somebody else's answer. More are asked for again with their next presence.
const WAITING_MAX: usize = 20_000;
/// Questions to clients of one server that may be out at a time; likewise.
const OUT_MAX: usize = 500;

/// A server's domain and a claim that somebody there makes.
type Topic = (Box<str>, Claim);

/// The questions that are out, and who waits for the answers.
pub(super) struct Questions {
    router: Weak<Router>,
    asked: Mutex<Asked>,
}

#[derive(Default)]
struct Asked {
    topics: HashMap<Topic, VecDeque<FullJid>>,
    waiting: usize,
    /// Questions that are out, by domain.
    out: HashMap<Box<str>, usize>,
}

impl Questions {
    pub(super) fn new(router: Weak<Router>) -> Arc<Self> {
        Arc::new(Self { router, asked: Mutex::default() })
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `resource` makes `claim` to `account`, and nobody knows what it means.
    pub(super) async fn wanted(self: Arc<Self>, account: BareJid, resource: FullJid, claim: Claim) {
        let begun = self.asked().begin(&resource, &claim);
        match begun {
            Begun::Ask => self.ask(account, resource, claim).await,
            Begun::Wait => {}
            Begun::GiveUp => {
                if let Some(router) = self.router.upgrade() {
                    router.remotes.unanswered(&resource, &claim);
                }
            }
        }
    }

    async fn ask(self: Arc<Self>, account: BareJid, resource: FullJid, claim: Claim) {
        let Some(router) = self.router.upgrade() else { return };
        let iq = question(&claim).from(account);
        let to = resource.clone().into();
        let then = Box::new(move |answer: Option<Stanza>| self.answered(&resource, claim, answer));
        router.ask(to, iq, then).await;
    }

    fn answered(self: Arc<Self>, resource: &FullJid, claim: Claim, answer: Option<Stanza>) {
        let Some(router) = self.router.upgrade() else { return };
        let learned = learned(&router, &claim, answer);
        if learned.is_none() {
            router.remotes.unanswered(resource, &claim);
        }
        let mut told = Vec::new();
        if let Some((interest, _)) = &learned {
            told.push((resource.clone(), Arc::clone(interest)));
        }
        let mut next = None;
        {
            let topic: Topic = (resource.domain().into(), claim.clone());
            let mut asked = self.asked();
            asked.came_in(resource.domain());
            match learned {
                Some((interest, true)) => {
                    let waiting = asked.topics.remove(&topic).unwrap_or_default();
                    asked.waiting = asked.waiting.saturating_sub(waiting.len());
                    told.extend(waiting.into_iter().map(|resource| (resource, Arc::clone(&interest))));
                }
                _ => {
                    next = asked.next(&topic, |resource| router.remotes.viewer(resource, &claim));
                }
            }
        }
        // The answer came as a stanza of that very client: its lane goes on with what follows.
        crate::runtime::start(async move {
            for (resource, interest) in told {
                tell(&router, &resource, &claim, &interest).await;
            }
            if let Some((resource, account)) = next {
                self.ask(account, resource, claim).await;
            }
        });
    }
}

/// What to do about a claim.
enum Begun {
    Ask,
    Wait,
    GiveUp,
}

impl Asked {
    fn begin(&mut self, resource: &FullJid, claim: &Claim) -> Begun {
        if claim.is_verifiable {
            let topic = (resource.domain().into(), claim.clone());
            if let Some(waiting) = self.topics.get_mut(&topic) {
                if self.waiting >= WAITING_MAX {
                    return Begun::GiveUp;
                }
                waiting.push_back(resource.clone());
                self.waiting += 1;
                return Begun::Wait;
            }
            if !self.goes_out(resource.domain()) {
                return Begun::GiveUp;
            }
            self.topics.insert(topic, VecDeque::new());
            return Begun::Ask;
        }
        if self.goes_out(resource.domain()) { Begun::Ask } else { Begun::GiveUp }
    }

    fn goes_out(&mut self, domain: &str) -> bool {
        let out = self.out.entry(domain.into()).or_default();
        if *out >= OUT_MAX {
            return false;
        }
        *out += 1;
        true
    }

    fn came_in(&mut self, domain: &str) {
        if let Some(out) = self.out.get_mut(domain) {
            *out = out.saturating_sub(1);
            if *out == 0 {
                self.out.remove(domain);
            }
        }
    }

    /// The next of those who wait that somebody here still sees making the claim.
    fn next(&mut self, topic: &Topic, viewer: impl Fn(&FullJid) -> Option<BareJid>) -> Option<(FullJid, BareJid)> {
        let waiting = self.topics.get_mut(topic)?;
        while let Some(resource) = waiting.pop_front() {
            self.waiting = self.waiting.saturating_sub(1);
            if let Some(account) = viewer(&resource) {
                *self.out.entry(topic.0.clone()).or_default() += 1;
                return Some((resource, account));
            }
        }
        self.topics.remove(topic);
        None
    }
}

async fn tell(router: &Router, resource: &FullJid, claim: &Claim, interest: &Arc<Interest>) {
    for account in router.remotes.learned(resource, claim, interest) {
        router.tell(|listener| listener.remote_wants(&account, resource, interest)).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::{Asked, Begun, OUT_MAX, WAITING_MAX};
    use crate::session::interest::Claim;
    use xmpp::{BareJid, FullJid};

    fn claim(ver: usize, is_verifiable: bool) -> Claim {
        Claim { node: "urn:client".into(), ver: ver.to_string().into(), is_verifiable }
    }

    fn client(at: usize, domain: &str) -> FullJid {
        FullJid::new(&format!("u{at}@{domain}/r")).unwrap()
    }

    #[test]
    fn one_server_has_so_many_questions_out_and_takes_nothing_from_others() {
        let mut asked = Asked::default();
        for at in 0..OUT_MAX {
            assert!(matches!(asked.begin(&client(at, "one.example"), &claim(at, at % 2 == 0)), Begun::Ask));
        }
        assert!(matches!(asked.begin(&client(0, "one.example"), &claim(OUT_MAX, true)), Begun::GiveUp));
        assert!(matches!(asked.begin(&client(0, "one.example"), &claim(OUT_MAX, false)), Begun::GiveUp));
        assert!(matches!(asked.begin(&client(0, "two.example"), &claim(OUT_MAX, true)), Begun::Ask));
        asked.came_in("one.example");
        assert!(matches!(asked.begin(&client(0, "one.example"), &claim(OUT_MAX, true)), Begun::Ask));
    }

    #[test]
    fn who_waits_is_asked_in_turn_if_somebody_still_sees_it() {
        let mut asked = Asked::default();
        let topic = ("one.example".into(), claim(1, true));
        for at in 0..=WAITING_MAX {
            let begun = asked.begin(&client(at, "one.example"), &topic.1);
            assert!(matches!((at, begun), (0, Begun::Ask) | (1.., Begun::Wait)));
        }
        assert!(matches!(asked.begin(&client(0, "one.example"), &topic.1), Begun::GiveUp));
        let viewer = BareJid::new("romeo@here.example").unwrap();
        asked.came_in("one.example");
        let next = asked.next(&topic, |resource| (*resource == client(2, "one.example")).then(|| viewer.clone()));
        assert_eq!(next, Some((client(2, "one.example"), viewer)));
        asked.came_in("one.example");
        assert_eq!(asked.next(&topic, |_| None), None);
        assert!(asked.topics.is_empty() && asked.out.is_empty() && asked.waiting == 0);
    }
}
