//! Both ends of the control socket, over a real one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::os::unix::fs::PermissionsExt;

use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("chirrup-control-{}-{name}", std::process::id()));
        std::fs::remove_dir_all(&folder).ok();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn echo(folder: &Path) -> Control {
    listen(folder, |request| async move { Response::done(format!("{request:?}")) }).unwrap()
}

#[tokio::test]
async fn what_is_asked_is_answered_and_only_its_owner_may_ask() {
    let folder = Folder::new("ask");
    assert_eq!(ask(&folder.0, &Request::Status).await.unwrap(), None, "no server, no answer");
    let control = echo(&folder.0);
    let mode = std::fs::metadata(socket_path(&folder.0)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(ask(&folder.0, &Request::Status).await.unwrap(), Some(Response::done("Status")));
    drop(control);
    assert_eq!(ask(&folder.0, &Request::Status).await.unwrap(), None);
    assert!(!socket_path(&folder.0).exists());
}

#[tokio::test]
async fn a_leftover_socket_is_replaced_and_a_long_path_is_no_obstacle() {
    let folder = Folder::new("long");
    let deep = folder.0.join("a-folder-with-a-name-of-some-length".repeat(3)).join("and-another-one");
    assert!(socket_path(&deep).as_os_str().len() > 107);
    let first = echo(&deep);
    let second = echo(&deep);
    assert_eq!(ask(&deep, &Request::Status).await.unwrap(), Some(Response::done("Status")));
    drop((first, second));
}

#[tokio::test]
async fn nonsense_is_refused_and_a_password_is_never_printed() {
    let folder = Folder::new("nonsense");
    let _control = echo(&folder.0);
    let table = [
        ("{}\n".to_owned(), "cannot be read"),
        ("[]\n".to_owned(), "cannot be read"),
        ("{\"ask\":\"status\"}".to_owned(), "cut off"),
        (format!("{{\"ask\":\"{}\"}}\n", "x".repeat(20_000)), "cannot be read"),
    ];
    for (line, part) in table {
        let mut stream = UnixStream::connect(socket_path(&folder.0)).await.unwrap();
        stream.write_all(line.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).await.unwrap();
        assert!(answer.contains("refused") && answer.contains(part), "{line:.40}: {answer}");
    }
    let request = Request::UserAdd { jid: "a@b".to_owned(), password: "secret".to_owned() };
    assert!(!format!("{request:?}").contains("secret"));
}
