"""The crash rig's first load: the store alone, written by `tests/crash/store.rs` until it is killed."""
import os, shutil, subprocess


class Load:
    def __init__(self, engine, top, target, scratch):
        self.engine, self.child = engine, None
        subprocess.run(["cargo", "build", "-q", "-p", "chirrup-store", "--example", "crash"], cwd=top, check=True)
        # A copy, so that a build meanwhile changes nothing.
        self.binary = shutil.copy(os.path.join(target, "debug", "examples", "crash"), os.path.join(scratch, "load"))

    def start(self, dir, acks):
        words = [self.binary, "write", self.engine, dir, acks]
        self.child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)
        self.said = b""

    def is_open(self):
        os.set_blocking(self.child.stdout.fileno(), False)
        self.said += self.child.stdout.read(64) or b""
        return self.said.startswith(b"open\n")

    def wait_open(self):
        self.said += self.child.stdout.readline()

    def kill(self):
        if self.child:
            self.child.kill()
            self.child.wait()
            self.child.stdout.close()
            self.child = None

    def check(self, dir, acks, until):
        try:
            words = [self.binary, "check", self.engine, dir, acks, str(until)]
            done = subprocess.run(words, capture_output=True, text=True, timeout=120)
        except subprocess.TimeoutExpired:
            return False, "the check hung for 120 s"
        text = done.stdout.strip() or "died: " + " | ".join(done.stderr.strip().splitlines()[:3])
        return done.returncode == 0 and text.startswith("ok"), text
