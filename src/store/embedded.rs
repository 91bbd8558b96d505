//! A store over an engine on disk: readers, the writer's line, the cache, and the way out.
//!
//! Reads are answered from the row cache where they are asked, and otherwise by a few reader threads, since an
//! engine may block on the disk. Writes go to the one writer thread (`writer.rs`). The gate keeps a batch from
//! being applied while a page is read, so a page is one moment.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::thread;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::admit::check_bounds;
use crate::cache::Cache;
use crate::directory::Directory;
use crate::disk::{Disk, Layout};
use crate::queue::{Queue, Room};
use crate::verify::verify;
use crate::writer::{Job, Reply, Writer};
use crate::{Batch, CommitError, Fault, Options, Page, Pending, Range, Receipt, Report, Rows, Stats, Store};

/// Commits waiting or not yet durable: about one for each KiB, and one for each batch.
const WRITE_ROOM: u32 = 8192;
/// Reads waiting.
const READ_ROOM: u32 = 4096;
/// Reads one thread takes at once.
const READS_PER_TURN: usize = 8;

/// A store with files and threads. Closes when dropped.
pub(crate) struct Embedded<D: Disk> {
    shared: Arc<Shared<D>>,
}

/// What the handle and its threads share.
pub(crate) struct Shared<D> {
    /// The engine; gone when closed. Read by readers, written by the writer's `apply` and the closing.
    pub(crate) gate: RwLock<Option<Layout<D>>>,
    pub(crate) cache: Cache,
    pub(crate) writes: Queue<Job>,
    pub(crate) reads: Queue<Read>,
    pub(crate) counts: Counts,
    /// Set by the first failed write; nothing is written after it.
    pub(crate) broken: Mutex<Option<Fault>>,
    /// Set when closing begins: the cache must not go on answering for an engine that is gone.
    is_closing: AtomicBool,
    engine: &'static str,
    ending: Mutex<Ending>,
}

#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) commits: AtomicU64,
    pub(crate) flushes: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
}

enum Ending {
    Open(Vec<oneshot::Sender<Result<(), Fault>>>),
    Over(Result<(), Fault>),
}

/// One read for a reader thread.
pub(crate) enum Read {
    Get(Bytes, oneshot::Sender<Result<Option<Bytes>, Fault>>),
    Scan(Range, Page, oneshot::Sender<Result<Rows, Fault>>),
}

impl<D: Disk> Embedded<D> {
    /// Starts the threads over an opened engine.
    pub(crate) fn start(
        layout: Layout<D>,
        directory: Directory,
        sequence: u64,
        watermark: crate::directory::Watermark,
        options: &Options,
    ) -> std::io::Result<Self> {
        let sync = layout.disk.syncer();
        let shared = Arc::new(Shared {
            engine: layout.disk.name(),
            gate: RwLock::new(Some(layout)),
            cache: Cache::new(options.row_cache_bytes),
            writes: Queue::new(WRITE_ROOM),
            reads: Queue::new(READ_ROOM),
            counts: Counts::default(),
            broken: Mutex::new(None),
            is_closing: AtomicBool::new(false),
            ending: Mutex::new(Ending::Open(Vec::new())),
        });
        shared.counts.commits.store(sequence, Relaxed);
        // From here on dropping `store` ends every thread that was started.
        let store = Self { shared };
        for number in 0..options.reader_threads.max(1) {
            let shared = Arc::clone(&store.shared);
            thread::Builder::new().name(format!("store-read-{number}")).spawn(move || shared.serve_reads())?;
        }
        Writer { shared: Arc::clone(&store.shared), sequence }.start(sync, watermark, directory)?;
        Ok(store)
    }
}

impl<D: Disk> Shared<D> {
    /// No panic can leave the gate's content half-changed that does not also break the store for writing.
    pub(crate) fn enter(&self) -> RwLockReadGuard<'_, Option<Layout<D>>> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve_reads(&self) {
        let mut turn = Vec::with_capacity(READS_PER_TURN);
        loop {
            let mut left = READS_PER_TURN;
            let goes_on = self.reads.take(&mut turn, |_| {
                left = left.saturating_sub(1);
                left > 0
            });
            if !goes_on {
                return;
            }
            for read in turn.drain(..) {
                match read {
                    Read::Get(key, answer) => {
                        let _ = answer.send(caught(|| self.get_now(&key)));
                    }
                    Read::Scan(range, page, answer) => {
                        let _ = answer.send(caught(|| self.scan_now(&range, page)));
                    }
                }
                self.reads.release(1);
            }
        }
    }

    fn get_now(&self, key: &Bytes) -> Result<Option<Bytes>, Fault> {
        let gate = self.enter();
        let layout = gate.as_ref().ok_or_else(Fault::closed)?;
        let value = layout.get(key)?;
        self.cache.remember(key, value.as_ref());
        Ok(value)
    }

    fn scan_now(&self, range: &Range, page: Page) -> Result<Rows, Fault> {
        let gate = self.enter();
        gate.as_ref().ok_or_else(Fault::closed)?.scan(range, page)
    }

    fn read<T>(self: &Arc<Self>, make: impl FnOnce(oneshot::Sender<Result<T, Fault>>) -> Read) -> Pending<T>
    where
        T: Send + 'static,
        D: Disk,
    {
        let (sender, receiver) = oneshot::channel();
        let read = make(sender);
        match self.reads.try_reserve(1) {
            Room::Taken => {
                self.reads.push(read);
                Pending::waiting(receiver)
            }
            Room::Closed => Pending::ready(Err(Fault::closed())),
            Room::Full => {
                let shared = Arc::clone(self);
                Pending::boxed(async move {
                    if shared.reads.reserve(1).await {
                        shared.reads.push(read);
                    }
                    // A read that was not pushed has dropped its sender.
                    receiver.await.unwrap_or_else(|_| Err(Fault::closed()))
                })
            }
        }
    }

    fn submit<T>(
        self: &Arc<Self>,
        batch: Batch,
        make: impl FnOnce(oneshot::Sender<Result<T, CommitError>>) -> Reply,
    ) -> Pending<T, CommitError>
    where
        T: Send + 'static,
    {
        if let Err(refused) = check_bounds(&batch) {
            return Pending::ready(Err(refused));
        }
        let weight = u32::try_from(batch.bytes() / 1024).unwrap_or(WRITE_ROOM).saturating_add(1).min(WRITE_ROOM);
        let (sender, receiver) = oneshot::channel();
        let job = Job { batch, weight, reply: make(sender) };
        match self.writes.try_reserve(weight) {
            Room::Taken => {
                self.writes.push(job);
                Pending::waiting(receiver)
            }
            Room::Closed => Pending::ready(Err(Fault::closed().into())),
            Room::Full => {
                let shared = Arc::clone(self);
                Pending::boxed(async move {
                    if shared.writes.reserve(weight).await {
                        shared.writes.push(job);
                    }
                    receiver.await.unwrap_or_else(|_| Err(Fault::closed().into()))
                })
            }
        }
    }

    /// The last step, on the last thread: nothing is under way any more.
    pub(crate) fn release(&self, outcome: Result<(), Fault>, directory: Directory) {
        self.reads.close();
        let layout = self.gate.write().unwrap_or_else(PoisonError::into_inner).take();
        let dropped = caught(|| {
            drop(layout);
            Ok(())
        });
        drop(directory);
        let outcome = outcome.and(dropped);
        let mut ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ending::Open(waiting) = std::mem::replace(&mut *ending, Ending::Over(outcome.clone())) {
            for waiter in waiting {
                let _ = waiter.send(outcome.clone());
            }
        }
    }
}

/// Runs engine code, which is known to panic on damaged files, and makes a fault of it.
pub(crate) fn caught<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(Fault::new(panic_text(&*panic))))
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no reason given".to_owned());
    format!("the engine panicked: {text}")
}

impl<D: Disk> Store for Embedded<D> {
    fn get(&self, key: &[u8]) -> Pending<Option<Bytes>> {
        if let Some(known) = self.shared.cache.get(key)
            && !self.shared.is_closing.load(Relaxed)
        {
            self.shared.counts.hits.fetch_add(1, Relaxed);
            return Pending::ready(Ok(known));
        }
        self.shared.counts.misses.fetch_add(1, Relaxed);
        let key = Bytes::copy_from_slice(key);
        self.shared.read(|answer| Read::Get(key, answer))
    }

    fn scan(&self, range: Range, page: Page) -> Pending<Rows> {
        self.shared.counts.misses.fetch_add(1, Relaxed);
        self.shared.read(|answer| Read::Scan(range, page, answer))
    }

    fn commit(&self, batch: Batch) -> Pending<Receipt, CommitError> {
        self.shared.submit(batch, Reply::Applied)
    }

    fn commit_durably(&self, batch: Batch) -> Pending<(), CommitError> {
        self.shared.submit(batch, Reply::Durable)
    }

    fn stats(&self) -> Stats {
        let shared = &self.shared;
        // Never waits behind an apply: a number that is missing once is better than a stopped task.
        let disk_bytes = match shared.gate.try_read() {
            Ok(gate) => gate.as_ref().map_or(0, |layout| layout.disk.disk_bytes()),
            Err(_) => 0,
        };
        Stats {
            engine: shared.engine,
            disk_bytes,
            commits: shared.counts.commits.load(Relaxed),
            flushes: shared.counts.flushes.load(Relaxed),
            commits_waiting: shared.writes.len() as u64,
            reads_waiting: shared.reads.len() as u64,
            cache_hits: shared.counts.hits.load(Relaxed),
            cache_misses: shared.counts.misses.load(Relaxed),
        }
    }

    fn verify(&self) -> Pending<Report> {
        let (sender, receiver) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let work = move || {
            let _ = sender.send(caught(|| verify(&shared)));
        };
        match thread::Builder::new().name("store-verify".to_owned()).spawn(work) {
            Ok(_) => Pending::waiting(receiver),
            Err(error) => Pending::ready(Err(error.into())),
        }
    }

    fn close(&self) -> Pending<()> {
        self.shared.is_closing.store(true, Relaxed);
        self.shared.writes.close();
        let mut ending = self.shared.ending.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *ending {
            Ending::Over(outcome) => Pending::ready(outcome.clone()),
            Ending::Open(waiting) => {
                let (sender, receiver) = oneshot::channel();
                waiting.push(sender);
                Pending::waiting(receiver)
            }
        }
    }
}

impl<D: Disk> Drop for Embedded<D> {
    fn drop(&mut self) {
        self.shared.writes.close();
        // Readers end here too if the writer never came to be.
        self.shared.reads.close();
    }
}
