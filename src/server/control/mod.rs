//! The control socket: how the `chirrup` command talks to a running server on the same machine.
//!
//! A Unix socket in the data directory that only its owner may use. One request is one line of JSON, so is its
//! answer. Not for the network, and no protocol of anybody else's: the two ends are always the same program.

mod answer;
mod listen;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::s2s::handle::Status;
use crate::s2s::probe::Probed;

pub use answer::answer;
pub use listen::{Control, listen};

/// Bytes of one request.
const REQUEST_BYTES_MAX: u64 = 16 * 1024;
/// Bytes of one answer.
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// How long either end waits for the other.
const PATIENCE: Duration = Duration::from_secs(60);

/// What can be asked of a server.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Opens an account.
    UserAdd {
        /// `localpart@domain`.
        jid: String,
        /// Its password.
        password: String,
    },
    /// Gives an account another password.
    UserPasswd {
        /// `localpart@domain`.
        jid: String,
        /// Its new password.
        password: String,
    },
    /// Closes an account and removes what is kept for it.
    UserDelete {
        /// `localpart@domain`.
        jid: String,
    },
    /// One page of a domain's accounts.
    UserList {
        /// The domain.
        domain: String,
        /// Go on after this account.
        after: Option<String>,
    },
    /// Makes an invitation for one new account.
    UserInvite {
        /// The domain it is for.
        domain: String,
        /// Seconds it is good for.
        seconds: u64,
    },
    /// How the server is.
    Status,
    /// The streams with other servers.
    S2s,
    /// The components.
    Components,
    /// Try to reach another server.
    Connectivity {
        /// Its domain.
        domain: String,
        /// Our domain to reach it from; the first one when there is none.
        from: Option<String>,
    },
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the whole: some hold a password.
        f.write_str(match self {
            Self::UserAdd { .. } => "UserAdd",
            Self::UserPasswd { .. } => "UserPasswd",
            Self::UserDelete { .. } => "UserDelete",
            Self::UserList { .. } => "UserList",
            Self::UserInvite { .. } => "UserInvite",
            Self::Status => "Status",
            Self::S2s => "S2s",
            Self::Components => "Components",
            Self::Connectivity { .. } => "Connectivity",
        })
    }
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Response {
    /// Done; a sentence about it.
    Done {
        /// The sentence.
        text: String,
    },
    /// Not done; why, and what to do.
    Refused {
        /// The sentence.
        text: String,
    },
    /// A page of accounts, in order.
    Accounts {
        /// Bare addresses.
        accounts: Vec<String>,
        /// Whether there are no more.
        is_complete: bool,
    },
    /// Streams with other servers, and what waits for one.
    Links {
        /// By domain.
        links: Vec<Status>,
        /// Whether there are no more.
        is_complete: bool,
    },
    /// The components, connected or not.
    Components {
        /// By domain.
        components: Vec<crate::components::Status>,
    },
    /// How an attempt to reach another server went.
    Probed(Probed),
}

impl Response {
    pub(crate) fn done(text: impl Into<String>) -> Self {
        Self::Done { text: text.into() }
    }

    pub(crate) fn refused(text: impl Into<String>) -> Self {
        Self::Refused { text: text.into() }
    }
}

/// Where the socket of a data directory is.
pub fn socket_path(data_directory: &Path) -> PathBuf {
    data_directory.join("control.sock")
}

/// Asks the server that runs on `data_directory`; `None` when none does.
///
/// # Errors
/// When a server is there and does not answer as expected.
pub async fn ask(data_directory: &Path, request: &Request) -> io::Result<Option<Response>> {
    let mut stream = match short_path(&socket_path(data_directory)) {
        Ok((path, _folder)) => match UnixStream::connect(path).await {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    let exchange = async {
        stream.write_all(&line).await?;
        let mut answer = String::new();
        BufReader::new(stream).take(ANSWER_BYTES_MAX).read_line(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    let answer = tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| io::ErrorKind::TimedOut)??;
    Ok(Some(serde_json::from_str(&answer)?))
}

/// A Unix socket's path has at most 107 bytes. For a longer one, the way through the folder's open file descriptor;
/// the folder has to stay open while the path is used.
fn short_path(path: &Path) -> io::Result<(PathBuf, Option<std::fs::File>)> {
    use std::os::fd::AsRawFd;
    if path.as_os_str().len() <= 107 {
        return Ok((path.to_path_buf(), None));
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let folder = std::fs::File::open(folder)?;
    Ok((PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name), Some(folder)))
}

#[cfg(test)]
mod tests;
