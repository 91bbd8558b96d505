//! What others did that concerns an account, as one private node of it: `urn:chirrup:notifications:0`, described in
//! `xeps/chirrup-notifications.md`.
//!
//! Who did it was found out where it was published or came ([`crate::extension::Happening`]); here it is gathered into
//! entries: the likes of one post are one entry, however many there are. An entry is written at once, and then once in a
//! while: a storm of likes costs its author's node a write each two seconds.

mod entry;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use pubsub::profile::NOTIFICATIONS_MAX;
use pubsub::profile::uri::Place;
use pubsub::{Item, Request, Timestamp};
use tokio::sync::mpsc;
use xmpp::{BareJid, Jid, ns};

use self::entry::{Entry, PEOPLE_MAX, Person};
use super::pep::{Failure, Pep, step};
use crate::extension::{Act, Extension, Happening, Kit, Listener, Mount, Pending, Spec, To};
use crate::extensions::blocking::Blocks;
use crate::extensions::blocking::blocks::covers;
use crate::runtime::{Clock, pause, start, survive};
use crate::tables::turns::Turns;

/// How often one entry is written at most.
const INTERVAL: Duration = Duration::from_secs(2);
/// Entries that were written within one interval and are remembered; further ones are written each time.
const ENTRIES_MAX: usize = 10_000;
/// What is kept of what waits to be written into one entry; of more it is only known how much.
const WAITING_MAX: usize = 32;

static SPEC: Spec = Spec { name: "notifications", xeps: &[], config: "" };

/// What came for an entry since it was written.
#[derive(Default)]
struct Waiting {
    kept: Vec<Happening>,
    more: i64,
}

/// An account, and the id of an entry.
type Key = (BareJid, String);

/// Writes the entries.
#[expect(missing_debug_implementations, reason = "there is nothing to show")]
pub struct Notifications {
    this: Weak<Self>,
    pep: Arc<Pep>,
    blocks: Arc<Blocks>,
    clock: Arc<dyn Clock>,
    /// An entry is read and written in its account's turn.
    turns: Turns,
    written: Mutex<BTreeMap<Key, Waiting>>,
    bell: mpsc::Sender<()>,
}

impl Notifications {
    /// Notifications in nodes that `pep` keeps, of nobody whom `blocks` blocks. Starts the task that writes what waits.
    #[must_use]
    pub fn new(kit: &Kit, pep: &Arc<Pep>, blocks: &Arc<Blocks>) -> Arc<Self> {
        let (bell, heard) = mpsc::channel(1);
        let notifications = Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            pep: Arc::clone(pep),
            blocks: Arc::clone(blocks),
            clock: Arc::clone(&kit.clock),
            turns: Turns::default(),
            written: Mutex::default(),
            bell,
        });
        start(run(Arc::downgrade(&notifications), heard));
        notifications
    }

    fn written(&self) -> MutexGuard<'_, BTreeMap<Key, Waiting>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.clock.now() / 1000)
    }

    /// Whether an entry is to be written now; if not, what happened waits.
    fn is_calm(&self, key: &Key, happening: &Happening) -> bool {
        let mut written = self.written();
        if let Some(waiting) = written.get_mut(key) {
            match waiting.kept.len() < WAITING_MAX {
                true => waiting.kept.push(happening.clone()),
                // Who it was, and whether it was there, is not known any more: a follower who leaves may be of another day.
                false if happening.is_edit || (happening.is_taken_back && happening.act == Act::Follow) => {}
                false if happening.is_taken_back => waiting.more = waiting.more.saturating_sub(1),
                false => waiting.more = waiting.more.saturating_add(1),
            }
            return false;
        }
        if written.len() < ENTRIES_MAX {
            written.insert(key.clone(), Waiting::default());
            // Full: it rings already.
            let _rings = self.bell.try_send(());
        }
        true
    }

    /// What waits. Entries for which nothing does are forgotten. `None` when nothing is left.
    fn waiting(&self) -> Option<Vec<(Key, Waiting)>> {
        let mut written = self.written();
        written.retain(|_, waiting| !waiting.kept.is_empty());
        let due: Vec<_> = written.iter_mut().map(|(key, waiting)| (key.clone(), std::mem::take(waiting))).collect();
        (!due.is_empty()).then_some(due)
    }

    /// Puts what happened into an entry.
    async fn write(&self, (account, id): &Key, happenings: &[Happening], more: i64) {
        let _turn = self.turns.of(account.as_str()).await;
        if let Err(error) = self.try_write(account, id, happenings, more).await {
            failed(account, error);
        }
    }

    async fn try_write(&self, account: &BareJid, id: &str, happenings: &[Happening], more: i64) -> Result<(), Failure> {
        // Whoever was blocked meanwhile is not named: what was written before was cleaned, or is about to be.
        let list = self.blocks.open(account).await?;
        let happenings = || happenings.iter().filter(|one| !list.blocks(&Jid::from(&one.person)));
        let Some(first) = happenings().next() else { return Ok(()) };
        let item = self.pep.item_of(account, ns::NOTIFICATIONS, id).await?;
        let known = item.as_ref().and_then(|item| Entry::parse(&item.payload));
        let mut entry = known.clone().unwrap_or_else(|| Entry::new(first));
        let now = self.now();
        let mut is_changed = false;
        for happening in happenings() {
            match entry.take(happening, now) {
                true => is_changed = true,
                false if happening.act == Act::Follow && happening.is_taken_back => {
                    self.unfollowed(account, id, happening, now).await?;
                }
                false => {}
            }
        }
        entry.count = entry.count.saturating_add_signed(more).max(entry.people.len() as u64);
        if first.act == Act::Like
            && let Some(about) = &first.about
        {
            self.count_likes(account, about, &mut entry).await?;
        }
        if !is_changed && known.as_ref() == Some(&entry) {
            return Ok(());
        }
        self.put(account, id, item.as_deref(), &entry, now).await
    }

    /// A follower of an earlier day leaves: not those of today are fewer by that.
    async fn unfollowed(
        &self,
        account: &BareJid,
        today: &str,
        happening: &Happening,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let entries = usize::try_from(NOTIFICATIONS_MAX).unwrap_or(usize::MAX);
        let prefix = format!("{}-", Act::Follow.name());
        // The newest are the last.
        for item in self.pep.newest_of(account, ns::NOTIFICATIONS, entries).await?.into_iter().rev() {
            if !item.id.starts_with(&prefix) || *item.id == *today {
                continue;
            }
            let Some(mut entry) = Entry::parse(&item.payload) else { continue };
            if entry.take(happening, now) {
                return self.put(account, &item.id, Some(&item), &entry, now).await;
            }
        }
        Ok(())
    }

    /// Of likes it is known how many there are, and whose: that counts, and not what was heard of them.
    async fn count_likes(&self, account: &BareJid, about: &Place, entry: &mut Entry) -> Result<(), Failure> {
        let Some((noticed, people)) = self.pep.attached_to(about, PEOPLE_MAX).await? else { return Ok(()) };
        let list = self.blocks.open(account).await?;
        let people = people.into_iter().rev().filter(|(jid, ..)| jid != account && !list.blocks(&Jid::from(jid)));
        let people: Vec<Person> = people
            .map(|(jid, when, what)| {
                let reactions: Vec<&str> = what.reactions.iter().map(|reaction| &**reaction).collect();
                let text = (!reactions.is_empty()).then(|| reactions.join(" "));
                // Where it stands among the comments, if it does.
                let at = entry.people.iter().find(|known| known.jid == jid).and_then(|known| known.at.clone());
                Person { jid, stamp: when.to_string(), at, text }
            })
            .collect();
        entry.count = if people.is_empty() { 0 } else { noticed.max(people.len() as u64) };
        entry.people = people;
        Ok(())
    }

    async fn put(
        &self,
        account: &BareJid,
        id: &str,
        item: Option<&Item>,
        entry: &Entry,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let node = ns::NOTIFICATIONS;
        let owner = Jid::from(account);
        let request = match entry.people.is_empty() {
            true if item.is_none() => return Ok(()),
            true => Request::Retract { node: node.into(), id: id.into(), notify: true },
            false => {
                let place = Place { service: account.clone(), node: node.into(), item: Some(id.into()) };
                let since = item.map_or(now, |item| item.published);
                step::publish(node, id, &entry.write(&place, since, now), None)
            }
        };
        self.pep.publish_own(account, &owner, request).await
    }

    /// Whoever is blocked is named no longer.
    async fn forget(&self, account: &BareJid, other: &Jid) -> Result<(), Failure> {
        let _turn = self.turns.of(account.as_str()).await;
        let blocked = std::collections::BTreeSet::from([other.clone()]);
        let now = self.now();
        let entries = usize::try_from(NOTIFICATIONS_MAX).unwrap_or(usize::MAX);
        for item in self.pep.newest_of(account, ns::NOTIFICATIONS, entries).await? {
            let Some(mut entry) = Entry::parse(&item.payload) else { continue };
            if entry.without(|jid| covers(&blocked, &Jid::from(jid))) {
                self.put(account, &item.id, Some(&item), &entry, now).await?;
            }
        }
        Ok(())
    }
}

fn failed(account: &BareJid, failure: Failure) {
    match failure {
        // Its owner has as many nodes as there may be, or is gone.
        Failure::Refused(refusal) => tracing::debug!(%account, ?refusal, "a notification is not kept"),
        Failure::Fault(error) => tracing::error!(%account, %error, "a notification cannot be kept"),
    }
}

/// The task that writes what waits. It ends with the house.
async fn run(notifications: Weak<Notifications>, mut bell: mpsc::Receiver<()>) {
    while bell.recv().await.is_some() {
        loop {
            pause(INTERVAL).await;
            let Some(notifications) = notifications.upgrade() else { return };
            let Some(due) = notifications.waiting() else { break };
            for (key, Waiting { kept, more }) in due {
                if survive(notifications.write(&key, &kept, more)).await.is_none() {
                    tracing::error!(account = %key.0, "keeping a notification panicked");
                }
            }
        }
    }
}

impl Listener for Notifications {
    fn happened(&self, happening: &Happening) -> Pending<()> {
        let Some(notifications) = self.this.upgrade() else { return Pending::now(()) };
        let key = (happening.whom.clone(), entry::id_of(happening, self.now()));
        if !self.is_calm(&key, happening) {
            return Pending::now(());
        }
        let happening = happening.clone();
        Pending::later(async move { notifications.write(&key, &[happening], 0).await })
    }

    fn blocking_changed(&self, account: &BareJid, other: &Jid, blocked: bool) -> Pending<()> {
        let Some(notifications) = self.this.upgrade().filter(|_| blocked) else { return Pending::now(()) };
        let (account, other) = (account.clone(), other.clone());
        Pending::later(async move {
            if let Err(error) = notifications.forget(&account, &other).await {
                failed(&account, error);
            }
        })
    }
}

impl Extension for Notifications {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        at.feature(To::ACCOUNT, ns::NOTIFICATIONS);
        at.listener(self);
    }
}

#[cfg(test)]
mod tests;
