//! When nodes of other servers are asked what they have: what they sent while the way was blocked, or this house was
//! closed, came nowhere.
//!
//! A node is asked when it is first followed, so that it is known what it had then; after this house was opened; after its
//! server has come back to us; when a follower reads and it was not asked for a while; and every few hours. It is asked once,
//! however many follow it. What fails is tried again later and later. `fill` asks, `walk` understands the answer.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use store::Fault;
use xmpp::BareJid;

use super::Timeline;
use crate::runtime::{start, survive};
use crate::tables::timeline::Asked;

/// Nodes that wait to be asked. Others are found again by the next round.
const WAITING_MAX: usize = 2_000;
/// Nodes that are asked at a time, in all and of one domain.
const OUT_MAX: usize = 16;
const OUT_PER_DOMAIN_MAX: usize = 2;
/// Nodes taken up in one minute, and rows looked at for that.
const PER_MINUTE_MAX: usize = 120;
const ROWS_PER_MINUTE: usize = 1_000;
/// Followers who began lately, remembered for one node that waits.
const NEWCOMERS_MAX: usize = 100;
/// Domains and readers that are remembered.
const REMEMBERED_MAX: usize = 10_000;

const MINUTE: u64 = 60 * 1_000;
const HOUR: u64 = 60 * MINUTE;
/// After the first failure; then twice as long each time, up to a day.
const BACKOFF: u64 = 15 * MINUTE;
/// A server that comes back is asked for what was asked longer ago than this.
const LINKED_AFTER: u64 = 15 * MINUTE;
/// And so is a node whose follower reads.
const READ_AFTER: u64 = 2 * HOUR;
/// Milliseconds between two looks at what one reader follows.
const READER_AFTER: u64 = 10 * MINUTE;

/// The home and the name of a node.
type Cursor = (Box<str>, Box<str>);

/// The home and the name of a node, and when it was asked.
type Row = (Box<str>, Box<str>, Asked);

/// A node elsewhere that is to be asked.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) home: BareJid,
    pub(super) name: Box<str>,
    /// Who follows it only now: what it had before is not for them.
    pub(super) newcomers: Vec<BareJid>,
    /// Who would like to know, and is asked for first.
    pub(super) reader: Option<BareJid>,
}

/// Which nodes wait, and which are being asked.
#[derive(Default)]
pub(super) struct Gaps(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Wanted>,
    out: Vec<(BareJid, Box<str>)>,
    domains: HashMap<Box<str>, usize>,
    /// When a server last came to us.
    linked: HashMap<Box<str>, u64>,
    /// When it was last looked at what a reader follows.
    readers: HashMap<Box<str>, u64>,
    /// When an account was last found to follow as many nodes as it may.
    full: HashMap<Box<str>, u64>,
    /// Where the round goes on.
    cursor: Option<Cursor>,
}

impl Inner {
    /// The next that may be asked now.
    fn next(&mut self) -> Option<Wanted> {
        if self.out.len() >= OUT_MAX {
            return None;
        }
        let has_room = |wanted: &Wanted| {
            self.domains.get(wanted.home.domain()).is_none_or(|out| *out < OUT_PER_DOMAIN_MAX)
                && !self.out.iter().any(|(home, name)| *home == wanted.home && *name == wanted.name)
        };
        let at = self.waiting.iter().position(has_room)?;
        let wanted = self.waiting.remove(at)?;
        *self.domains.entry(wanted.home.domain().into()).or_default() += 1;
        self.out.push((wanted.home.clone(), wanted.name.clone()));
        Some(wanted)
    }

    fn ended(&mut self, wanted: &Wanted) {
        self.out.retain(|(home, name)| *home != wanted.home || *name != wanted.name);
        if let Some(out) = self.domains.get_mut(wanted.home.domain()) {
            *out = out.saturating_sub(1);
            if *out == 0 {
                self.domains.remove(wanted.home.domain());
            }
        }
    }
}

impl Gaps {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A server came to us at `now`, in milliseconds.
    pub(super) fn linked(&self, domain: &str, now: u64) {
        let linked = &mut self.inner().linked;
        if linked.len() >= REMEMBERED_MAX {
            linked.retain(|_, at| *at + HOUR > now);
        }
        if linked.len() < REMEMBERED_MAX {
            linked.insert(domain.into(), now);
        }
    }

    /// An account was found at `now` to follow as many nodes as it may.
    pub(super) fn found_full(&self, account: &BareJid, now: u64) {
        let full = &mut self.inner().full;
        if full.len() >= REMEMBERED_MAX {
            full.retain(|_, at| *at + MINUTE > now);
        }
        if full.len() < REMEMBERED_MAX {
            full.insert(account.as_str().into(), now);
        }
    }

    /// Whether that was within this minute.
    pub(super) fn is_full(&self, account: &BareJid, now: u64) -> bool {
        self.inner().full.get(account.as_str()).is_some_and(|at| *at + MINUTE > now)
    }

    /// Whether it is to be looked at what this reader follows.
    fn is_new_reader(&self, account: &BareJid, now: u64) -> bool {
        let readers = &mut self.inner().readers;
        if readers.len() >= REMEMBERED_MAX {
            readers.retain(|_, at| *at + READER_AFTER > now);
        }
        if readers.len() >= REMEMBERED_MAX || readers.get(account.as_str()).is_some_and(|at| *at + READER_AFTER > now) {
            return false;
        }
        readers.insert(account.as_str().into(), now);
        true
    }
}

/// Milliseconds until a node that failed so often is asked again.
fn backoff(failures: u64) -> u64 {
    let doubled = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX).min(7);
    (BACKOFF << doubled).min(24 * HOUR)
}

/// What is due among the next rows, no more than there is `room` for, and where the next round goes on: at the end it
/// begins anew.
fn take_up(
    from: Option<Cursor>,
    (rows, is_complete): (Vec<Row>, bool),
    room: usize,
    is_due: impl Fn(&str, &Asked) -> bool,
) -> (Vec<(BareJid, Box<str>)>, Option<Cursor>) {
    let (mut due, mut last, count) = (Vec::new(), from, rows.len());
    let mut seen = 0;
    for (home, name, asked) in rows {
        if due.len() >= room {
            break;
        }
        seen += 1;
        if is_due(&home, &asked)
            && let Ok(jid) = BareJid::new(&home)
        {
            due.push((jid, name.clone()));
        }
        last = Some((home, name));
    }
    (due, last.filter(|_| !is_complete || seen < count))
}

impl Timeline {
    /// Has a node elsewhere asked, unless it waits for that already.
    pub(super) fn want(&self, wanted: Wanted) {
        if self.feeder().shared().settings.gaps_hours == 0 {
            return;
        }
        let mut inner = self.gaps.inner();
        let known = inner.waiting.iter_mut().find(|one| one.home == wanted.home && one.name == wanted.name);
        match known {
            Some(known) => {
                let room = NEWCOMERS_MAX.saturating_sub(known.newcomers.len());
                known.newcomers.extend(wanted.newcomers.into_iter().take(room));
                known.reader = known.reader.take().or(wanted.reader);
            }
            None => {
                if inner.waiting.len() < WAITING_MAX {
                    inner.waiting.push_back(wanted);
                }
            }
        }
        drop(inner);
        self.ask_next();
    }

    /// Asks whoever is next, as long as there is room.
    fn ask_next(&self) {
        let Some(timeline) = self.handle() else { return };
        loop {
            let Some(wanted) = timeline.gaps.inner().next() else { return };
            let timeline = Arc::clone(&timeline);
            start(async move {
                match survive(timeline.ask_node(&wanted)).await {
                    Some(Ok(())) => {}
                    Some(Err(error)) => {
                        tracing::error!(home = %wanted.home, node = %wanted.name, %error, "what is missing cannot be filled in");
                    }
                    None => tracing::error!(home = %wanted.home, node = %wanted.name, "asking a node panicked"),
                }
                timeline.gaps.inner().ended(&wanted);
                timeline.ask_next();
            });
        }
    }

    /// Whether a node is to be asked at `now`; `is_read` says that somebody is reading it.
    fn is_due(&self, home: &str, asked: &Asked, now: u64, is_read: bool) -> bool {
        let period = self.feeder().shared().settings.gaps_hours.saturating_mul(HOUR);
        if asked.failures > 0 {
            return asked.at + backoff(asked.failures).min(period) <= now;
        }
        let domain = home.rsplit_once('@').map_or(home, |(_, domain)| domain);
        asked.at + period <= now
            || asked.at < self.opened
            || is_read && asked.at + READ_AFTER <= now
            || self.gaps.inner().linked.get(domain).is_some_and(|linked| asked.at + LINKED_AFTER <= *linked)
    }

    /// Once a minute: takes up some of what is due.
    pub(super) async fn seek(&self) -> Result<(), Fault> {
        let shared = self.feeder().shared();
        let now = shared.now();
        let (cursor, waiting) = {
            let inner = self.gaps.inner();
            (inner.cursor.clone(), inner.waiting.len())
        };
        let room = PER_MINUTE_MAX.min(WAITING_MAX.saturating_sub(waiting));
        let after = cursor.as_ref().map(|(home, name)| (&**home, &**name));
        let rows = shared.timelines.asked_page(after, ROWS_PER_MINUTE).await?;
        let is_due = |home: &str, asked: &Asked| self.is_due(home, asked, now, false);
        let (due, cursor) = take_up(cursor, rows, room, is_due);
        for (home, name) in due {
            self.want(Wanted { home, name, newcomers: Vec::new(), reader: None });
        }
        self.gaps.inner().cursor = cursor;
        Ok(())
    }

    /// Somebody reads the newest of a timeline: what it follows elsewhere and was not asked for a while is.
    pub(super) fn reader_came(&self, account: &BareJid) {
        let now = self.feeder().shared().now();
        if !self.gaps.is_new_reader(account, now) {
            return;
        }
        let (Some(timeline), account) = (self.handle(), account.clone()) else { return };
        start(async move {
            if let Err(error) = timeline.look_after(&account, now).await {
                tracing::error!(%account, %error, "what it follows cannot be looked after");
            }
        });
    }

    async fn look_after(&self, account: &BareJid, now: u64) -> Result<(), Fault> {
        let shared = self.feeder().shared();
        let Some(router) = shared.router.upgrade() else { return Ok(()) };
        for follow in self.follows(account).await? {
            if router.serves(follow.home.domain()) {
                continue;
            }
            let asked = shared.timelines.asked(follow.home.as_str(), &follow.name).await?;
            if asked.is_none_or(|asked| self.is_due(follow.home.as_str(), &asked, now, true)) {
                let reader = Some(account.clone());
                self.want(Wanted { home: follow.home, name: follow.name, newcomers: Vec::new(), reader });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use super::*;

    #[test]
    fn a_round_goes_on_where_it_ended_and_begins_anew_at_the_end() {
        let row = |number: usize| (format!("a{number}@x.example").into(), Box::from("blog"), Asked::default());
        let round = |count: usize, is_complete, room, is_due: bool| {
            let rows = ((0..count).map(row).collect(), is_complete);
            let (due, cursor) = take_up(Some(("before".into(), "blog".into())), rows, room, |_, _| is_due);
            (due.len(), cursor.map(|(home, _)| home.to_string()))
        };
        assert_eq!(round(10, true, 3, true), (3, Some("a2@x.example".to_owned())), "the rest is for the next");
        assert_eq!(round(10, true, 10, true), (10, None), "all were seen");
        assert_eq!(round(10, true, 3, false), (0, None));
        assert_eq!(round(10, false, 20, false), (0, Some("a9@x.example".to_owned())), "there are more");
        assert_eq!(round(10, true, 0, true), (0, Some("before".to_owned())), "nothing had room");
        assert_eq!(round(0, true, 3, true), (0, None));
    }

    #[test]
    fn who_fails_is_asked_later_and_later() {
        let hours: Vec<u64> = (1..=9).map(|failures| backoff(failures) / MINUTE).collect();
        assert_eq!(hours, [15, 30, 60, 120, 240, 480, 960, 1440, 1440]);
        assert_eq!(backoff(u64::MAX), 24 * HOUR);
    }
}
