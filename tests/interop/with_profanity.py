#!/usr/bin/env python3
"""Two people with Profanity, each in a window of tmux: they register, log in over STARTTLS and over direct TLS, add
each other and chat; one is away for a while and finds what she missed.

    with_profanity.py --host 127.0.0.1 --port 5222 --tls-port 5223 --domain localhost --ca ca.pem

Profanity checks the server's certificate. What it logs of the streams tells which SASL mechanism was used.
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import uuid

PATIENCE = 20


def said(what):
    print(f"  {what}", flush=True)


class Window:
    """A Profanity in a tmux of its own, with its own home."""

    def __init__(self, options, folder, name, *, direct):
        self.options, self.name, self.direct = options, name, direct
        self.home = folder / name
        self.socket = str(folder / f"{name}.tmux")
        self.jid = f"{name}@{options.domain}"
        config = self.home / "config" / "profanity"
        config.mkdir(parents=True)
        (self.home / "data").mkdir()
        (config / "profrc").write_text(
            "[ui]\nsplash=false\nbeep=false\nflash=false\nwrap=false\nresource.title=false\ntitlebar.position=0\n"
            "[chatstates]\nenabled=true\n"
            "[logging]\nrotate=false\nchlog=false\n"
            "[notifications]\nmessage=off\nroom=off\ninvite=false\nsub=false\n")
        self.runs = 0

    def tmux(self, *arguments):
        return subprocess.run(["tmux", "-S", self.socket, *arguments], check=True, capture_output=True,
                              text=True).stdout

    def start(self):
        self.runs += 1
        self.log = self.home / f"log-{self.runs}"
        environment = {**os.environ, "HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / "config"),
                       "XDG_DATA_HOME": str(self.home / "data"), "SSL_CERT_FILE": str(self.options.ca),
                       "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TERM": "screen-256color"}
        environment.pop("TMUX", None)
        subprocess.run(["tmux", "-S", self.socket, "-f", "/dev/null", "new-session", "-d", "-x", "160", "-y", "50",
                        "profanity", "--log", "DEBUG", "--logfile", str(self.log)], check=True, env=environment)
        self.sees("Profanity|Type '/help'|console")

    def screen(self):
        return self.tmux("capture-pane", "-p")

    def sees(self, pattern, why=""):
        """Waits until the screen shows something."""
        for _ in range(PATIENCE * 10):
            text = self.screen()
            if re.search(pattern, text):
                return text
            time.sleep(0.1)
        raise AssertionError(f"{self.name} does not see «{pattern}» {why}\n{text}")

    def types(self, line):
        self.tmux("send-keys", "-l", line)
        self.tmux("send-keys", "Enter")
        time.sleep(0.2)

    def asks(self, line, pattern):
        """Types a question until the answer is as expected: what it is about may still be under way."""
        for _ in range(PATIENCE):
            self.types(line)
            for _ in range(8):
                if re.search(pattern, self.screen()):
                    return
                time.sleep(0.1)
        raise AssertionError(f"{self.name} never sees «{pattern}» after {line}\n{self.screen()}")

    def connect(self, password):
        port = self.options.tls_port if self.direct else self.options.port
        policy = "legacy" if self.direct else "force"
        self.types(f"/connect {self.jid} server {self.options.host} port {port} tls {policy}")
        self.sees("(?i)password:")
        self.types(password)
        self.sees(f"(?i){self.jid}.*logged in successfully|logged in successfully")
        log = self.stream_log()
        mechanism = re.findall(r"mechanism=\"([A-Z0-9-]+)\"", log)
        said(f"{self.jid} is in, {'direct TLS' if self.direct else 'STARTTLS'}, {' '.join(mechanism) or '?'}")
        return mechanism

    def stream_log(self):
        return "".join(path.read_text(errors="replace") for path in self.home.glob(f"log-{self.runs}*"))

    def quit(self):
        self.types("/quit")
        for _ in range(50):
            if subprocess.run(["tmux", "-S", self.socket, "has-session"], capture_output=True).returncode != 0:
                return
            time.sleep(0.1)
        self.kill()

    def kill(self):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], capture_output=True)


def create_account(options, name, password):
    """Profanity can only register at a server it finds by its name, so a few lines of XML do it (XEP-0077)."""
    import socket
    import ssl
    context = ssl.create_default_context(cafile=options.ca)
    with socket.create_connection((options.host, options.tls_port), timeout=PATIENCE) as plain:
        with context.wrap_socket(plain, server_hostname=options.domain) as stream:
            stream.sendall(f"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "
                           f"to='{options.domain}' version='1.0'><iq type='set' id='r'><query "
                           f"xmlns='jabber:iq:register'><username>{name}</username><password>{password}</password>"
                           f"</query></iq>".encode())
            heard = b""
            while b"</stream:features>" not in heard or b"<iq" not in heard:
                more = stream.recv(4096)
                if not more:
                    break
                heard += more
            assert re.search(rb"<iq[^>]*type=.result.", heard), heard


def story(options, folder):
    tag = uuid.uuid4().hex[:6]
    password = "secret1"
    alice = Window(options, folder, f"alice{tag}", direct=False)
    bob = Window(options, folder, f"bob{tag}", direct=True)
    windows = [alice, bob]
    try:
        for window in windows:
            create_account(options, window.name, password)
            window.start()
            window.connect(password)
        alice.types(f"/roster add {bob.jid} Bob")
        alice.types(f"/sub request {bob.jid}")
        bob.sees(f"authorization request from {alice.jid}")
        bob.types(f"/sub allow {alice.jid}")
        bob.types(f"/sub request {alice.jid}")
        alice.sees(f"authorization request from {bob.jid}")
        alice.types(f"/sub allow {bob.jid}")
        for window, other in ((alice, bob), (bob, alice)):
            window.asks(f"/info {other.jid}", "(?i)subscription *: *both")
        said("they have added each other")

        alice.types(f"/msg {bob.jid} Hello Bob, it is me")
        bob.sees(f"(?i){alice.name}", "(a message)")
        bob.types(f"/msg {alice.jid} Hello Alice, I see you")
        bob.sees("Hello Bob, it is me")
        alice.sees("Hello Alice, I see you")
        said("they chat")

        bob.quit()
        alice.types(f"/msg {bob.jid} Where are you?")
        alice.types(f"/msg {bob.jid} I wait")
        time.sleep(0.5)
        bob.start()
        bob.connect(password)
        bob.types(f"/msg {alice.jid} I am back")
        text = bob.sees("I wait")
        assert text.index("Where are you?") < text.index("I wait"), text
        alice.sees("I am back")
        said("bob was away and finds what he missed, in order")
    except Exception:
        for window in windows:
            print(f"--- {window.name}\n{window.stream_log()[-3000:]}", flush=True)
        raise
    finally:
        for window in windows:
            window.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5222)
    parser.add_argument("--tls-port", type=int, default=5223)
    parser.add_argument("--domain", default="localhost")
    parser.add_argument("--ca", required=True, type=lambda path: pathlib.Path(path).resolve(),
                        help="PEM file with the authority of the server's certificate")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="profanity-") as folder:
        try:
            story(options, pathlib.Path(folder))
        except Exception as error:  # noqa: BLE001: whatever it is, it is the result
            print(f"failed: {type(error).__name__}: {error}", flush=True)
            sys.exit(1)
    print("Profanity: all well")


if __name__ == "__main__":
    main()
