"""Libervia's command line (Debian's libervia-cli and libervia-backend) as a microblog client: alice and bob write, follow,
read, comment, like, edit and take back, and keep nodes of services; in one house or in two.

What it does by itself shows here too: it publishes without options, looks for a service to put comments on, subscribes by
way of the own account (XEP-0376), and attaches likes (XEP-0470).
"""
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import xml.etree.ElementTree as ET

PASSWORD = "secret 1"
MICROBLOG = "urn:xmpp:microblog:0"
PATIENCE = 40


def said(what):
    print(f"  {what}", flush=True)


class Backend:
    """The backend with a message bus of its own, and the command line in front of it."""

    def __init__(self, folder, authority):
        self.folder = pathlib.Path(folder)
        config = self.folder / ".config" / "libervia"
        config.mkdir(parents=True)
        (self.folder / "data").mkdir()
        (config / "libervia.conf").write_text(f"[DEFAULT]\nlocal_dir = {self.folder}/data\nbridge = dbus\n")
        # Its programs want Debian's Python, whatever other is in the path.
        self.environment = {"HOME": str(self.folder), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONWARNINGS": "ignore",
                            "SSL_CERT_FILE": authority, "XDG_CONFIG_HOME": str(self.folder / ".config"),
                            "XDG_DATA_HOME": str(self.folder / "data")}

    def __enter__(self):
        self.bus = subprocess.Popen(["dbus-daemon", "--session", "--nofork", "--print-address"], stdout=subprocess.PIPE,
                                    stderr=subprocess.DEVNULL, env=self.environment, text=True)
        self.environment["DBUS_SESSION_BUS_ADDRESS"] = self.bus.stdout.readline().strip()
        self.log = self.folder / "backend.log"
        self.process = subprocess.Popen(["libervia-backend", "foreground"], stdout=open(self.log, "w"),
                                        stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=self.environment,
                                        cwd=self.folder)
        for _ in range(PATIENCE * 5):
            if "Backend is ready" in self.log.read_text():
                return self
            time.sleep(0.2)
        self.__exit__()
        raise RuntimeError(f"the backend did not start:\n{self.log.read_text()[-2000:]}")

    def __exit__(self, *_):
        for process in (self.process, self.bus):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            if process.poll() is None:
                process.kill()

    def li(self, *arguments, profile=None, given=None, fails=False):
        """Runs a command; what it prints."""
        command = ["libervia-cli", *arguments, *(["-p", profile] if profile else [])]
        done = subprocess.run(command, env=self.environment, input=given, capture_output=True, text=True, timeout=PATIENCE,
                              cwd=self.folder, **({} if given is not None else {"stdin": subprocess.DEVNULL}))
        if (done.returncode != 0) != fails:
            raise AssertionError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-1500:]}\n"
                                 f"{done.stderr[-1500:]}\n{self.log.read_text()[-3000:]}")
        return done.stdout

    def until(self, what, check):
        for _ in range(PATIENCE):
            if check():
                return
            time.sleep(0.5)
        raise AssertionError(f"never came true: {what}\n{self.log.read_text()[-3000:]}")


def appear(backend, house, profile):
    """An account, and a profile that is connected with it."""
    jid = f"{profile}@{house.domain}"
    subprocess.run([house.binary, "user", "add", jid, "--password-stdin", "--config", house.folder / "chirrup.toml"],
                   input=PASSWORD, text=True, check=True, capture_output=True)
    backend.li("profile", "create", profile, "--jid", jid, "--password", "", "--xmpp-password", PASSWORD)
    for name, value in (("Force server", house.host), ("Force port", str(house.port))):
        backend.li("param", "set", "Connection", name, value, "--start-session", profile=profile)
    backend.li("profile", "connect", "--connect", profile=profile)
    said(f"{jid} is in")
    return jid


def posts_of(backend, profile, author, *more):
    """Ids and texts of a blog's posts, as its microblog view has them, newest first."""
    found = json.loads(backend.li("blog", "get", "--service", author, "--no-cache", "--output", "json-raw", *more,
                                  profile=profile))
    items = found[0] if isinstance(found, list) else found["items"]
    return [(item["id"], item.get("title") or item.get("content", "").strip(), item) for item in items]


def story(home, abroad, tag):
    missing = [tool for tool in ("libervia-cli", "libervia-backend", "dbus-daemon") if not shutil.which(tool)]
    if missing:
        raise RuntimeError(f"not installed: {' '.join(missing)}")
    with tempfile.TemporaryDirectory(prefix="libervia-") as folder, Backend(folder, home.ca) as backend:
        play(backend, home, abroad, tag)


def play(backend, home, abroad, tag):
    alice, bob = f"alice-{tag}", f"bob-{tag}"
    alice_jid, bob_jid = appear(backend, home, alice), appear(backend, abroad, bob)
    li = backend.li
    # The comments of a house may share one service, so that this is of these people alone.
    second = f"second-{tag}"

    li("blog", "set", "--item", "one", "--title", "First post", "--tag", "birds", given="Hello *world*", profile=alice)
    li("blog", "set", "--item", second, "--title", "Second post", "--comments", given="With comments", profile=alice)
    found = posts_of(backend, bob, alice_jid)
    assert sorted(item for item, _, _ in found) == ["one", second], found
    assert {title for _, title, _ in found} == {"First post", "Second post"}, found
    said("two posts, the second with comments; he reads them")

    li("pubsub", "subscribe", "--service", alice_jid, "--node", MICROBLOG, profile=bob)
    # The owner's list of subscribers it looks for in the wrong namespace, so it is asked for his own.
    assert MICROBLOG in li("pubsub", "subscriptions", "--service", alice_jid, profile=bob)
    li("blog", "set", "--item", "three", "--title", "Third post", given="For followers", profile=alice)
    backend.until("bob's cache has what he was told", lambda: "three" in [item for item, _, _ in json.loads(li(
        "blog", "get", "--service", alice_jid, "--output", "json-raw", profile=bob)) and posts_of(
            backend, bob, alice_jid)])
    said("he follows by way of his account, and hears of the third")

    comments = next(post for item, _, post in posts_of(backend, bob, alice_jid) if item == second)["comments"][0]
    li("blog", "set", "--service", comments["service"], "--node", comments["node"], "--item", "said", "--title", "Well said",
       given="By bob", profile=bob)
    found = posts_of(backend, alice, comments["service"], "--node", comments["node"])
    assert [(item, title) for item, title, _ in found] == [("said", "Well said")], found
    assert found[0][2]["author_jid"].split("/")[0] == bob_jid and found[0][2]["author_jid_verified"], found
    said(f"he comments at {comments['service']}, and it is known to be him")

    liked = ["--service", alice_jid, "--node", MICROBLOG, "--item", second]
    li("blog", "attachments", "set", *liked, "--noticed", "true", "--reactions", "\U0001F426", profile=bob)
    li("blog", "attachments", "set", *liked, "--noticed", "true", profile=alice)
    found = json.loads(li("blog", "attachments", "get", *liked, "--output", "json-raw", profile=alice))
    given = {one["from"]: one for one in (found[0] if isinstance(found[0], list) else found)}
    assert set(given) == {alice_jid, bob_jid} and all("noticed" in one for one in given.values()), found
    assert given[bob_jid]["reactions"]["reactions"] == ["\U0001F426"], given

    def likes():
        answer = li("pubsub", "get", "--service", alice_jid, "--node",
                    f"urn:xmpp:pubsub-attachments:summary:1/{MICROBLOG}", "--item", second, "--no-cache", "--output", "xml-raw",
                    profile=bob)
        return [one.get("count") for one in ET.fromstring(f"<all>{answer}</all>").iter() if one.tag.endswith("}noticed")]
    assert likes() == ["2"], likes()
    li("blog", "attachments", "set", *liked, "--noticed", "false", profile=bob)
    assert likes() == ["1"], likes()
    said("both like it, he takes it back, and the sum is exact")

    li("blog", "set", "--item", "one", "--title", "First post, mended", given="Hello again", profile=alice)
    assert "First post, mended" in [title for _, title, _ in posts_of(backend, bob, alice_jid)]
    li("pubsub", "delete", "--node", MICROBLOG, "--item", "three", "--force", profile=alice)
    assert sorted(item for item, _, _ in posts_of(backend, bob, alice_jid)) == ["one", second]
    li("pubsub", "delete", "--service", comments["service"], "--node", comments["node"], "--item", "said", "--force",
       profile=bob)
    # What is left is her like, as who knows hearts alone sees it.
    found = posts_of(backend, alice, comments["service"], "--node", comments["node"])
    assert [(title, post["author_jid"]) for _, title, post in found] == [("♥", alice_jid)], found
    for number in range(3):
        li("blog", "set", "--item", f"more-{number}", "--title", f"More {number}", given="…", profile=alice)
    everything, after = [], []
    while page := [item for item, _, _ in posts_of(backend, bob, alice_jid, "--max", "2", *after)]:
        everything += page
        after = ["--after", page[-1]]
    assert everything == [second, "one", "more-0", "more-1", "more-2"], everything
    said("posts are edited, taken back, and read by pages")

    service, node = f"pubsub.{home.domain}", f"birds-{tag}"
    li("pubsub", "node", "create", "--service", service, "--node", node, "--field", "access_model", "open", "--field",
       "publish_model", "open", profile=alice)
    assert "open" in li("pubsub", "node", "info", "--service", service, "--node", node, profile=alice)
    li("pubsub", "subscribe", "--service", service, "--node", node, profile=bob)
    assert node in li("pubsub", "subscriptions", "--service", service, profile=bob)
    li("pubsub", "set", "gull", "--service", service, "--node", node, given="<bird xmlns='urn:example:birds'>gull</bird>",
       profile=bob)
    assert "gull" in li("pubsub", "get", "--service", service, "--node", node, "--no-cache", profile=alice)
    li("pubsub", "node", "affiliations", "set", "--service", service, "--node", node, "--affiliation", bob_jid, "publisher",
       profile=alice)
    assert "publisher" in li("pubsub", "affiliations", "--service", service, profile=bob)
    li("pubsub", "delete", "--service", service, "--node", node, "--item", "gull", "--force", profile=alice)
    li("pubsub", "unsubscribe", "--service", service, "--node", node, profile=bob)
    li("pubsub", "node", "delete", "--service", service, "--node", node, "--force", profile=alice)
    li("pubsub", "get", "--service", service, "--node", node, "--no-cache", profile=alice, fails=True)
    li("pubsub", "unsubscribe", "--service", alice_jid, "--node", MICROBLOG, profile=bob)
    assert MICROBLOG not in li("pubsub", "subscriptions", "--service", alice_jid, profile=bob)
    said("a node of a service is made, followed, shared and deleted; he follows no more")
