//! Opening a data directory with an engine, and copying one into another.
//!
//! Everything here blocks and belongs on a thread that may.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::thread;

use crate::directory::Directory;
use crate::disk::{Disk, Layout};
use crate::embedded::{Embedded, panic_text};
use crate::fjall::Fjall;
use crate::sled::Sled;
use crate::{Batch, Fault, Memory, OpenError, Page, Range, Store};

/// Which engine keeps the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Engine {
    /// Nothing on disk: for tests and simulations.
    Memory,
    /// sled 0.34.7 with the guard. The default.
    #[default]
    Sled,
    /// fjall 3.
    Fjall,
}

impl Engine {
    /// Every engine, in the order of the documentation.
    pub const ALL: [Engine; 3] = [Engine::Memory, Engine::Sled, Engine::Fjall];

    /// Its name in configuration files and data directories.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Engine::Memory => "memory",
            Engine::Sled => "sled",
            Engine::Fjall => "fjall",
        }
    }

    /// The engine that made the store in `dir`, if there is one.
    #[must_use]
    pub fn of(dir: &Path) -> Option<Engine> {
        Directory::engine(dir)?.parse().ok()
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No engine has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownEngine(String);

impl fmt::Display for UnknownEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no store engine \"{}\": choose sled, fjall or memory", self.0)
    }
}

impl std::error::Error for UnknownEngine {}

impl FromStr for Engine {
    type Err = UnknownEngine;

    fn from_str(name: &str) -> Result<Self, UnknownEngine> {
        Engine::ALL.into_iter().find(|engine| engine.name() == name).ok_or_else(|| UnknownEngine(name.to_owned()))
    }
}

/// How much memory and how many threads a store may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The engine's own cache, in bytes. sled takes more than it is given while it writes.
    pub engine_cache_bytes: u64,
    /// Rows read lately, kept beside the engine, in bytes.
    pub row_cache_bytes: usize,
    /// Threads that read.
    pub reader_threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { engine_cache_bytes: 128 << 20, row_cache_bytes: 32 << 20, reader_threads: 2 }
    }
}

/// Opens the store in `dir`, making it when `dir` is missing or empty. Blocks, for as long as the engine needs
/// to read its log.
///
/// # Errors
/// [`OpenError`], whose text names the directory and says what to do. Nothing is changed then.
pub fn open(engine: Engine, dir: &Path, options: &Options) -> Result<Arc<dyn Store>, OpenError> {
    match engine {
        Engine::Memory => Ok(Arc::new(Memory::new())),
        Engine::Sled => open_disk(engine, dir, options, Sled::open),
        Engine::Fjall => open_disk(engine, dir, options, Fjall::open),
    }
}

fn open_disk<D: Disk>(
    engine: Engine,
    dir: &Path,
    options: &Options,
    open: fn(&Path, u64) -> Result<D, Fault>,
) -> Result<Arc<dyn Store>, OpenError> {
    let broken = |error: String| OpenError::Engine { dir: dir.into(), error };
    let directory = Directory::take(dir, engine.name())?;
    let (path, cache_bytes) = (directory.path().join(engine.name()), options.engine_cache_bytes);
    // The watermark first: an engine that lost its files would begin anew without a word.
    let (watermark, acknowledged) = directory.watermark()?;
    if acknowledged > 0 && !path.is_dir() {
        return Err(OpenError::Behind { dir: dir.into(), has: 0, acknowledged });
    }
    let opening = thread::Builder::new()
        .name("store-open".to_owned())
        .spawn(move || {
            let layout = Layout::new(open(&path, cache_bytes)?)?;
            let sequence = layout.sequence()?;
            Ok((layout, sequence))
        })
        .map_err(|error| broken(error.to_string()))?;
    let (layout, sequence) = match opening.join() {
        Ok(opened) => opened.map_err(|fault: Fault| broken(fault.to_string()))?,
        Err(panic) => return Err(broken(panic_text(&*panic))),
    };
    if sequence < acknowledged {
        return Err(OpenError::Behind { dir: dir.into(), has: sequence, acknowledged });
    }
    directory.sync()?;
    let store = Embedded::start(layout, directory, sequence, watermark, options)
        .map_err(|error| broken(format!("no thread for it: {error}")))?;
    Ok(Arc::new(store))
}

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Rows.
    pub rows: u64,
    /// Their keys and values, in bytes.
    pub bytes: u64,
}

/// Copies every row of `from` into `to`, which must be empty, page by page, and ends when all is durable.
///
/// Nothing may be written to either meanwhile.
///
/// # Errors
/// A [`Fault`] when `to` is not empty or either store fails. `to` is then to be thrown away.
pub async fn copy(from: &dyn Store, to: &dyn Store) -> Result<Copied, Fault> {
    if !to.scan(Range::all(), Page::rows(1)).await?.is_empty() {
        return Err(Fault::new("the store to copy into is not empty"));
    }
    let mut copied = Copied::default();
    let mut range = Range::all();
    loop {
        // Small pages: an engine's memory follows the size of a batch.
        let page = from.scan(range.clone(), Page::rows(256).bytes(256 * 1024)).await?;
        let Some((last, _)) = page.last() else { break };
        range = range.past(last);
        let is_complete = page.is_complete;
        let mut batch = Batch::new();
        for (key, value) in page {
            copied.rows += 1;
            copied.bytes += (key.len() + value.len()) as u64;
            batch.put(key, value);
        }
        let receipt = to.commit(batch).await.map_err(|error| Fault::new(error.to_string()))?;
        if is_complete {
            receipt.durable().await?;
            break;
        }
    }
    Ok(copied)
}
