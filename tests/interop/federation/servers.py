"""The servers of the rig: how each is configured and started, and what its log says about its links.

A link is `(from, to, how, protocol)`: the two domains, the way in which `from` proved to `to` who it is (EXTERNAL or
dialback), and whether TLS was used. Only what a server itself has logged counts.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import typing

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import rig  # noqa: E402: from the folder just named


class Site(typing.NamedTuple):
    """What a person needs to know about a server."""

    kind: str
    domain: str
    address: str


class Server(rig.Process):
    """A server process for as long as the `with` block lasts."""

    kind = ""
    # What this kind cannot do, by check or mode: said in the table, and not asked of it.
    cannot = {}
    # Whether what it was sent and did not take, or sent and was not taken, is known of (XEP-0198).
    has_acks = True
    # Whether it finds out what has arrived at a server without that.
    asks_what_arrived = False
    # Whether stanzas leave in order when a link has been lost.
    keeps_order = True

    def __init__(self, domain, address, mode, certificates, folder, also=()):
        self.domain, self.address, self.mode = domain, address, mode
        self.certificates, self.folder, self.also = certificates, folder, list(also)
        self.log = folder / "log"
        super().__init__(domain, [], folder / "output", [(address, port) for port in self.ports()])

    @property
    def authority(self):
        return self.certificates / "trusted.pem"

    @property
    def own(self):
        """Folder with this mode's certificates: of an authority nobody trusts where dialback has to do."""
        return self.certificates / ("untrusted" if self.mode in ("dialback", "dane", "posh") else "trusted")

    @property
    def second(self):
        """Another domain on the same server."""
        return f"second.{self.domain}"

    def at_second(self):
        return Site(self.kind, self.second, self.address)

    def ports(self):
        return [5222, 5270 if self.mode == "direct" else 5269]

    def prepare(self):
        """Writes its configuration; its command and environment."""
        raise NotImplementedError

    def asks_for(self, mode):
        """How a server that calls this one has to prove its domain."""
        return "dialback" if mode == "dialback" else "EXTERNAL"

    def __enter__(self):
        (self.folder / "data").mkdir(parents=True)
        self.command, self.environment = self.prepare()
        self.start()
        return self

    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tail(self, lines=150):
        parts = []
        for file in (self.output, self.log):
            if file.exists():
                parts += [f"--- {file}", *file.read_text(errors="replace").splitlines()[-lines:]]
        return "\n".join(parts)

    def links(self):
        raise NotImplementedError

    def has_links_with(self, domain):
        """Whether any stream with that domain is still up."""
        up = set()
        for line in self.text().splitlines():
            field = dict(re.findall(r"\b(link|remote)=\"?([^\s\"]+)", line))
            if field.get("remote") != domain:
                continue
            if "link up" in line:
                up.add(field["link"])
            elif "link down" in line:
                up.discard(field["link"])
        return bool(up)

    def is_bidirectional(self):
        """Whether a stream was made to carry stanzas both ways (XEP-0288)."""
        return False


class Prosody(Server):
    kind = "prosody"
    keeps_order = False
    cannot = {
        "pages": "Prosody 0.12's PEP ignores RSM: read by max_items and by item ids",
        "posh": "Prosody 0.12 does not do POSH",
        "waiting": "Prosody returns at once what it cannot deliver at once",
    }

    def prepare(self):
        environment = {
            "RUN_DIR": str(self.folder), "RUN_ADDRESS": self.address, "RUN_MODE": self.mode,
            "RUN_AUTHORITY": str(self.authority), "RUN_CERTIFICATES": str(self.own),
            "RUN_DOMAINS": " ".join([self.domain, self.second, *self.also]),
        }
        if self.mode == "direct":
            environment["RUN_BIDI"] = "yes"
        if self.mode == "dane":
            environment["RUN_ANCHOR"] = str(self.folder.parent / "anchor")
        return [shutil.which("prosody"), "-F", "--config", str(HERE / "prosody.cfg.lua")], environment

    def links(self):
        found, encrypted, asked, sessions = set(), {}, set(), {}
        external_in, external_out = set(), set()
        for line in self.text().splitlines():
            # "Nov 23 04:00:00 s2sin5581c0ffee debug text"
            parts = line.split(maxsplit=5)
            if len(parts) < 6:
                continue
            who, text = parts[3], parts[5]
            if match := re.search(r"Stream encrypted \((\S+) with", text):
                encrypted[who] = match[1]
            elif re.search(r"asking \S+ if key", text) or "sent dialback key" in text:
                asked.add(who)
            elif match := re.search(r"Accepting SASL EXTERNAL identity from (\S+)", text):
                external_in.add(match[1])
            elif match := re.search(r"SASL EXTERNAL with (\S+) succeeded", text):
                external_out.add(match[1])
            elif match := re.search(r"connection (\S+)->(\S+) is now authenticated for", text):
                sessions[who] = match.groups()
        for who, (start, end) in sessions.items():
            is_external = end in external_out if start == self.domain else start in external_in
            how = "dialback" if who in asked else "EXTERNAL" if is_external else "?"
            found.add((start, end, how, encrypted.get(who, "none")))
        return found


    def is_bidirectional(self):
        return "bidirectional stream" in self.text()

    def asks_for(self, mode):
        return "dialback" if mode in ("dialback", "dane") else "EXTERNAL"


class Ejabberd(Server):
    kind = "ejabberd"
    cannot = {
        "dane": "ejabberd 23.01 does not do DANE",
        "posh": "ejabberd 23.01 does not do POSH",
        "waiting": "ejabberd returns at once what it cannot deliver at once",
    }
    # Between servers, that is.
    has_acks = False

    def prepare(self):
        for domain in (self.domain, self.second):
            both = (self.own / f"{domain}.crt").read_text() + (self.own / f"{domain}.key").read_text()
            (self.folder / f"{domain}.pem").write_text(both)
        port, tls = (5270, True) if self.mode == "direct" else (5269, False)
        listen = f'  - port: {port}\n    ip: "{self.address}"\n    module: ejabberd_s2s_in\n'
        config = (HERE / "ejabberd.yml").read_text()
        for name, value in {"DOMAIN": self.domain, "DIR": self.folder, "AUTHORITY": self.authority,
                            "ADDRESS": self.address, "S2S": listen + ("    tls: true\n" if tls else "")}.items():
            config = config.replace(f"@{name}@", str(value))
        (self.folder / "ejabberd.yml").write_text(config)
        environment = {
            "ERL_LIBS": "/usr/lib/x86_64-linux-gnu", "EJABBERD_CONFIG_PATH": str(self.folder / "ejabberd.yml"),
            "EJABBERD_LOG_PATH": str(self.log), "ERL_CRASH_DUMP_BYTES": "0", "HOME": str(self.folder),
        }
        # No distribution and so no epmd; no busy waiting.
        return [shutil.which("erl"), "-noinput", "+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none", "-mnesia", "dir",
                f'"{self.folder}/data"', "-s", "ejabberd"], environment

    def links(self):
        pattern = r"\((tls|tcp)\|\S+\) Accepted (?:in|out)bound s2s (\S+) authentication (\S+) -> (\S+) "
        return {(start, end, how, "TLS" if socket_kind == "tls" else "none")
                for socket_kind, how, start, end in re.findall(pattern, self.text())}


class Chirrup(Server):
    kind = "chirrup"
    asks_what_arrived = True

    def text(self):
        return self.output.read_text(errors="replace")

    def links(self):
        found = set()
        for line in self.text().splitlines():
            if "link up" not in line:
                continue
            field = {name: value.strip('"') for name, value in re.findall(r'(\w+)=("[^"]*"|\S+)', line)}
            ends = (field["local"], field["remote"])
            start, end = ends if field["direction"] == "Out" else reversed(ends)
            vouched = field.get("certificate", "nobody")
            wanted = {"dialback": None, "dane": "DANE", "posh": "POSH"}.get(self.mode, "PKIX")
            how = field.get("authenticated", "?")
            if wanted and wanted != vouched:
                how += f" (certificate vouched for by {vouched}, not {wanted})"
            found.add((start, end, how, f"TLS {field.get('tls')}, {vouched}" if "tls" in field else "none"))
        return found

    def is_bidirectional(self):
        return "bidi=true" in self.text()

    def prepare(self):
        port = f'"{self.address}:{5270 if self.mode == "direct" else 5269}"'
        config = self.folder / "chirrup.toml"
        config.write_text((HERE / "chirrup.toml").read_text().format(
            dir=self.folder, domain=self.domain, address=self.address, authority=self.authority,
            certificates=self.own, idle=3 if self.mode == "dialback" else 600,
            plain="" if self.mode == "direct" else port, direct=port if self.mode == "direct" else "",
            patience=60 if self.mode == "cuts" else 5,
            is_strict="false" if self.mode == "dialback" else "true",
            dns=f'dnssec = true\ntrust_anchor = "{self.folder.parent}/anchor"' if self.mode == "dane" else ""))
        return [os.environ["CHIRRUP"], "serve", "--config", str(config)], {}

    def ask(self, *arguments, timeout=60):
        """What a command of the binary prints, and its exit code."""
        done = subprocess.run([os.environ["CHIRRUP"], *arguments, "--config", str(self.folder / "chirrup.toml")],
                              capture_output=True, text=True, timeout=timeout)
        return done.stdout + done.stderr, done.returncode
