#!/usr/bin/env python3
"""Web servers that publish fingerprints of XMPP servers' certificates (POSH, RFC 7711), one for each domain.

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
        body = self.server.document if self.path == "/.well-known/posh/xmpp-server.json" else b""
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main():
    certificates = pathlib.Path(sys.argv[1])
    for domain, address in (argument.split("=") for argument in sys.argv[2:]):
        published = ssl.PEM_cert_to_DER_cert((certificates / "untrusted" / f"{domain}.crt").read_text()
                                             .partition("-----END")[0] + "-----END CERTIFICATE-----\n")
        hashed = base64.b64encode(hashlib.sha256(published).digest()).decode()
        server = http.server.ThreadingHTTPServer((address, 443), Page)
        server.document = json.dumps({"fingerprints": [{"sha-256": hashed}], "expires": 86400}).encode()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / "trusted" / f"{domain}.crt", certificates / "trusted" / f"{domain}.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever).start()


if __name__ == "__main__":
    main()
