"""Just enough of a client for the crash rig: registers, logs in with SCRAM-SHA-1 without TLS, sends, reads stanzas."""
import base64, hashlib, hmac, os, socket
from xml.etree.ElementTree import XMLPullParser

CLIENT, SASL = "{jabber:client}", "{urn:ietf:params:xml:ns:xmpp-sasl}"


class Refused(Exception):
    pass


class Client:
    def __init__(self, port, domain, timeout=10.0):
        self.domain = domain
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.restart()

    def close(self):
        self.socket.close()

    def restart(self):
        self.parser, self.depth, self.ready = XMLPullParser(("start", "end")), 0, []
        self.send(f"<?xml version='1.0'?><stream:stream to='{self.domain}' version='1.0' xmlns='jabber:client' "
                  "xmlns:stream='http://etherx.jabber.org/streams'>")
        self.next()  # features

    def send(self, text):
        self.socket.sendall(text.encode())

    def next(self):
        """The next stanza or nonza. Raises OSError when the stream ends."""
        while not self.ready:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("the stream ended")
            self.parser.feed(data)
            for event, element in self.parser.read_events():
                if event == "start":
                    self.depth += 1
                    if self.depth == 1:
                        self.root = element
                else:
                    self.depth -= 1
                    if self.depth == 1:
                        self.ready.append(element)
                        self.root.clear()
                    elif self.depth == 0:
                        raise ConnectionError("the stream was closed")
        return self.ready.pop(0)

    def ask(self, text):
        """Sends an IQ (with id 'q') and waits for its answer."""
        self.send(text)
        while (answer := self.next()).get("id") != "q":
            pass
        if answer.get("type") != "result":
            raise Refused([child.tag for error in answer.iter(CLIENT + "error") for child in error])
        return answer

    def register(self, name):
        self.ask(f"<iq type='set' id='q'><query xmlns='jabber:iq:register'><username>{name}</username>"
                 f"<password>secret {name}</password></query></iq>")

    def login(self, name):
        nonce = base64.b64encode(os.urandom(12)).decode()
        bare = f"n={name},r={nonce}"
        self.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>"
                  + base64.b64encode(f"n,,{bare}".encode()).decode() + "</auth>")
        challenge = self.next()
        if challenge.tag != SASL + "challenge":
            raise Refused(challenge.tag)
        first = base64.b64decode(challenge.text).decode()
        parts = dict(part.split("=", 1) for part in first.split(","))
        salted = hashlib.pbkdf2_hmac("sha1", f"secret {name}".encode(), base64.b64decode(parts["s"]), int(parts["i"]))
        key = hmac.digest(salted, b"Client Key", "sha1")
        final = f"c=biws,r={parts['r']}"
        signed = hmac.digest(hashlib.sha1(key).digest(), f"{bare},{first},{final}".encode(), "sha1")
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signed))).decode()
        self.send("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"
                  + base64.b64encode(f"{final},p={proof}".encode()).decode() + "</response>")
        outcome = self.next()
        if outcome.tag != SASL + "success":
            raise Refused(outcome.tag)
        self.restart()
        self.ask("<iq type='set' id='q'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
