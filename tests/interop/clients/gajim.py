"""Gajim (GTK 3, nbxmpp), driven over D-Bus, with a profile written before it starts."""
import json
import re
import sqlite3

import wire
from desktop import as_somebody, wait_for

SCHEMA = """
CREATE TABLE settings (name TEXT UNIQUE, settings TEXT);
CREATE TABLE account_settings (account TEXT UNIQUE, settings TEXT);
PRAGMA user_version=5;
"""
ACCOUNT = "theaccount"
# Off: what would ask questions, or look outside.
SETTINGS = {
    "use_keyring": False, "remote_control": True, "check_for_update": False, "sounds_on": False, "show_trayicon": False,
    "show_notifications": False, "autoaway": False, "autoxa": False, "ask_online_status": False,
    "show_help_start_chat": False,
    "mainwin_width": 960, "mainwin_height": 720, "show_send_message_button": True, "dark_theme": 0,
}


class Gajim:
    """One Gajim with one account, on a screen of its own."""

    title = "Gajim"

    def __init__(self, screen, jid, password, name):
        self.screen, self.jid, self.password, self.name = screen, jid, password, name
        self.config = screen.folder / "gajim"

    def start(self):
        self.config.mkdir()
        localpart, domain = self.jid.split("@")
        account = {"name": localpart, "hostname": domain, "password": self.password, "savepass": True, "active": True,
                   "autoconnect": True, "resource": "gajim", "account_label": self.name, "autoauth": True,
                   "account_color": "rgb(32, 74, 135)"}
        workspace = {"8b1c": {"name": "My Workspace", "chats": []}}
        with sqlite3.connect(self.config / "settings.sqlite") as store:
            store.executescript(SCHEMA)
            rows = {"app": SETTINGS, "soundevents": {}, "status_presets": {}, "proxies": {}, "plugins": {},
                    "workspaces": workspace}
            for name, row in rows.items():
                store.execute("INSERT INTO settings VALUES (?, ?)", (name, json.dumps(row)))
            store.execute("INSERT INTO account_settings VALUES (?, ?)",
                          (ACCOUNT, json.dumps({"account": account, "contact": {}, "group_chat": {}})))
        command = ["gajim", "--config-path", self.config, "--loglevel", ".nbxmpp=DEBUG,gajim=INFO"]
        self.screen.start(as_somebody(command), "gajim")

    def remote(self, *arguments):
        return self.screen.call(as_somebody(["gajim-remote", *arguments]))

    def is_in(self):
        """Whether it has logged in and said so."""
        return any(is_sent and element.tag.endswith("presence") for is_sent, element in self.stanzas())

    def has_resumed(self):
        return "<resumed " in self.screen.read("gajim")

    def listens(self):
        """Whether it takes commands over D-Bus, which it does from five seconds after its start on."""
        try:
            return ACCOUNT in self.remote("list_accounts")
        except RuntimeError:
            return False

    def say(self, to, text):
        wait_for("Gajim on D-Bus", self.listens, pause=1)
        self.remote("send_chat_message", to, text, ACCOUNT)

    def open_chat(self, jid):
        self.screen.call(as_somebody(["gajim", "--config-path", self.config, f"xmpp:{jid}?message"]), check=False)

    def history(self):
        """The texts it keeps, as often as it shows them."""
        with sqlite3.connect(f"file:{self.config}/logs.db?mode=ro", uri=True) as store:
            return [text for text, in store.execute("SELECT message FROM logs WHERE message IS NOT NULL")]

    def stanzas(self):
        """Every stanza so far, as it logged them."""
        pieces = re.findall(r"(?ms)^.*?::::: DATA (SENT|RECEIVED) ::::\n\n(.*?)\n\n(?=\d\d/\d\d/)",
                            self.screen.read("gajim"))
        return list(wire.read(((way == "SENT", text) for way, text in pieces), are_whole=False))
