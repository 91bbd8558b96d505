"""Two Chirrup servers on the loopback interface that find each other without DNS, for stories and crowds.

Everything is in one folder: an authority for the run, and for each house its configuration, data and output.
"""
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import rig  # noqa: E402: from the folder just named

DOMAINS = ("north.test", "south.test")

CONFIG = """
data_directory = "{folder}/data"
registration = "open"
trust_roots = ["{ca}"]
log = "info"

[[host]]
domain = "{domain}"
certificate = "{folder}/chain.pem"
key = "{folder}/key.pem"

[listen]
c2s = ["127.0.0.1:{port}"]
c2s_tls = ["127.0.0.1:{tls_port}"]
s2s = ["127.0.0.1:{s2s_port}"]
s2s_tls = []

[limits]
registrations_per_address_per_hour_max = 100000
connections_per_address_max = 10000

[s2s]
allow_loopback = true

[[s2s.domain]]
name = "{peer}"
address = "127.0.0.1:{peer_port}"
[[s2s.domain]]
name = "*.{peer}"
address = "127.0.0.1:{peer_port}"
"""


class House(rig.Process):
    """A server: what a client needs to know of it, and its process."""

    def __init__(self, binary, folder, domain):
        self.binary, self.folder, self.domain = binary, folder / domain, domain
        self.host, self.ca = rig.LOOPBACK, str(folder / "ca.pem")
        self.port, self.tls_port, self.s2s_port = ports = rig.free_ports(3)
        self.folder.mkdir()
        rig.make_certificate(self.folder, folder, domain, ("pubsub", "comments", "spaces"), "serverAuth,clientAuth")
        self.config = self.folder / "chirrup.toml"
        super().__init__(domain, [binary, "serve", "--config", self.config], self.folder / "output",
                         [(self.host, port) for port in ports])

    def configure(self, peer, more=""):
        self.config.write_text(CONFIG.format(folder=self.folder, ca=self.ca, domain=self.domain, port=self.port,
                                             tls_port=self.tls_port, s2s_port=self.s2s_port, peer=peer.domain,
                                             peer_port=peer.s2s_port) + more)

    def cpu_seconds(self):
        """CPU time the process has used: of its threads to the nanosecond, of those that are gone to the tick."""
        folder = pathlib.Path(f"/proc/{self.process.pid}")
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        ticks = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        try:
            threads = [(one / "schedstat").read_text() for one in (folder / "task").iterdir()]
        except OSError:
            return ticks
        exact = sum(int(text.split()[0]) for text in threads) / 1e9
        # Those that are gone are more than rounding.
        return exact if abs(exact - ticks) < 0.05 * len(threads) else ticks


class Houses:
    """Both, for as long as the `with` block lasts."""

    def __init__(self, binary, folder, more=""):
        folder = pathlib.Path(folder)
        rig.make_authority(folder)
        self.both = north, south = [House(str(binary), folder, domain) for domain in DOMAINS]
        north.configure(south, more)
        south.configure(north, more)

    def __enter__(self):
        for house in self.both:
            house.start()
        for house in self.both:
            house.wait()
        return self.both

    def __exit__(self, *_):
        for house in self.both:
            house.stop()
