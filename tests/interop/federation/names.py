#!/usr/bin/env python3
"""A name server for the rig: it answers from a table and knows nothing else.

    names.py ADDRESS PORT TABLE      TABLE is a JSON file, see `Zone`

UDP and TCP; A and SRV records; a name that exists without the type asked for gets an empty answer, every other
name NXDOMAIN. No recursion, no DNSSEC, no compression.
"""
import json
import pathlib
import socketserver
import struct
import sys
import threading

A, SOA, SRV = 1, 6, 33
NOERROR, NXDOMAIN, NOTIMP = 0, 3, 4


def wire_name(name):
    labels = [label.encode() for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


class Zone:
    """`{"name": {"A": ["10.53.0.1"], "SRV": [[priority, weight, port, "target"]]}}`, names in lower case.

    A name with `"silent": true` gets no answer at all.
    """

    def __init__(self, file):
        self.records = json.loads(pathlib.Path(file).read_text())
        # A name above an existing one exists too (RFC 8020).
        self.names = {".".join(name.split(".")[start:]) for name in self.records for start in range(name.count(".") + 1)}

    def lookup(self, name, kind):
        """(response code, list of record data)."""
        name = name.lower()
        found = self.records.get(name, {})
        if kind == A:
            data = [bytes(int(part) for part in address.split(".")) for address in found.get("A", [])]
        elif kind == SRV:
            data = [struct.pack("!HHH", *record[:3]) + wire_name(record[3]) for record in found.get("SRV", [])]
        else:
            data = []
        return (NOERROR if name in self.names else NXDOMAIN), data

    def answer(self, query, bytes_max=65535):
        """The bytes to answer `query` with; None when it is not a question. Too many are left out: truncated."""
        if len(query) < 17 or query[2] & 0x80:
            return None
        identifier, flags, questions = struct.unpack("!HHH", query[:6])
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode("ascii", "replace"))
            at += 1 + query[at]
        kind, _ = struct.unpack("!HH", query[at + 1:at + 5])
        question, name = query[12:at + 5], ".".join(labels)
        if self.records.get(name.lower(), {}).get("silent"):
            return None
        code, data = (NOTIMP, []) if questions != 1 or flags & 0x7800 else self.lookup(name, kind)
        records = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(one)) + one for one in data)
        authority = b""
        if not data:
            start = wire_name("names.test") + wire_name("nobody.names.test") + struct.pack("!IIIII", 1, 60, 60, 60, 60)
            authority = wire_name("test") + struct.pack("!HHIH", SOA, 1, 60, len(start)) + start
        # A response, authoritative, recursion desired as asked and said to be available.
        flags = 0x8480 | flags & 0x0100 | code
        head = struct.pack("!HHHHHH", identifier, flags, 1, len(data), 1 if authority else 0, 0)
        whole = head + question + records + authority
        if len(whole) > bytes_max:
            return struct.pack("!HHHHHH", identifier, flags | 0x0200, 1, 0, 0, 0) + question
        return whole


class Datagram(socketserver.BaseRequestHandler):
    def handle(self):
        data, wire = self.request
        if answer := self.server.zone.answer(data, 1232):
            wire.sendto(answer, self.client_address)


class Stream(socketserver.StreamRequestHandler):
    def handle(self):
        while len(head := self.rfile.read(2)) == 2:
            if answer := self.server.zone.answer(self.rfile.read(struct.unpack("!H", head)[0])):
                self.wfile.write(struct.pack("!H", len(answer)) + answer)


def main():
    address, port, table = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    for server in (socketserver.UDPServer((address, port), Datagram),
                   socketserver.ThreadingTCPServer((address, port), Stream)):
        server.zone = Zone(table)
        threading.Thread(target=server.serve_forever).start()
    print("ready", flush=True)


if __name__ == "__main__":
    main()
