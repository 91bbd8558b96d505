//! What can go wrong, and the sentences for it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

/// Something of ours broke: the disk, the engine, or the process is on its way out. Never the asker's doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(Arc<str>);

impl Fault {
    /// A fault with its sentence.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    pub(crate) fn closed() -> Self {
        Self::new("the store is closed")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}

/// Why a batch was not committed. Nothing of it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitError {
    /// An expectation about this key did not hold. Load again and decide again.
    Conflict(Bytes),
    /// The batch passes a bound: which one, as a sentence.
    TooBig(&'static str),
    /// A key is empty, too long, or begins with a byte the store keeps for itself.
    BadKey,
    /// The store is broken; after a failed write it takes no more of them until it is opened again.
    ///
    /// This is also what an ambiguous ending looks like: the batch may or may not be found later.
    Fault(Fault),
}

impl CommitError {
    /// True for a failed expectation, which is worth another try.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, CommitError::Conflict(_))
    }
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommitError::Conflict(key) => write!(f, "somebody else changed {} first", key.escape_ascii()),
            CommitError::TooBig(bound) => write!(f, "the batch is too big: {bound}"),
            CommitError::BadKey => f.write_str("a key is empty, too long or reserved"),
            CommitError::Fault(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for CommitError {}

impl From<Fault> for CommitError {
    fn from(fault: Fault) -> Self {
        CommitError::Fault(fault)
    }
}

/// Why a data directory was not opened. Each reads as a sentence that names the path and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// Another process has it open.
    Locked {
        /// The data directory.
        dir: PathBuf,
    },
    /// A newer version of the program wrote it.
    NewerFormat {
        /// The data directory.
        dir: PathBuf,
        /// The format found there.
        found: u32,
        /// The newest format this program reads.
        known: u32,
    },
    /// It was made by another engine.
    OtherEngine {
        /// The data directory.
        dir: PathBuf,
        /// The engine that made it.
        found: String,
        /// The engine asked for.
        asked: &'static str,
    },
    /// It holds files but no store.
    NotAStore {
        /// The data directory.
        dir: PathBuf,
        /// One of the files in it.
        found: String,
    },
    /// The store in it is older than what was acknowledged from it.
    Behind {
        /// The data directory.
        dir: PathBuf,
        /// The last commit the engine has.
        has: u64,
        /// The last commit that was acknowledged.
        acknowledged: u64,
    },
    /// A file could not be read or written.
    Io {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        error: String,
    },
    /// The engine could not make sense of its files.
    Engine {
        /// The data directory.
        dir: PathBuf,
        /// What the engine said.
        error: String,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Locked { dir } => {
                write!(f, "{} is in use by another process: stop it first, or choose another directory", dir.display())
            }
            OpenError::NewerFormat { dir, found, known } => write!(
                f,
                "{} was written in format {found} by a newer version, and this one reads up to format {known}: \
                 run the newer version, or restore a backup made before the upgrade",
                dir.display()
            ),
            OpenError::OtherEngine { dir, found, asked } => write!(
                f,
                "{} was made by the engine \"{found}\", not \"{asked}\": set the store's engine to \"{found}\", \
                 or copy the data to a new directory with the other engine",
                dir.display()
            ),
            OpenError::NotAStore { dir, found } => write!(
                f,
                "{} is not empty and holds no store (it has \"{found}\"): nothing is started over other \
                 people's files; choose an empty directory, or restore the missing \"format\" file from a backup",
                dir.display()
            ),
            OpenError::Behind { dir, has, acknowledged } => write!(
                f,
                "{} has commits up to {has}, but {acknowledged} were acknowledged from it: part of the data is \
                 missing; restore it, or remove the file \"watermark\" in that directory to go on without what is lost",
                dir.display()
            ),
            OpenError::Io { path, error } => write!(f, "{}: {error}", path.display()),
            OpenError::Engine { dir, error } => write!(
                f,
                "{} could not be opened: {error}. Keep a copy of the directory before anything else is tried, and \
                 restore a backup if there is one",
                dir.display()
            ),
        }
    }
}

impl std::error::Error for OpenError {}
