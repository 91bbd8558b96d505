"""A network that can be cut: what connects to a port here is passed on to the same port of the server."""
import contextlib
import socket
import struct
import threading


class Relay:
    """Passes bytes on, both ways, for as long as the `with` block lasts."""

    def __init__(self, address, target, ports):
        self.address, self.target, self.ports = address, target, ports
        self.lock, self.pairs, self.listeners = threading.Lock(), [], []

    def __enter__(self):
        for port in self.ports:
            listener = socket.create_server((self.address, port))
            self.listeners.append(listener)
            threading.Thread(target=self.listen, args=(listener, port), daemon=True).start()
        return self

    def __exit__(self, *_):
        for listener in self.listeners:
            listener.close()
        self.cut()

    def listen(self, listener, port):
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection((self.target, port), timeout=5)
                far.settimeout(None)
            except OSError:
                reset(near)
                continue
            with self.lock:
                self.pairs.append((near, far))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self.pass_on, args=(source, sink, (near, far)), daemon=True).start()

    def pass_on(self, source, sink, pair):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            with self.lock:
                # An end is passed on, unless it is that of a connection that is cut: that one is not closed but lost.
                if pair in self.pairs:
                    sink.shutdown(socket.SHUT_WR)

    def cut(self):
        """Resets every connection; what was on its way is lost. How many there were."""
        with self.lock:
            pairs, self.pairs = self.pairs, []
        for pair in pairs:
            for wire in pair:
                reset(wire)
        return len(pairs)


def reset(wire):
    with contextlib.suppress(OSError):
        # Closing sends a reset.
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Whoever reads from it is woken.
        wire.shutdown(socket.SHUT_RD)
    wire.close()
