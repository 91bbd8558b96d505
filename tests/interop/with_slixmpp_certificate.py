#!/usr/bin/env python3
"""slixmpp logs in with a certificate (XEP-0257): Alice registers one by her password, a client comes in with it and
without the password, over STARTTLS and direct TLS, with and without SASL2 as slixmpp chooses, and is sent away when
she revokes it.

    with_slixmpp_certificate.py --host 127.0.0.1 --port 5222 --tls-port 5223 --domain localhost --ca ca.pem

Needs openssl. Every step is printed; the first that goes wrong ends the run with exit code 1.
"""
import argparse
import asyncio
import base64
import pathlib
import ssl
import subprocess
import tempfile
import uuid

import slixmpp
from slixmpp.exceptions import IqError

PATIENCE = 20


def said(what):
    print(f"  {what}", flush=True)


class Client(slixmpp.ClientXMPP):
    def __init__(self, options, jid, password, *, direct=False, identity=None, register=False):
        super().__init__(jid, password, **({"sasl_mech": "EXTERNAL"} if identity else {}))
        self.options, self.direct = options, direct
        self.enable_plaintext, self.enable_direct_tls, self.enable_starttls = False, direct, not direct
        self.ca_certs = options.ca
        if identity:
            self.certfile, self.keyfile = identity
        for plugin in ("xep_0030", "xep_0077", "xep_0199", "xep_0257"):
            self.register_plugin(plugin)
        self.plugin["xep_0077"].create_account = register
        self.started, self.ended, self.refused = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.add_event_handler("session_start", lambda _: self.started.set())
        self.add_event_handler("failed_all_auth", lambda _: self.refused.set())
        self.add_event_handler("disconnected", lambda _: self.ended.set())
        if register:
            self.add_event_handler("register", self.create_account)

    async def create_account(self, _):
        iq = self.Iq(stype="set", sto=self.boundjid.domain)
        iq["register"]["username"], iq["register"]["password"] = self.boundjid.user, self.password
        await iq.send(timeout=PATIENCE)

    async def enter(self):
        self.connect(self.options.host, self.options.tls_port if self.direct else self.options.port)
        waiting = [asyncio.create_task(event.wait()) for event in (self.started, self.refused)]
        await asyncio.wait(waiting, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        return self.started.is_set()


def make(folder, name):
    """A certificate signed by nobody, and its key."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "30", "-subj", f"/CN={name}", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)
    return str(certificate), str(key)


async def run(options, folder):
    jid = f"alice-{uuid.uuid4().hex[:8]}@{options.domain}"
    alice = Client(options, f"{jid}/laptop", "secret", register=True)
    assert await alice.enter()
    identity, other = make(folder, "phone"), make(folder, "other")
    der = ssl.PEM_cert_to_DER_cert(pathlib.Path(identity[0]).read_text())
    manage = alice.plugin["xep_0257"]
    info = await alice.plugin["xep_0030"].get_info(options.domain)
    assert "urn:xmpp:saslcert:1" in info["disco_info"]["features"]
    await manage.add_cert("Phone", base64.b64encode(der).decode(), allow_management=True, timeout=PATIENCE)
    said(f"{jid} has registered a certificate")
    try:
        await manage.add_cert("Phone", base64.b64encode(der).decode(), timeout=PATIENCE)
        raise AssertionError("registered twice")
    except IqError as error:
        assert error.condition == "conflict", error.condition

    for direct in (False, True):
        phone = Client(options, f"{jid}/phone", "", direct=direct, identity=identity)
        assert await phone.enter(), "not let in"
        mechanism = phone.plugin["feature_mechanisms"].mech.name
        assert mechanism == "EXTERNAL", mechanism
        said(f"{phone.boundjid} is in by {mechanism}, {'direct TLS' if direct else 'STARTTLS'} {phone.socket.version()}")
        await phone.plugin["xep_0199"].ping(options.domain, timeout=PATIENCE)
        if not direct:
            await phone.disconnect()
    stranger = Client(options, f"{jid}/other", "", direct=True, identity=other)
    assert not await stranger.enter(), "another certificate was let in"
    said("another certificate is not let in")
    by_password = Client(options, f"{jid}/tablet", "secret", direct=True)
    assert await by_password.enter(), "a client without certificate was disturbed"
    said("a client without certificate notices nothing")

    listed = await manage.get_certs(timeout=PATIENCE)
    said(f"the list: {[(name, sorted(users)) for name, _, users in listed]}")
    assert "phone" in str(listed)
    phone.ended.clear()
    await manage.revoke_cert("Phone", timeout=PATIENCE)
    await asyncio.wait_for(phone.ended.wait(), PATIENCE)
    phone.abort()
    said("revoked: the phone is sent away")
    again = Client(options, f"{jid}/phone", "", direct=True, identity=identity)
    assert not await again.enter(), "let in with a revoked certificate"
    said("and does not come back")
    for client in (again, stranger):
        client.abort()
    await by_password.disconnect()
    await alice.disconnect()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tls-port", type=int, required=True)
    parser.add_argument("--domain", required=True)
    parser.add_argument("--ca", required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="certificates-") as folder:
        asyncio.run(run(options, pathlib.Path(folder)))


if __name__ == "__main__":
    main()
