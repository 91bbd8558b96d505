//! The data directory: who holds it, what is in it, and how far it was acknowledged.
//!
//! Beside the engine's own folder it holds three files. `lock` is locked while the store is open. `format` says
//! in two lines which format and engine the directory has. `watermark` holds the number of the last commit
//! that was acknowledged; it is written after the engine's sync and not synced itself, so it may lag behind the
//! engine and can never truthfully be ahead of it: if it is, acknowledged commits are missing.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};

use crate::fault::OpenError;

/// The format this program writes, and the newest it reads.
const FORMAT: u32 = 1;
const FORMAT_HEAD: &str = "chirrup-store ";
const WATERMARK_HEAD: &[u8; 8] = b"chirrupW";

/// A locked data directory. Lets go of the lock when dropped.
pub(crate) struct Directory {
    path: PathBuf,
    _lock: File,
}

/// Where the number of the last acknowledged commit is kept.
pub(crate) struct Watermark(File);

impl Directory {
    /// Takes the directory for `engine`, making it when it is missing.
    pub(crate) fn take(path: &Path, engine: &'static str) -> Result<Self, OpenError> {
        if !path.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| io_error(path, &e))?;
        }
        let has_format = path.join("format").exists();
        if !has_format && let Some(found) = stranger(path)? {
            return Err(OpenError::NotAStore { dir: path.into(), found });
        }
        let lock = lock(path)?;
        if has_format {
            check_format(path, engine)?
        } else {
            write_format(path, engine)?
        }
        Ok(Self { path: path.into(), _lock: lock })
    }

    /// The engine that made `path`, if there is a store.
    pub(crate) fn engine(path: &Path) -> Option<String> {
        let (_, engine) = read_format(&path.join("format")).ok()?;
        Some(engine)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs the directory itself and its parent, so that names made in it are found again.
    pub(crate) fn sync(&self) -> Result<(), OpenError> {
        sync_dir(&self.path)?;
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
            _ => Ok(()),
        }
    }

    /// The watermark and what it says; zero when it never said anything readable.
    pub(crate) fn watermark(&self) -> Result<(Watermark, u64), OpenError> {
        let path = self.path.join("watermark");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| io_error(&path, &e))?;
        let mut found = [0; 24];
        let acknowledged = match file.read_exact_at(&mut found, 0) {
            Ok(()) => parse_watermark(&found),
            // New, or cut short by a power cut: it was never promised to be on disk.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(error) => return Err(io_error(&path, &error)),
        };
        let watermark = Watermark(file);
        watermark.set(acknowledged.unwrap_or(0)).map_err(|e| io_error(&path, &e))?;
        watermark.0.sync_all().map_err(|e| io_error(&path, &e))?;
        Ok((watermark, acknowledged.unwrap_or(0)))
    }
}

impl Watermark {
    /// Notes that everything up to `sequence` was acknowledged. Not synced.
    pub(crate) fn set(&self, sequence: u64) -> io::Result<()> {
        let mut text = [0; 24];
        let (head, rest) = text.split_at_mut(8);
        let (number, check) = rest.split_at_mut(8);
        head.copy_from_slice(WATERMARK_HEAD);
        number.copy_from_slice(&sequence.to_be_bytes());
        check.copy_from_slice(&(!sequence).to_be_bytes());
        self.0.write_all_at(&text, 0)
    }
}

fn parse_watermark(text: &[u8; 24]) -> Option<u64> {
    let (head, rest) = text.split_first_chunk::<8>()?;
    let (number, check) = rest.split_first_chunk::<8>()?;
    let number = u64::from_be_bytes(*number);
    (head == WATERMARK_HEAD && check == (!number).to_be_bytes()).then_some(number)
}

fn io_error(path: &Path, error: &io::Error) -> OpenError {
    OpenError::Io { path: path.into(), error: error.to_string() }
}

pub(crate) fn sync_dir(path: &Path) -> Result<(), OpenError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|e| io_error(path, &e))
}

/// A file that is not ours, in a directory without a store.
fn stranger(path: &Path) -> Result<Option<String>, OpenError> {
    for entry in fs::read_dir(path).map_err(|e| io_error(path, &e))? {
        let name = entry.map_err(|e| io_error(path, &e))?.file_name();
        // An earlier start may have died between these; a fresh disk has the last one.
        if !["lock", "format.new", "lost+found"].iter().any(|ours| name == **ours) {
            return Ok(Some(name.to_string_lossy().into_owned()));
        }
    }
    Ok(None)
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(|e| io_error(&path, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { dir: dir.into() }),
        Err(TryLockError::Error(error)) => Err(io_error(&path, &error)),
    }
}

fn write_format(dir: &Path, engine: &str) -> Result<(), OpenError> {
    let (new, path) = (dir.join("format.new"), dir.join("format"));
    fs::write(&new, format!("{FORMAT_HEAD}{FORMAT}\nengine {engine}\n"))
        .and_then(|()| File::open(&new)?.sync_all())
        .and_then(|()| fs::rename(&new, &path))
        .map_err(|e| io_error(&path, &e))?;
    sync_dir(dir)
}

fn read_format(path: &Path) -> io::Result<(u32, String)> {
    let mut text = String::new();
    File::open(path)?.take(1024).read_to_string(&mut text)?;
    let mut lines = text.lines();
    let format = lines.next().and_then(|line| line.strip_prefix(FORMAT_HEAD)?.trim().parse().ok());
    let engine = lines.next().and_then(|line| line.strip_prefix("engine "));
    match (format, engine) {
        // A later format may well say more, or other things.
        (Some(format), engine) if format > FORMAT => Ok((format, engine.unwrap_or_default().to_owned())),
        (Some(format), Some(engine)) => Ok((format, engine.trim().to_owned())),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "not a format file of this program")),
    }
}

fn check_format(dir: &Path, engine: &'static str) -> Result<(), OpenError> {
    let path = dir.join("format");
    let (format, found) = read_format(&path).map_err(|e| io_error(&path, &e))?;
    if format > FORMAT {
        return Err(OpenError::NewerFormat { dir: dir.into(), found: format, known: FORMAT });
    }
    if found != engine {
        return Err(OpenError::OtherEngine { dir: dir.into(), found, asked: engine });
    }
    Ok(())
}
