//! The default engine: sled 0.34.7, guarded.
//!
//! As it comes, sled's `flush` ends in `sync_file_range` on Linux, which survives no power cut, and a
//! half-written `snap.*.generating` keeps it from opening. So: the sync here is `flush` and then `fdatasync` of
//! its log through a handle of our own, in this order and always both; half-written snapshots are removed
//! before it is opened; and opening happens where a panic is caught (`open.rs`). Values never exceed 4 KiB a
//! row, since sled puts bigger pages into files that it does not sync. No subscribers (`watch_prefix` can stop
//! every writer of the process), one tree, no compression, no `len()`. See `docs/decisions/0003`.

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use crate::disk::{Disk, Sync, Visitor, Writes};
use crate::fault::Fault;

pub(crate) struct Sled {
    db: ::sled::Db,
    log: File,
}

const VALUE_BYTES_MAX: usize = 4096;
/// How long an earlier handle may take to go: five seconds.
const LET_GO_TRIES: u32 = 500;
const LET_GO_PAUSE: Duration = Duration::from_millis(10);

fn fault(error: ::sled::Error) -> Fault {
    Fault::new(format!("sled: {error}"))
}

impl Sled {
    /// Opens or makes the database in `path`. May panic on a broken one.
    pub(crate) fn open(path: &Path, cache_bytes: u64) -> Result<Self, Fault> {
        fs::create_dir_all(path)?;
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().ends_with(".generating") {
                fs::remove_file(entry.path())?;
            }
        }
        let config = ::sled::Config::new().path(path).cache_capacity(cache_bytes);
        let db = open_when_let_go(&config)?;
        let log = OpenOptions::new().read(true).write(true).open(path.join("db"))?;
        log.sync_all()?;
        File::open(path)?.sync_all()?;
        Ok(Self { db, log })
    }
}

/// Opens when sled's own lock is free. The directory is ours (`directory.rs`), so the only holder there can be
/// is a thread of sled's that has not noticed yet that its database was dropped.
#[allow(clippy::disallowed_methods, reason = "on the thread that opens the store, which waits for nothing else")]
fn open_when_let_go(config: &::sled::Config) -> Result<::sled::Db, Fault> {
    let mut patience = LET_GO_TRIES;
    loop {
        match config.open() {
            // It has no kind of its own for this.
            Err(::sled::Error::Io(error)) if patience > 0 && error.to_string().contains("could not acquire lock") => {
                patience -= 1;
                thread::sleep(LET_GO_PAUSE);
            }
            opened => return opened.map_err(fault),
        }
    }
}

impl Disk for Sled {
    fn name(&self) -> &'static str {
        "sled"
    }

    fn value_bytes_max(&self) -> usize {
        VALUE_BYTES_MAX
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        Ok(self.db.get(key).map_err(fault)?.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(&self, from: &[u8], to: &[u8], reverse: bool, visit: &mut Visitor<'_>) -> Result<(), Fault> {
        let mut rows = self.db.range(from..to);
        loop {
            let next = if reverse { rows.next_back() } else { rows.next() };
            let Some(row) = next else { return Ok(()) };
            let (key, value) = row.map_err(fault)?;
            if visit(&key, &value).is_break() {
                return Ok(());
            }
        }
    }

    fn apply(&self, writes: Writes) -> Result<(), Fault> {
        let mut batch = ::sled::Batch::default();
        for (key, value) in writes {
            match value {
                Some(value) => batch.insert(&*key, &*value),
                None => batch.remove(&*key),
            }
        }
        self.db.apply_batch(batch).map_err(fault)
    }

    fn syncer(&self) -> Sync {
        let db = self.db.clone();
        let log = self.log.try_clone();
        Box::new(move || {
            let log = log.as_ref().map_err(|error| Fault::new(error.to_string()))?;
            db.flush().map_err(fault)?;
            // Without this line an acknowledged post does not survive a power cut.
            log.sync_data()?;
            Ok(())
        })
    }

    fn disk_bytes(&self) -> u64 {
        self.db.size_on_disk().unwrap_or(0)
    }
}
