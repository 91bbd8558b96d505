"""What the programs here and in the folders below share: what is tried and with which interpreter, ports, certificates,
namespaces, and processes that listen. No client and no story is in it.

    sys.path.insert(0, str(HERE.parent))
    import rig
"""
import os
import pathlib
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
LOOPBACK = "127.0.0.1"
# What a program ends with that cannot do on this machine what it is for.
NOT_HERE = 77
NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def chirrup():
    """The binary that is tried: CHIRRUP of the environment, or what cargo builds now."""
    if os.environ.get("CHIRRUP"):
        return os.environ["CHIRRUP"]
    subprocess.run(["cargo", "build", "--package", "chirrup"], cwd=ROOT, check=True)
    return str(TARGET.resolve() / "debug" / "chirrup")


def python():
    """An interpreter that has slixmpp: PYTHON of the environment, or a virtual environment made under target/."""
    if os.environ.get("PYTHON"):
        return os.environ["PYTHON"]
    environment = TARGET / "interop-python"
    if not (environment / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        subprocess.run([environment / "bin" / "pip", "install", "--quiet", "slixmpp==1.17.0"], check=True)
    return str(environment / "bin" / "python")


def free_ports(count):
    """Ports nobody listens on right now."""
    sockets = [socket.socket() for _ in range(count)]
    for held in sockets:
        held.bind((LOOPBACK, 0))
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return ports


def openssl(*arguments, cwd):
    done = subprocess.run(["openssl", *map(str, arguments)], cwd=cwd, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {' '.join(map(str, arguments))}: {done.stderr}")


def make_authority(folder):
    """ca.pem and ca.key."""
    openssl("req", "-x509", *NEW_KEY, "-days", 90, "-subj", "/CN=Interop authority", "-keyout", "ca.key", "-out", "ca.pem",
            cwd=folder)


def make_certificate(folder, authority, domain, labels=(), uses="serverAuth"):
    """chain.pem and key.pem in the folder: a certificate that the authority of the other folder gives to the domain and
    what is below it by one of the labels."""
    names = ",".join(f"DNS:{name}" for name in [domain, *(f"{label}.{domain}" for label in labels)])
    openssl("req", *NEW_KEY, "-subj", f"/CN={domain}", "-keyout", "key.pem", "-out", "request.pem", cwd=folder)
    (folder / "extensions").write_text(f"subjectAltName={names}\nextendedKeyUsage={uses}\n")
    openssl("x509", "-req", "-in", "request.pem", "-CA", authority / "ca.pem", "-CAkey", authority / "ca.key",
            "-CAcreateserial", "-days", 90, "-extfile", "extensions", "-out", "cert.pem", cwd=folder)
    (folder / "chain.pem").write_text((folder / "cert.pem").read_text() + (authority / "ca.pem").read_text())


def namespace():
    """The command that runs another in namespaces of its own, or None where there are none."""
    common = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    for command in (common, [*common, "--user", "--map-root-user"]):
        if subprocess.run([*command, "true"], capture_output=True).returncode == 0:
            return command
    return None


def is_listening(place):
    try:
        socket.create_connection(place, timeout=1).close()
        return True
    except OSError:
        return False


class Process:
    """A program that listens at some places, for as long as the `with` block lasts; what it writes goes to a file."""

    def __init__(self, name, command, output, places=(), environment=None):
        self.name, self.command, self.output, self.places = name, command, output, places
        self.environment, self.process = environment or {}, None

    def __enter__(self):
        self.start()
        try:
            self.wait()
        except RuntimeError:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        with open(self.output, "a") as output:
            self.process = subprocess.Popen([str(part) for part in self.command], cwd=self.output.parent,
                                            env={**os.environ, **self.environment}, stdin=subprocess.DEVNULL,
                                            stdout=output, stderr=subprocess.STDOUT)

    def wait(self, patience=30):
        """Returns when it listens everywhere; RuntimeError with what it wrote when it ends first, or never does."""
        end = time.monotonic() + patience
        while self.process.poll() is None and time.monotonic() < end:
            if all(map(is_listening, self.places)):
                return
            time.sleep(0.1)
        raise RuntimeError(f"{self.name} did not start:\n{self.tail()}")

    def stop(self, patience=15):
        self.process.terminate()
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            print(f"{self.name} did not stop when asked to", file=sys.stderr, flush=True)

    def restart(self):
        self.stop()
        self.start()
        self.wait()

    def tail(self, characters=8000):
        """The end of what it wrote."""
        return self.output.read_text(errors="replace")[-characters:] if self.output.exists() else ""
