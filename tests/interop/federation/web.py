#!/usr/bin/env python3
"""Web servers that publish fingerprints of XMPP servers' certificates (POSH, RFC 7711), one for each address.

    web.py CERTIFICATES DOMAIN=ADDRESS...

The web server's own certificate is CERTIFICATES/trusted/DOMAIN.crt; what it publishes is that of
CERTIFICATES/untrusted/DOMAIN.crt.
"""
import base64
import hashlib
import http.server
import json
import pathlib
import ssl
import sys
import threading


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = b""
        if self.path == "/.well-known/posh/xmpp-server.json":
            body = self.server.documents.get(self.headers.get("Host"), b"")
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def document(certificate):
    first = certificate.read_text().partition("-----END")[0] + "-----END CERTIFICATE-----\n"
    hashed = base64.b64encode(hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).digest()).decode()
    return json.dumps({"fingerprints": [{"sha-256": hashed}], "expires": 86400}).encode()


def main():
    certificates = pathlib.Path(sys.argv[1])
    places = [argument.split("=") for argument in sys.argv[2:]]
    for address in {address for _, address in places}:
        server = http.server.ThreadingHTTPServer((address, 443), Page)
        domains = [domain for domain, where in places if where == address]
        server.documents = {domain: document(certificates / "untrusted" / f"{domain}.crt") for domain in domains}
        contexts = {}
        for domain in domains:
            contexts[domain] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            contexts[domain].load_cert_chain(certificates / "trusted" / f"{domain}.crt",
                                             certificates / "trusted" / f"{domain}.key")

        def choose(wire, name, _, contexts=contexts):
            wire.context = contexts.get(name, wire.context)

        contexts[domains[0]].sni_callback = choose
        server.socket = contexts[domains[0]].wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever).start()


if __name__ == "__main__":
    main()
