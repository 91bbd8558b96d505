//! The settler: makes decisions about contacts durable, many with one commit, and then does what follows from them.
//!
//! A subscription stanza is not answered, so whoever sends one need not wait for the disk: its decision holds in
//! memory at once and the rest is left here. One long-lived task takes whatever waits, commits the rows of all the
//! books concerned as one batch, tells their resources, and goes through what follows in the order in which it was
//! left. So contacts hear of each other's changes in that order, and nobody hears of one that is not durable.
//!
//! The queue is bounded. Who leaves something when it is full waits, and its next bytes are not read. What follows
//! must never leave anything here itself: it would wait for its own end.

use std::sync::{Arc, OnceLock, Weak};

use store::Batch;
use tokio::sync::{OwnedMutexGuard, mpsc};

use super::book::Book;
use crate::extension::BoxFuture;
use crate::router::Router;
use crate::runtime;
use crate::tables::roster::Rosters;

/// Decisions that may wait.
const JOBS_MAX: usize = 1_024;
/// Decisions made durable at once.
const ROUND_MAX: usize = 256;
/// Rows in one commit, beyond which the rest of a round takes another one.
const ROWS_MAX: usize = 4_000;
/// Bytes in one commit, likewise.
const BYTES_MAX: usize = 4 << 20;

/// A book, and which of its changes.
pub(super) type Change = (Arc<Book>, u64);

/// A decision that is not durable yet, and what follows when it is.
pub(super) struct Job {
    /// What is to be made durable.
    pub(super) change: Option<Change>,
    /// Done afterwards, if the change could be made durable.
    pub(super) then: BoxFuture<()>,
}

/// Leaves jobs to the task, which starts with the first one.
pub(super) struct Settler {
    jobs: OnceLock<mpsc::Sender<Job>>,
    rosters: Rosters,
    router: Weak<Router>,
}

impl Settler {
    pub(super) fn new(rosters: Rosters, router: Weak<Router>) -> Self {
        Self { jobs: OnceLock::new(), rosters, router }
    }

    /// Leaves a job; resolves when it is in the queue.
    pub(super) async fn leave(&self, job: Job) {
        let jobs = self.jobs.get_or_init(|| {
            let (jobs, waiting) = mpsc::channel(JOBS_MAX);
            // The house ends its tasks by letting go of what they wait for.
            let _detached = runtime::start(work(waiting, self.rosters.clone(), Weak::clone(&self.router)));
            jobs
        });
        // The task goes with the house; then nobody is left to tell.
        let _closed = jobs.send(job).await;
    }
}

async fn work(mut waiting: mpsc::Receiver<Job>, rosters: Rosters, router: Weak<Router>) {
    let mut round = Vec::new();
    while waiting.recv_many(&mut round, ROUND_MAX).await > 0 {
        let Some(router) = router.upgrade() else { return };
        let (changes, following): (Vec<_>, Vec<_>) = round.drain(..).map(|job| (job.change, job.then)).unzip();
        settle(&rosters, &router, &changes).await;
        for (change, then) in changes.into_iter().zip(following) {
            if change.is_none_or(|(book, change)| book.is_durable(change)) && runtime::survive(then).await.is_none() {
                // A fault of ours in what followed from one stanza; the others must not suffer from it.
                tracing::error!("what follows from a subscription panicked");
            }
        }
    }
}

/// A book in the middle of a commit: nobody else passes its turnstile.
struct Open {
    book: Arc<Book>,
    upto: u64,
    _turn: OwnedMutexGuard<()>,
}

async fn settle(rosters: &Rosters, router: &Router, changes: &[Option<Change>]) {
    let mut opened: Vec<Open> = Vec::new();
    let mut batch = Batch::new();
    for (book, change) in changes.iter().flatten() {
        if opened.iter().any(|other| Arc::ptr_eq(&other.book, book)) {
            continue;
        }
        // Others hold one turnstile at most, and only for a commit: waiting for several ends.
        let turn = book.turn().await;
        if let Some((rows, upto)) = book.collect(*change) {
            if !batch.is_empty() && (batch.len() + rows.len() > ROWS_MAX || batch.bytes() + rows.bytes() > BYTES_MAX) {
                commit(rosters, router, std::mem::take(&mut batch), std::mem::take(&mut opened)).await;
            }
            batch.append(rows);
            opened.push(Open { book: Arc::clone(book), upto, _turn: turn });
        }
    }
    commit(rosters, router, batch, opened).await;
}

async fn commit(rosters: &Rosters, router: &Router, batch: Batch, opened: Vec<Open>) {
    let committed = if batch.is_empty() { Ok(()) } else { rosters.commit(batch).await };
    for open in opened {
        match &committed {
            Ok(()) => open.book.finish(open.upto, &router.sessions),
            Err(error) => open.book.fail(error),
        }
    }
}
