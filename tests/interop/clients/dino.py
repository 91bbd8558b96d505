"""Dino (GTK 4, its own Vala library), driven by its URIs and by keys, with an account written to its store."""
import re
import sqlite3

import wire
from desktop import as_somebody, wait_for


class Dino:
    """One Dino with one account, on a screen of its own."""

    title = "Dino"

    def __init__(self, screen, jid, password, name):
        self.screen, self.jid, self.password, self.name = screen, jid, password, name
        self.store = screen.folder / "home" / ".local" / "share" / "dino" / "dino.db"
        self.runs, self.process = 0, None

    def start(self):
        self.runs += 1
        if self.runs == 1:
            # It makes its store when it is first started.
            first = self.screen.start(as_somebody(["dino-im"]), "dino-first")
            wait_for("Dino's store", self.has_tables)
            self.screen.stop(first)
            with sqlite3.connect(self.store) as store:
                store.execute("INSERT INTO account (bare_jid, resourcepart, password, alias, enabled) "
                              "VALUES (?, ?, ?, ?, ?)", (self.jid, "dino", self.password, self.name, True))
        self.process = self.screen.start(as_somebody(["dino-im", "--print-xmpp=all"]), f"dino-{self.runs}")

    def stop(self):
        self.screen.stop(self.process)

    def has_resumed(self):
        return "{urn:xmpp:sm:3}:resumed " in self.screen.read(f"dino-{self.runs}")

    def has_tables(self):
        try:
            with sqlite3.connect(f"file:{self.store}?mode=ro", uri=True) as store:
                found = store.execute("SELECT count(*) FROM sqlite_master WHERE name IN ('account', '_meta')")
                return found.fetchone()[0] == 2
        except sqlite3.OperationalError:
            return False

    def is_in(self):
        """Whether it has logged in and said so."""
        return any(is_sent and element.tag.endswith("presence") for is_sent, element in self.stanzas())

    def open_chat(self, jid):
        self.screen.call(as_somebody(["dino-im", f"xmpp:{jid}?message"]), check=False)

    def say(self, to, text):
        self.open_chat(to)
        self.screen.fill(self.title)
        self.screen.types(text)

    def history(self):
        """The texts it keeps, as often as it shows them."""
        with sqlite3.connect(f"file:{self.store}?mode=ro", uri=True) as store:
            return [text for text, in store.execute("SELECT body FROM message WHERE body IS NOT NULL")]

    def stanzas(self):
        """Every stanza so far, as it printed them: `<{namespace}:name {namespace}:attribute='…'>`, indented."""
        pieces = re.findall(r"(?ms)^XMPP (OUT|IN) \[[^\n]*\n(.*?)\n\n", self.screen.read(f"dino-{self.runs}"))
        return list(wire.read(((way == "OUT", plain(text)) for way, text in pieces), are_whole=True))


def plain(text):
    """What it printed as XML: without the namespaces before names, and texts without the indentation it gave them."""
    text = re.sub(r"(</?|\s)\{[^}]*\}:", r"\1", text)
    return re.sub(r">\s*([^<]*?)\s*<", r">\1<", text)
