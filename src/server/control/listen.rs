//! The server's end of the control socket.

use std::future::Future;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::{PATIENCE, REQUEST_BYTES_MAX, Request, Response, short_path, socket_path};
use crate::runtime;

/// Commands served at a time.
const CONNECTIONS_MAX: usize = 8;
/// Requests on one connection.
const REQUESTS_MAX: usize = 1_000_000;

/// An open control socket. Closed, and its file removed, when dropped.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
        std::fs::remove_file(&self.path).ok();
    }
}

/// Opens the control socket of `data_directory` and answers what is asked there. To be called by who holds the
/// directory's lock: a socket file that is already there is then a leftover, and is replaced.
///
/// # Errors
/// When the socket cannot be made; names its path.
pub fn listen<F, A>(data_directory: &Path, answer: F) -> io::Result<Control>
where
    F: Fn(Request) -> A + Send + Sync + 'static,
    A: Future<Output = Response> + Send + 'static,
{
    let path = socket_path(data_directory);
    let wrong = |error: io::Error| io::Error::new(error.kind(), format!("{}: control socket: {error}", path.display()));
    crate::config::make_private_folder(data_directory).map_err(wrong)?;
    if std::fs::symlink_metadata(&path).is_ok_and(|found| found.file_type().is_socket()) {
        std::fs::remove_file(&path).map_err(wrong)?;
    }
    let (short, _folder) = short_path(&path).map_err(wrong)?;
    let listener = UnixListener::bind(short).map_err(wrong)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(wrong)?;
    // The mode comes a moment after the socket; who slipped in between is turned away by name.
    let owner = std::fs::metadata(&path).map_err(wrong)?.uid();
    let answer = Arc::new(answer);
    let task = runtime::start(async move {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let answer = Arc::clone(&answer);
                    runtime::start(async move {
                        if let Err(error) = serve(stream, owner, answer.as_ref()).await {
                            tracing::debug!(%error, "control connection ended");
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "control socket");
                    runtime::pause(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    });
    Ok(Control { path, task })
}

async fn serve<F, A>(mut stream: UnixStream, owner: u32, answer: &F) -> io::Result<()>
where
    F: Fn(Request) -> A,
    A: Future<Output = Response>,
{
    let who = stream.peer_cred()?.uid();
    if who != owner && who != 0 {
        tracing::warn!(uid = who, "refused at the control socket");
        return Ok(());
    }
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read);
    for _ in 0..REQUESTS_MAX {
        let mut line = String::new();
        let mut bounded = (&mut read).take(REQUEST_BYTES_MAX);
        let reading = bounded.read_line(&mut line);
        if tokio::time::timeout(PATIENCE, reading).await.map_err(|_| io::ErrorKind::TimedOut)?? == 0 {
            break;
        }
        let is_whole = line.ends_with('\n');
        let response = match serde_json::from_str(&line) {
            Ok(request) if is_whole => answer(request).await,
            Ok(_) => Response::refused("the request is cut off or too long"),
            Err(error) => Response::refused(format!("the request cannot be read: {error}")),
        };
        let mut line = serde_json::to_vec(&response)?;
        line.push(b'\n');
        write.write_all(&line).await?;
        if !is_whole {
            break;
        }
    }
    Ok(())
}
