"""A machine of its own for clients with windows: a namespace where one name server answers and one authority is
trusted, and screens with a session bus each.
"""
import fcntl
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import time

# Where the server is; and the network the clients use, which can be cut.
ADDRESS, RELAY = "10.53.0.1", "10.53.0.2"


def furnish_namespace(folder, authority):
    """The loopback interface; name service, and the authorities of the system, as this run wants them.

    Programs that bring TLS of their own make (GnuTLS, OpenSSL) read the bundle at one of these places.
    """
    wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    up, running, set_flags, set_address, set_mask = 0x1, 0x40, 0x8914, 0x8916, 0x891C
    fcntl.ioctl(wire, set_flags, struct.pack("16sH14x", b"lo", up | running))
    # Who has only 127.0.0.1 gets no addresses from getaddrinfo when it asks for those it can use (AI_ADDRCONFIG).
    for number, address in enumerate((ADDRESS, RELAY)):
        for call, value in ((set_address, address), (set_mask, "255.255.255.255")):
            there = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(value))
            fcntl.ioctl(wire, call, struct.pack("16s16s8x", f"lo:{number + 1}".encode(), there))
    files = {"/etc/resolv.conf": "nameserver 127.0.0.1\noptions timeout:2\n", "/etc/hosts": "127.0.0.1 localhost\n"}
    bundle = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
    files[str(bundle)] = bundle.read_text() + authority.read_text()
    for path, text in files.items():
        own = folder / pathlib.Path(path).name
        own.write_text(text)
        subprocess.run(["mount", "--bind", own, pathlib.Path(path).resolve()], check=True)


def as_somebody(command):
    """The command, run by somebody who is not root: Gajim refuses to be started by root."""
    return ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--", *map(str, command)]


def wait_for(what, condition, seconds=30, pause=0.2):
    """Waits for a condition; what it gave."""
    for _ in range(int(seconds / pause)):
        if found := condition():
            return found
        time.sleep(pause)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


class Screen:
    """An X server with a window manager and a session bus, for one client, for as long as the `with` block lasts."""

    def __init__(self, folder, name, width=960, height=720):
        self.folder, self.name, self.size = folder / name, name, f"{width}x{height}"
        self.processes = []

    def __enter__(self):
        home = self.folder / "home"
        (home / "run").mkdir(parents=True, mode=0o700)
        read, write = os.pipe()
        # No TCP, no other's keys: it is reached by its socket only.
        self.start(["Xvfb", "-displayfd", write, "-screen", "0", f"{self.size}x24", "-nolisten", "tcp"], "xvfb",
                   dict(os.environ), pass_fds=(write,))
        os.close(write)
        with os.fdopen(read) as pipe:
            number = pipe.readline().strip()
        if not number:
            raise RuntimeError("Xvfb did not start: " + self.read("xvfb"))
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "DBUS_", "LC_"))},
            "DISPLAY": f":{number}", "HOME": str(home), "LANG": "C.UTF-8", "XDG_RUNTIME_DIR": str(home / "run"),
            # No default route in the namespace: without this GLib says that there is no network.
            "GIO_USE_NETWORK_MONITOR": "base",
            "GSK_RENDERER": "cairo", "GDK_BACKEND": "x11", "NO_AT_BRIDGE": "1", "GTK_A11Y": "none",
            "GSETTINGS_BACKEND": "memory", "GIO_USE_VFS": "local", "LIBGL_ALWAYS_SOFTWARE": "1",
        }
        bus = self.folder / "bus"
        self.environment["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={bus}"
        self.start(as_somebody(["dbus-daemon", "--session", "--nofork", f"--address=unix:path={bus}"]), "dbus")
        wait_for("the session bus", bus.exists)
        self.start(["openbox"], "openbox")
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            self.stop(process)

    @staticmethod
    def stop(process):
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def start(self, command, name, environment=None, **also):
        """A process that ends with the screen; what it writes goes to a file."""
        with open(self.folder / f"{name}.log", "a") as output:
            process = subprocess.Popen([str(part) for part in command], env=environment or self.environment,
                                       stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, **also)
        self.processes.append(process)
        return process

    def read(self, name):
        file = self.folder / f"{name}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def call(self, command, check=True):
        done = subprocess.run([str(part) for part in command], env=self.environment, capture_output=True, text=True,
                              timeout=30)
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def windows(self, title):
        """Ids of the windows whose title has this in it."""
        return self.call(["xdotool", "search", "--onlyvisible", "--name", title], check=False).split()

    def fill(self, title):
        """Makes a window as large as the screen, and gives it the keyboard."""
        window = wait_for(f"the window «{title}»", lambda: self.windows(title))[-1]
        width, height = self.size.split("x")
        self.call(["xdotool", "windowmove", window, "0", "0"], check=False)
        self.call(["xdotool", "windowsize", window, width, height], check=False)
        self.call(["xdotool", "windowactivate", "--sync", window], check=False)
        return window

    def types(self, text):
        self.call(["xdotool", "type", "--delay", "40", text])
        self.call(["xdotool", "key", "Return"])

    def picture(self, file):
        self.call(["import", "-window", "root", file])


def face(file, name):
    """A small picture for somebody: PNG."""
    colours = {"juliet": ("#f5c2c7", "#842029"), "romeo": ("#b6d4fe", "#084298")}[name]
    subprocess.run(["convert", "-size", "96x96", f"xc:{colours[0]}", "-fill", colours[1], "-draw", "circle 48,38 48,20",
                    "-draw", "ellipse 48,96 34,36 180,360", "-strip", str(file)], check=True)
    return file.read_bytes()


def side_by_side(pictures, file):
    subprocess.run(["convert", *map(str, pictures), "+append", str(file)], check=True)


def missing():
    """What has to be installed and is not."""
    tools = ["gajim", "gajim-remote", "dino-im", "Xvfb", "openbox", "xdotool", "import", "convert",
             "dbus-daemon", "unshare", "mount", "openssl"]
    return [tool for tool in tools if not shutil.which(tool)]
