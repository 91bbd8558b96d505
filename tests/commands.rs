//! The `chirrup` command from outside: what it prints, how it ends, and that the README shows what really happens.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

/// A folder of its own for each test, removed when it ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("chirrup-commands-{}-{name}", std::process::id()));
        fs::remove_dir_all(&folder).ok();
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// Writes a configuration with ports nobody uses.
    fn configure(&self, rest: &str) {
        let (c2s, c2s_tls) = (free_port(), free_port());
        let text = format!(
            "{rest}\n[listen]\nc2s = [\"127.0.0.1:{c2s}\"]\nc2s_tls = [\"127.0.0.1:{c2s_tls}\"]\ns2s = []\ns2s_tls = []\n"
        );
        fs::write(self.0.join("config.toml"), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chirrup"));
        command.args(arguments).current_dir(&self.0).env_remove("CHIRRUP_LOG").env_remove("NOTIFY_SOCKET");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it with `input`; answers whether it succeeded, and everything it printed.
    fn run(&self, arguments: &[&str], input: &str) -> (bool, String) {
        let mut child = self.command(arguments).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        let printed = [stdout, stderr].concat();
        (status.success(), String::from_utf8(printed).unwrap())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// A server process, asked to stop politely when it goes out of scope.
struct Serving(Child);

impl Serving {
    /// Starts it and waits until it says that it serves.
    fn start(folder: &Folder) -> Self {
        let mut child = folder.command(&["serve", "--config", "config.toml"]).spawn().unwrap();
        let mut said = Vec::new();
        let mut log = child.stderr.take().unwrap();
        let mut bytes = [0_u8; 256];
        while !String::from_utf8_lossy(&said).contains("serving") {
            let length = log.read(&mut bytes).unwrap();
            assert_ne!(length, 0, "it ended: {}", String::from_utf8_lossy(&said));
            said.extend_from_slice(&bytes[..length]);
        }
        // Somebody has to go on reading, or the log would fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self(child)
    }

    /// SIGTERM; answers whether it ended well.
    fn stop(mut self) -> bool {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.0.wait().unwrap().success()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Two ports side by side that nobody uses.
fn free_pair() -> u16 {
    (0..100)
        .map(|_| free_port())
        .find(|port| *port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok())
        .unwrap()
}

#[test]
fn the_readme_shows_what_the_demonstration_prints() {
    let folder = Folder::new("demo");
    let port = free_pair();
    let (is_done, printed) = folder.run(&["demo", "--once", "--port", &port.to_string()], "");
    assert!(is_done, "{printed}");
    let printed = printed.replace(&(port + 1).to_string(), "5223").replace(&port.to_string(), "5222");
    let block: String = printed.lines().map(|line| format!("    {line}\n")).collect();

    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once("<!-- demo -->\n").unwrap();
    let (shown, after) = rest.split_once("<!-- /demo -->").unwrap();
    if shown.trim_matches('\n') != block.trim_matches('\n') {
        fs::write(&path, format!("{before}<!-- demo -->\n\n{block}\n<!-- /demo -->{after}")).unwrap();
        panic!("the README showed something else and has been written anew: look at it and commit it");
    }
    // And once more over the same data.
    let (is_done, printed) = folder.run(&["demo", "--once", "--port", &port.to_string()], "");
    assert!(is_done, "{printed}");
}

#[test]
fn accounts_of_a_stopped_and_of_a_running_server() {
    let folder = Folder::new("user");
    folder.configure("");
    let user =
        |words: &[&str], input: &str| folder.run(&[&["user"], words, &["--config", "config.toml"]].concat(), input);
    let good = |said: &str| (true, format!("{said}\n"));
    let bad = |said: &str| (false, format!("chirrup: {said}\n"));

    for is_running in [false, true] {
        let serving = is_running.then(|| Serving::start(&folder));
        assert_eq!(user(&["add", "Alice@localhost", "--password-stdin"], "wonder\n"), good("alice@localhost: opened"));
        let table: [(&[&str], &str, _); 8] = [
            (
                &["add", "alice@localhost", "--password-stdin"],
                "x\n",
                bad("alice@localhost: there is an account by that name"),
            ),
            (&["add", "bob@localhost", "--password-stdin"], "", bad("standard input has no line with a password")),
            (
                &["add", "bob@example.org", "--password-stdin"],
                "x\n",
                bad("`example.org` is not served here; served: localhost"),
            ),
            (&["passwd", "alice@localhost", "--password-stdin"], "land\n", good("alice@localhost: password changed")),
            (
                &["passwd", "bob@localhost", "--password-stdin"],
                "x\n",
                bad("bob@localhost: there is no account by that name"),
            ),
            (&["list"], "", good("alice@localhost")),
            (&["delete", "alice@localhost"], "", good("alice@localhost: closed")),
            (&["delete", "alice@localhost"], "", bad("alice@localhost: there is no account by that name")),
        ];
        for (words, input, said) in table {
            assert_eq!(user(words, input), said, "running: {is_running}, {words:?}");
        }
        assert!(serving.is_none_or(Serving::stop), "it did not end well");
    }
}

#[test]
fn mistakes_are_named() {
    let folder = Folder::new("mistakes");
    folder.configure("data_dir = \"x\"");
    let (is_good, said) = folder.run(&["check", "--config", "config.toml"], "");
    assert!(!is_good && said.contains("unknown key or section `data_dir`"), "{said}");
    let (is_good, said) = folder.run(&["serve", "--config", "config.toml"], "");
    assert!(!is_good && said.contains("unknown key or section `data_dir`; did you mean `data_directory`?"), "{said}");
    let (is_good, said) = folder.run(&["serve", "--config", "nowhere.toml"], "");
    assert!(!is_good && said.contains("nowhere.toml: cannot read the configuration"), "{said}");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    fs::write(
        folder.0.join("taken.toml"),
        format!("[listen]\nc2s = [\"{address}\"]\nc2s_tls = []\ns2s = []\ns2s_tls = []\n"),
    )
    .unwrap();
    for command in ["serve", "check"] {
        let (is_good, said) = folder.run(&[command, "--config", "taken.toml"], "");
        assert!(!is_good && said.contains(&address.to_string()), "{said}");
    }
}

#[test]
fn what_the_server_refuses_the_check_refuses() {
    let folder = Folder::new("refused");
    for (text, said) in [
        ("trust_roots = [\"nope.pem\"]", "`trust_roots`: ./nope.pem: "),
        ("c2s.client_certificate_roots = [\"nope.pem\"]", "`c2s.client_certificate_roots`: ./nope.pem: "),
        ("dns = { dnssec = true, trust_anchor = \"nope.zone\", servers = [\"127.0.0.1\"] }", "nope.zone: "),
        ("log = \"=\"", "`log`: `=` is not a filter"),
        ("log = \"info,chirrup::net=blah\"", "is not a filter"),
        ("data_directory = \"/proc/nope/data\"", "/proc/nope/data: "),
        ("clients.token_days = 0", "`clients.token_days` is 0"),
        (
            "external_services = [{ type = \"turn\", host = \"a\", secret = \"b\", lifetime_seconds = 60 }]",
            "`lifetime_seconds` is between ten minutes and a year",
        ),
        (
            "component = [{ name = \"a.localhost\", secret = \"b\", delegation = [{ namespace = \"urn:xmpp:delegation:2\" }] }]",
            "`urn:xmpp:delegation:2` cannot be delegated",
        ),
        (
            "component = [{ name = \"a.localhost\", secret = \"b\", delegation = [{ namespace = \"urn:xmpp:delegation:2:bare:*\" }] }]",
            "`urn:xmpp:delegation:2:bare:*` stands for nothing",
        ),
        ("delegation.client_namespaces = [\"urn:xmpp:delegation:2:bare:disco#items:*\"]", "cannot be asked for"),
    ] {
        folder.configure(text);
        for command in ["serve", "check"] {
            let (is_good, printed) = folder.run(&[command, "--config", "./config.toml"], "");
            assert!(!is_good && printed.contains(said), "{command}: {text}: {printed}");
        }
    }
    let left: Vec<_> = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "the configuration, and the data of the last that was served: {left:?}");
}

#[test]
fn two_servers_on_one_directory_are_one_too_many_and_rows_move_between_engines() {
    let folder = Folder::new("store");
    folder.configure("");
    let run = |words: &[&str], input: &str| folder.run(words, input);
    assert!(run(&["user", "add", "a@localhost", "--password-stdin", "--config", "config.toml"], "x\n").0);
    let serving = Serving::start(&folder);
    let (is_good, said) = run(&["serve", "--config", "config.toml"], "");
    assert!(!is_good && said.contains("in use by another process"), "{said}");
    let (is_good, said) = run(&["check", "store", "--config", "config.toml"], "");
    assert!(!is_good && said.contains("stop it to check its store"), "{said}");
    assert!(serving.stop());

    let (is_good, said) = run(&["check", "store", "--config", "config.toml"], "");
    assert!(is_good && said.contains("everything reads"), "{said}");
    let copy = ["store", "copy", "--from", "data/store", "--to", "data/copy", "--engine", "fjall"];
    let (is_good, said) = run(&copy, "");
    assert!(is_good && said.contains("from data/store (sled) to data/copy (fjall)"), "{said}");
    let (is_good, said) = run(&copy, "");
    assert!(!is_good && said.contains("data/copy: there is a store already"), "{said}");
    fs::rename(folder.0.join("data/store"), folder.0.join("data/old")).unwrap();
    fs::rename(folder.0.join("data/copy"), folder.0.join("data/store")).unwrap();
    let (is_good, said) = run(&["serve", "--config", "config.toml"], "");
    assert!(!is_good && said.contains("was made by the engine \"fjall\", not \"sled\""), "{said}");
    let text = fs::read_to_string(folder.0.join("config.toml")).unwrap();
    fs::write(folder.0.join("config.toml"), format!("{text}[store]\nengine = \"fjall\"\n")).unwrap();
    assert_eq!(run(&["user", "list", "--config", "config.toml"], ""), (true, "a@localhost\n".to_owned()));
}

/// sd_notify(3) from outside: readiness after the listeners are open, the watchdog, a reload and the end.
#[test]
fn a_service_manager_hears_how_the_server_is() {
    use std::os::unix::net::UnixDatagram;
    let folder = Folder::new("notify");
    folder.configure("");
    let path = folder.0.join("notify.sock");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let wait_for = |wanted: &str| {
        let mut heard = [0_u8; 512];
        loop {
            let length = manager.recv(&mut heard).unwrap();
            if &heard[..length] == wanted.as_bytes() {
                return;
            }
        }
    };
    let mut command = folder.command(&["serve", "--config", "config.toml"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000").stderr(Stdio::null());
    let serving = Serving(command.spawn().unwrap());
    wait_for("READY=1");
    wait_for("WATCHDOG=1");
    assert!(Command::new("kill").args(["-HUP", &serving.0.id().to_string()]).status().unwrap().success());
    wait_for("RELOADING=1");
    wait_for("READY=1");
    assert!(serving.stop());
    wait_for("STOPPING=1");
}
