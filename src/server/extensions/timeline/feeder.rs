//! Writes what is published here into the timelines of those who follow it.
//!
//! A publish leaves a row that says so, in the same batch; a task walks the followers, adds an entry for each, and
//! takes the row away with the last of them. What a crash left undone is done at the next start: entries follow from
//! the item, so that writing them again changes nothing. Until it is done, readers look for the item in its node.
//!
//! The followers of a node that has very many are not written to. They look for its items when they read.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use pubsub::{Change, Subscription, SubscriptionState};
use store::{Batch, CommitError, Fault};
use tokio::sync::{OnceCell, mpsc};
use xmpp::{BareJid, Jid, ns};

use super::Settings;
use crate::extension::{Kit, Occasion, OccasionKind};
use crate::router::Router;
use crate::runtime::{Clock, start, survive};
use crate::tables::nodes::{Entry, Held, Nodes, Number};
use crate::tables::timeline::{Arrivals, Kept, Place, Reservation, Timelines, Work};

/// Tasks that write. More than the cores would only take turns.
const TASKS: usize = 2;
/// Items that wait for one of them.
const JOBS_MAX: usize = 512;
/// Entries in one batch. Whoever else writes waits for it, some milliseconds; smaller ones each cost a sync.
const STRIDE: usize = 512;
/// One account in so many is looked after when an entry is written to it, so that each is every so many entries; more often
/// where few are kept.
const TRIM_EVERY: u64 = 128;
/// Accounts that are looked at in a minute for entries that are too old.
const LOOKED_AT: usize = 200;
/// Rows of work taken at once at the start.
const WORK_ROWS: usize = 500;
/// Milliseconds in a day.
const DAY: u64 = 24 * 60 * 60 * 1_000;

/// An item that is to be written to its followers.
#[expect(missing_debug_implementations, reason = "there is nothing to show")]
pub struct Job {
    entry: Arc<Entry>,
    held: Arc<Held>,
    place: Place,
}

/// Writes entries.
pub struct Feeder {
    shared: Arc<Shared>,
    queues: Vec<mpsc::Sender<Job>>,
    /// Whether what was left undone is known.
    recovered: OnceCell<()>,
}

pub(super) struct Shared {
    pub(super) router: Weak<Router>,
    pub(super) nodes: Arc<Nodes>,
    pub(super) timelines: Timelines,
    pub(super) settings: Settings,
    clock: Arc<dyn Clock>,
    arrivals: Arc<Arrivals>,
    merged: Mutex<HashSet<Number>>,
    /// How far accounts were looked at for entries that are too old.
    round: tokio::sync::Mutex<Option<Box<str>>>,
    hasher: RandomState,
}

impl Feeder {
    /// Writes into the kit's store; starts the tasks, which end when this is dropped.
    #[must_use]
    pub fn start(kit: &Kit, nodes: &Arc<Nodes>, settings: Settings) -> Arc<Self> {
        let shared = Arc::new(Shared {
            router: Arc::downgrade(&kit.router),
            nodes: Arc::clone(nodes),
            timelines: Timelines::new(Arc::clone(&kit.store)),
            settings,
            clock: Arc::clone(&kit.clock),
            arrivals: Arc::default(),
            merged: Mutex::default(),
            round: tokio::sync::Mutex::default(),
            hasher: RandomState::new(),
        });
        let queues = (0..TASKS)
            .map(|_| {
                let (sender, receiver) = mpsc::channel(JOBS_MAX);
                start(Arc::clone(&shared).work(receiver));
                sender
            })
            .collect();
        Arc::new(Self { shared, queues, recovered: OnceCell::new() })
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Gives what is about to come its time.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn reserve(self: &Arc<Self>) -> Result<Reservation, Fault> {
        self.ready().await?;
        Ok(self.shared.arrivals.reserve(self.shared.now()))
    }

    /// These changes were made to a node at the time of a reservation that the caller still holds, and the node is as
    /// `held` says now: readers see from now on what was published. It is written to the followers by
    /// [`Feeder::write`].
    #[must_use]
    pub fn landing(&self, entry: &Arc<Entry>, held: &Arc<Held>, changes: &[Change]) -> Vec<Job> {
        if held.node.tally.subscribers == 0 {
            return Vec::new();
        }
        let published = changes.iter().filter_map(|change| match change {
            Change::PutItem(item) => Some(Place::new(item.updated.0, &held.number, item.sequence)),
            _ => None,
        });
        let jobs = published.filter(|place| self.shared.arrivals.land(*place));
        jobs.map(|place| Job { entry: Arc::clone(entry), held: Arc::clone(held), place }).collect()
    }

    /// Has items written to whoever follows their nodes. Waits when there is no room.
    pub async fn write(&self, jobs: Vec<Job>) {
        for job in jobs {
            self.queue(job).await;
        }
    }

    async fn queue(&self, job: Job) {
        let at = self.shared.hasher.hash_one(job.held.number) % self.queues.len().max(1) as u64;
        let Some(queue) = usize::try_from(at).ok().and_then(|at| self.queues.get(at)) else { return };
        // A closed queue means that the house is closing. The work is done at the next start.
        let _closing = queue.send(job).await;
    }

    /// Waits until it is known what was left undone before the start, and up to when times were given.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn ready(self: &Arc<Self>) -> Result<(), Fault> {
        self.recovered.get_or_try_init(async || self.recover().await).await.copied()
    }

    async fn recover(self: &Arc<Self>) -> Result<(), Fault> {
        let merged = self.shared.timelines.merged().await?;
        self.shared.merged().extend(merged);
        self.shared.arrivals.resume(self.shared.timelines.last().await?);
        let mut left: Vec<Work> = Vec::new();
        loop {
            let work = self.shared.timelines.work(left.last(), WORK_ROWS).await?;
            let is_complete = work.len() < WORK_ROWS;
            // What is under way already is not there twice.
            left.extend(work.into_iter().filter(|work| self.shared.arrivals.land(work.place)));
            if is_complete || left.is_empty() {
                break;
            }
        }
        if !left.is_empty() {
            let feeder = Arc::downgrade(self);
            start(async move {
                for work in left {
                    let Some(feeder) = feeder.upgrade() else { return };
                    feeder.take_up(work).await;
                }
            });
        }
        Ok(())
    }

    /// Goes on with work that was left undone.
    async fn take_up(&self, work: Work) {
        let Ok(home) = BareJid::new(&work.home) else { return };
        let entry = self.shared.nodes.entry(&home, &work.name);
        match self.shared.nodes.held(&entry).await {
            Ok(Some(held)) if held.number == work.number => {
                self.queue(Job { entry, held, place: work.place }).await;
            }
            Ok(_) => {
                // The node is gone, and its items with it.
                let mut batch = Batch::new();
                Timelines::settle(&mut batch, &work.number, work.place.sequence);
                if let Err(error) = self.shared.timelines.commit(batch).await {
                    tracing::error!(%error, "work on timelines cannot be settled");
                }
                self.shared.arrivals.landed(&work.place);
            }
            Err(error) => tracing::error!(%error, "a node whose followers wait cannot be read"),
        }
    }

    /// Once a minute: takes up what was left undone by commits that nobody waited for.
    pub(super) async fn sweep(self: &Arc<Self>) -> Result<(), CommitError> {
        self.ready().await?;
        self.shared.timelines.put_last(self.shared.arrivals.last()).await?;
        for work in self.shared.timelines.work(None, WORK_ROWS).await? {
            if self.shared.arrivals.land(work.place) {
                self.take_up(work).await;
            }
        }
        self.shared.clear_old().await
    }
}

impl Shared {
    fn merged(&self) -> MutexGuard<'_, HashSet<Number>> {
        self.merged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the followers of a node look for its items themselves.
    pub(super) fn is_merged(&self, number: &Number) -> bool {
        self.merged().contains(number)
    }

    pub(super) fn arrivals(&self) -> &Arc<Arrivals> {
        &self.arrivals
    }

    /// The time, in milliseconds.
    pub(super) fn now(&self) -> u64 {
        self.clock.now() / 1000
    }

    /// What is kept of a timeline now.
    pub(super) fn kept(&self) -> Kept {
        let since = match self.settings.days_max {
            0 => 0,
            days => self.now().saturating_sub(days.saturating_mul(DAY)),
        };
        Kept { entries_max: self.settings.entries_per_account_max, since, settled: self.arrivals.settled() }
    }

    /// Once a minute: looks at some accounts, of which some may be sent nothing that would have them looked after.
    async fn clear_old(&self) -> Result<(), CommitError> {
        if self.settings.days_max == 0 {
            return Ok(());
        }
        let mut round = self.round.lock().await;
        for _ in 0..LOOKED_AT {
            let Some((account, oldest)) = self.timelines.next(round.as_deref()).await? else {
                *round = None;
                return Ok(());
            };
            let kept = self.kept();
            if oldest.time < kept.since {
                self.timelines.trim(&account, kept).await?;
            }
            *round = Some(account);
        }
        Ok(())
    }

    async fn work(self: Arc<Self>, mut jobs: mpsc::Receiver<Job>) {
        while let Some(job) = jobs.recv().await {
            match survive(self.write(&job)).await {
                Some(Ok(())) => self.arrivals.landed(&job.place),
                // Readers look for it in its node until it is tried again, at the next start.
                Some(Err(error)) => {
                    tracing::error!(%error, home = %job.entry.home, node = %job.entry.name, "followers cannot be written to");
                }
                None => {
                    tracing::error!(home = %job.entry.home, node = %job.entry.name, "writing to followers panicked")
                }
            }
        }
    }

    async fn write(&self, job: &Job) -> Result<(), CommitError> {
        let number = &job.held.number;
        let mut batch = Batch::new();
        Timelines::settle(&mut batch, number, job.place.sequence);
        if self.is_merged(number) || job.held.node.tally.subscribers >= self.settings.merge_followers_min {
            if self.merged().insert(*number) {
                Timelines::merge(&mut batch, number);
            }
            return self.timelines.commit(batch).await.map(drop);
        }
        let mut trimmed = Vec::new();
        // The last page takes the work away.
        if let Some(all) = self.nodes.all_subscribers(&job.entry, &job.held).await? {
            let mut pages = all.chunks(STRIDE).peekable();
            while let Some(page) = pages.next() {
                let batch = if pages.peek().is_none() { std::mem::take(&mut batch) } else { Batch::new() };
                self.write_page(job, page, batch, &mut trimmed).await?;
            }
        } else {
            let mut from = None;
            loop {
                let page = self.nodes.subscribers(&job.held, from.as_ref(), STRIDE).await?;
                from = page.next;
                let batch = if from.is_none() { std::mem::take(&mut batch) } else { Batch::new() };
                self.write_page(job, &page.rows, batch, &mut trimmed).await?;
                if from.is_none() {
                    break;
                }
            }
        }
        if !batch.is_empty() {
            // Nobody was subscribed any more.
            let _settled = self.timelines.commit(batch).await?;
        }
        for account in trimmed {
            self.timelines.trim(&account, self.kept()).await?;
        }
        Ok(())
    }

    async fn write_page(
        &self,
        job: &Job,
        page: &[Subscription],
        mut batch: Batch,
        trimmed: &mut Vec<Box<str>>,
    ) -> Result<(), CommitError> {
        let Some(router) = self.router.upgrade() else { return Ok(()) };
        let (mut written, is_feed) = (Vec::new(), &*job.entry.name == ns::MICROBLOG);
        for one in page {
            // Who may read it now is asked when it is read.
            if one.jid.is_bare()
                && one.jid.localpart().is_some()
                && one.state == SubscriptionState::Subscribed
                && one.after < job.place.sequence
                && one.options.reach.has_items()
                && router.serves(one.jid.domain())
            {
                Timelines::put(&mut batch, one.jid.as_str(), &job.place);
                if is_feed && written.last().is_none_or(|last: &BareJid| last.as_str() != one.jid.as_str()) {
                    written.push(one.jid.to_bare());
                }
                if self.is_due(one.jid.as_str(), &job.place) {
                    trimmed.push(one.jid.as_str().into());
                }
            }
        }
        if !batch.is_empty() {
            let _applied = self.timelines.commit(batch).await?;
        }
        let from = Jid::from(&job.entry.home);
        let occasion = Occasion::new(OccasionKind::Post, &from);
        for follower in &written {
            router.tell(|listener| listener.deserves_waking(follower, &occasion)).await;
        }
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Whether the timeline of `account` is to be trimmed with this entry.
    pub(super) fn is_due(&self, account: &str, place: &Place) -> bool {
        let every = (self.settings.entries_per_account_max / 8).clamp(1, TRIM_EVERY);
        self.hasher.hash_one((account, place)).is_multiple_of(every)
    }
}
