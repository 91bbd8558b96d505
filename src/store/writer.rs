//! The one line of writes: a thread that applies, and a thread that syncs.
//!
//! The writer takes the batches that wait, checks their expectations in order, applies them in small groups
//! (the memory an engine takes follows the size of a batch) and says so: from then on they are visible. The
//! sync thread takes everything applied since its last turn, syncs once and says so to all of them: then they
//! are durable. While it waits for the disk the writer goes on, so the next sync covers whatever came
//! meanwhile; there is no timer. After a failed apply or sync nothing is written any more: what the disk holds
//! is then unknown, and a second try would only hide that.

use std::mem;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use crate::admit::{Overlay, admit};
use crate::directory::{Directory, Watermark};
use crate::disk::{Disk, Sync};
use crate::embedded::{Shared, caught};
use crate::queue::Queue;
use crate::{Batch, CommitError, Fault, Pending, Receipt};

/// Batches applied as one.
const GROUP_BATCHES_MAX: usize = 32;
/// Their bytes; a bigger batch makes a group of its own.
const GROUP_BYTES_MAX: usize = 256 * 1024;

/// A commit on its way to the writer.
pub(crate) struct Job {
    pub(crate) batch: Batch,
    pub(crate) weight: u32,
    pub(crate) reply: Reply,
}

/// What the committer waits for.
pub(crate) enum Reply {
    Applied(oneshot::Sender<Result<Receipt, CommitError>>),
    Durable(oneshot::Sender<Result<(), CommitError>>),
}

impl Reply {
    fn refuse(self, error: CommitError) {
        match self {
            Reply::Applied(answer) => drop(answer.send(Err(error))),
            Reply::Durable(answer) => drop(answer.send(Err(error))),
        }
    }
}

/// An applied commit on its way to the disk.
struct Applied {
    sequence: u64,
    weight: u32,
    waiter: Waiter,
}

enum Waiter {
    Receipt(oneshot::Sender<Result<(), Fault>>),
    Commit(oneshot::Sender<Result<(), CommitError>>),
}

impl Waiter {
    fn tell(self, outcome: &Result<(), Fault>) {
        match self {
            Waiter::Receipt(answer) => drop(answer.send(outcome.clone())),
            Waiter::Commit(answer) => drop(answer.send(outcome.clone().map_err(CommitError::from))),
        }
    }
}

pub(crate) struct Writer<D: Disk> {
    pub(crate) shared: Arc<Shared<D>>,
    /// The last commit applied.
    pub(crate) sequence: u64,
}

impl<D: Disk> Writer<D> {
    /// Starts both threads. They end when the queue of writes is closed, and release the store.
    pub(crate) fn start(self, sync: Sync, watermark: Watermark, directory: Directory) -> std::io::Result<()> {
        // Bounded by the room of the queue before it: room is given back after the sync.
        let applied = Arc::new(Queue::new(0));
        let syncer = Syncer {
            shared: Arc::clone(&self.shared),
            applied: Arc::clone(&applied),
            watermark,
            sequence: self.sequence,
        };
        thread::Builder::new().name("store-sync".to_owned()).spawn(move || syncer.run(sync, directory))?;
        let close = CloseOnDrop(Arc::clone(&applied));
        thread::Builder::new().name("store-write".to_owned()).spawn(move || self.run(&close.0))?;
        Ok(())
    }

    fn run(mut self, applied: &Queue<Applied>) {
        let mut group = Vec::with_capacity(GROUP_BATCHES_MAX);
        loop {
            let (mut batches, mut bytes) = (0, 0);
            let goes_on = self.shared.writes.take(&mut group, |job| {
                batches += 1;
                bytes += job.batch.bytes();
                batches <= GROUP_BATCHES_MAX && bytes <= GROUP_BYTES_MAX
            });
            if !goes_on {
                return;
            }
            self.write(mem::take(&mut group), applied);
        }
    }

    /// Decides and applies one group, and answers its members.
    fn write(&mut self, group: Vec<Job>, applied: &Queue<Applied>) {
        if let Some(fault) = self.shared.fault() {
            for job in group {
                self.shared.writes.release(job.weight);
                job.reply.refuse(fault.clone().into());
            }
            return;
        }
        let mut changes = Overlay::new();
        let mut admitted = Vec::with_capacity(group.len());
        {
            let gate = self.shared.enter();
            for job in group {
                let decided = match gate.as_ref() {
                    Some(layout) => caught(|| Ok(admit(job.batch, layout, &mut changes))),
                    None => Err(Fault::closed()),
                };
                match decided {
                    Ok(Ok(())) => admitted.push((job.weight, job.reply)),
                    Ok(Err(refused)) => {
                        self.shared.writes.release(job.weight);
                        job.reply.refuse(refused);
                    }
                    Err(panic) => {
                        self.shared.writes.release(job.weight);
                        job.reply.refuse(panic.into());
                    }
                }
            }
        }
        if admitted.is_empty() {
            return;
        }
        // Nothing changed, nothing to number: the engine's own count must not fall behind ours.
        let step = u64::from(!changes.is_empty());
        let last = self.sequence + step * admitted.len() as u64;
        if let Err(fault) = self.apply(&changes, last) {
            self.shared.break_down(&fault);
            for (weight, reply) in admitted {
                self.shared.writes.release(weight);
                reply.refuse(fault.clone().into());
            }
            return;
        }
        self.shared.counts.commits.store(last, Relaxed);
        let mut told = Vec::with_capacity(admitted.len());
        for (weight, reply) in admitted {
            self.sequence += step;
            let sequence = self.sequence;
            let waiter = match reply {
                Reply::Durable(answer) => Waiter::Commit(answer),
                Reply::Applied(answer) => {
                    let (sender, receiver) = oneshot::channel();
                    told.push((answer, Receipt::new(sequence, Pending::waiting(receiver))));
                    Waiter::Receipt(sender)
                }
            };
            applied.push(Applied { sequence, weight, waiter });
        }
        for (answer, receipt) in told {
            let _ = answer.send(Ok(receipt));
        }
    }

    fn apply(&self, changes: &Overlay, sequence: u64) -> Result<(), Fault> {
        let mut gate = self.shared.gate.write().unwrap_or_else(PoisonError::into_inner);
        let layout = gate.as_mut().ok_or_else(Fault::closed)?;
        if !changes.is_empty() {
            caught(|| layout.apply(changes, sequence))?;
        }
        for (key, value) in changes {
            self.shared.cache.change(key, value.as_ref());
        }
        Ok(())
    }
}

/// Ends the sync thread when the writer is gone, however it went.
struct CloseOnDrop(Arc<Queue<Applied>>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

struct Syncer<D: Disk> {
    shared: Arc<Shared<D>>,
    applied: Arc<Queue<Applied>>,
    watermark: Watermark,
    sequence: u64,
}

impl<D: Disk> Syncer<D> {
    fn run(mut self, mut sync: Sync, directory: Directory) {
        let mut group = Vec::new();
        while self.applied.take(&mut group, |_| true) {
            let last = group.last().map_or(self.sequence, |last| last.sequence);
            let outcome = match self.shared.fault() {
                Some(fault) => Err(fault),
                None if last == self.sequence => Ok(()),
                None => caught(&mut sync).inspect_err(|fault| self.shared.break_down(fault)),
            };
            if outcome.is_ok() && last != self.sequence {
                self.shared.counts.flushes.fetch_add(1, Relaxed);
                self.sequence = last;
                if let Err(error) = self.watermark.set(self.sequence) {
                    // It only serves to notice a loss at the next start.
                    tracing::warn!(%error, "the store's watermark was not written");
                }
            }
            let mut room = 0;
            for applied in group.drain(..) {
                room += applied.weight;
                applied.waiter.tell(&outcome);
            }
            self.shared.writes.release(room);
        }
        let outcome = match self.shared.fault() {
            Some(fault) => Err(fault),
            None => caught(&mut sync),
        };
        drop(sync);
        self.shared.release(outcome, directory);
    }
}

impl<D> Shared<D> {
    /// Why nothing can be written, if so.
    fn fault(&self) -> Option<Fault> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn break_down(&self, fault: &Fault) {
        tracing::error!(%fault, "the store failed to write and takes no more writes until it is opened again");
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        broken.get_or_insert_with(|| Fault::new(format!("an earlier write failed: {fault}")));
    }
}
