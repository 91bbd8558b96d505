"""What was said on a wire, taken from the clients' own logs; and a client of a few lines, to prepare accounts with."""
import base64
import re
import socket
import ssl
import typing
import xml.etree.ElementTree as ET

CLIENT = "jabber:client"
STANZA_ERRORS = "urn:ietf:params:xml:ns:xmpp-stanzas"


class Stanza(typing.NamedTuple):
    """A stanza as the client sent or received it."""

    is_sent: bool
    element: ET.Element


def read(pieces, *, are_whole):
    """Stanzas from `(is sent, text)`. Unless pieces are whole, one may end inside a stanza, which the next in its
    direction completes."""
    begun = {True: "", False: ""}
    for is_sent, text in pieces:
        # What begins anew leaves behind what has been broken off.
        text = text if text.startswith(("<?xml", "<stream:stream")) else begun[is_sent] + text
        try:
            root = ET.fromstring(f"<all xmlns='{CLIENT}' xmlns:stream='http://etherx.jabber.org/streams'>{text}</all>")
        except ET.ParseError:
            is_header = "<stream:stream" in text or "</stream:stream" in text
            begun[is_sent] = "" if are_whole or is_header or len(text) > 1_000_000 else text
            continue
        begun[is_sent] = ""
        for element in root:
            if element.tag in (f"{{{CLIENT}}}{name}" for name in ("iq", "message", "presence")):
                yield Stanza(is_sent, element)


def refusals(stanzas):
    """(what was asked for, of whom, the error's condition) for each request answered with an error, in order."""
    asked, refused = {}, []
    for is_sent, element in stanzas:
        if element.tag != f"{{{CLIENT}}}iq":
            continue
        if is_sent and element.get("type") in ("get", "set"):
            asked[element.get("id")] = element
        elif not is_sent and element.get("type") == "error" and (request := asked.get(element.get("id"))) is not None:
            error = element.find(f"{{{CLIENT}}}error")
            children = [] if error is None else list(error)
            conditions = [child.tag.split("}")[1] for child in children if STANZA_ERRORS in child.tag]
            refused.append((describe(request), request.get("to", "-"), conditions[0] if conditions else "?"))
    return refused


def unanswered(stanzas):
    """What has been asked for and not been answered at all, in words."""
    asked = {}
    for is_sent, element in stanzas:
        if element.tag == f"{{{CLIENT}}}iq" and is_sent and element.get("type") in ("get", "set"):
            asked[element.get("id")] = f"{describe(element)}, to {element.get('to', '-')}"
        elif element.tag == f"{{{CLIENT}}}iq" and not is_sent:
            asked.pop(element.get("id"), None)
    return list(asked.values())


def describe(request):
    """A request in a few words: its type, namespace, and what stands below down to a node's name."""
    words = [request.get("type")]
    element = next(iter(request), None)
    while element is not None and len(words) < 5:
        space, _, name = element.tag[1:].partition("}")
        words.append(f"{space} {name}" if len(words) == 1 else name)
        if node := element.get("node"):
            words.append(node)
        element = next(iter(element), None)
    return " ".join(words)


def bodies(stanzas, is_sent):
    """Texts of the messages in one direction, also of those handed on (archive, carbons)."""
    return [body.text for sent, element in stanzas if sent == is_sent and element.tag == f"{{{CLIENT}}}message"
            for body in element.iter(f"{{{CLIENT}}}body")]


class Wire:
    """A connection that logs in with PLAIN over direct TLS and sends what it is given."""

    def __init__(self, address, jid, password, authority):
        localpart, domain = jid.split("@")
        context = ssl.create_default_context(cafile=authority)
        plain = socket.create_connection((address, 5223), timeout=10)
        self.stream = context.wrap_socket(plain, server_hostname=domain)
        header = (f"<stream:stream xmlns='{CLIENT}' xmlns:stream='http://etherx.jabber.org/streams' to='{domain}' "
                  f"version='1.0'>")
        self.ask(header, "</stream:features>")
        secret = base64.b64encode(f"\0{localpart}\0{password}".encode()).decode()
        self.ask(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{secret}</auth>", "<success")
        self.ask(header, "</stream:features>")
        self.iq("set", "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>")

    def ask(self, text, until):
        self.stream.sendall(text.encode())
        heard = ""
        while not re.search(until, heard):
            more = self.stream.recv(65536).decode()
            if not more:
                raise AssertionError(f"the stream ended after: {heard}")
            heard += more
        return heard

    def iq(self, kind, payload):
        answer = self.ask(f"<iq type='{kind}' id='a1'>{payload}</iq>", "<iq[^>]*id='a1'")
        if not re.search("<iq[^>]*type='result'", answer):
            raise AssertionError(f"{payload} was answered with {answer}")
        return answer

    def send(self, text):
        self.stream.sendall(text.encode())

    def close(self):
        self.ask("</stream:stream>", "</stream:stream>")
        self.stream.close()
