"""Two Chirrup servers on the loopback interface that find each other without DNS, for stories and crowds.

Everything is in one folder: an authority for the run, and for each house its configuration, data and output.
"""
import os
import pathlib
import socket
import subprocess
import time

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


def free_ports(count):
    """Ports nobody listens on right now."""
    sockets = [socket.socket() for _ in range(count)]
    for held in sockets:
        held.bind(("127.0.0.1", 0))
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return ports


def openssl(*arguments, cwd):
    subprocess.run(["openssl", *arguments], cwd=cwd, check=True, capture_output=True)


CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


class House:
    """A server: what a client needs to know of it, and its process."""

    def __init__(self, binary, folder, domain):
        self.binary, self.folder, self.domain = binary, folder / domain, domain
        self.host = "127.0.0.1"
        self.port, self.tls_port, self.s2s_port = free_ports(3)
        self.ca = str(folder / "ca.pem")
        self.folder.mkdir()
        names = ",".join(f"DNS:{label}{domain}" for label in ("", "pubsub.", "comments.", "spaces."))
        openssl("req", *CURVE, "-subj", f"/CN={domain}", "-keyout", "key.pem", "-out", "request.pem", cwd=self.folder)
        (self.folder / "extensions").write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\n")
        openssl("x509", "-req", "-in", "request.pem", "-CA", "../ca.pem", "-CAkey", "../ca.key", "-CAcreateserial", "-days",
                "90", "-extfile", "extensions", "-out", "cert.pem", cwd=self.folder)
        (self.folder / "chain.pem").write_text(
            (self.folder / "cert.pem").read_text() + (folder / "ca.pem").read_text())

    def start(self, peer, more=""):
        config = self.folder / "chirrup.toml"
        config.write_text(CONFIG.format(folder=self.folder, ca=self.ca, domain=self.domain, port=self.port,
                                        tls_port=self.tls_port, s2s_port=self.s2s_port, peer=peer.domain,
                                        peer_port=peer.s2s_port) + more)
        self.output = open(self.folder / "output", "w")
        self.process = subprocess.Popen([self.binary, "serve", "--config", config], stdout=self.output,
                                        stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=self.folder)

    def wait(self):
        for _ in range(300):
            if self.process.poll() is not None:
                break
            try:
                for port in (self.port, self.tls_port, self.s2s_port):
                    socket.create_connection((self.host, port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"{self.domain} did not start:\n{self.tail()}")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            print(f"{self.domain} did not stop when asked to", flush=True)
        self.output.close()

    def tail(self):
        return (self.folder / "output").read_text(errors="replace")[-4000:]

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
        openssl("req", "-x509", *CURVE, "-days", "90", "-subj", "/CN=Interop authority", "-keyout", "ca.key", "-out",
                "ca.pem", cwd=folder)
        self.both, self.more = [House(str(binary), folder, domain) for domain in DOMAINS], more

    def __enter__(self):
        north, south = self.both
        north.start(south, self.more)
        south.start(north, self.more)
        for house in self.both:
            house.wait()
        return self.both

    def __exit__(self, *_):
        for house in self.both:
            house.stop()
