#!/usr/bin/env python3
"""Bob with aioxmpp, who hears what Alice says with go-sendxmpp (go-xmpp): over STARTTLS and over direct TLS, with
stream management, carbons, a card and bookmarks.

    SSL_CERT_FILE=ca.pem with_aioxmpp.py HOST PORT TLS-PORT DOMAIN alice bob password

The accounts are there already. Both clients check the server's certificate. Needs Debian's python3-aioxmpp (and the
interpreter it is for) and go-sendxmpp.
"""
import asyncio
import collections
import collections.abc
import subprocess
import sys

import aioxmpp
import aioxmpp.carbons
import aioxmpp.connector
import aioxmpp.dispatcher
import aioxmpp.vcard

PATIENCE = 20


def said(what):
    print(f"  {what}", flush=True)


def go_sends(domain, port, alice, password, to, text, *, direct):
    """What go-sendxmpp takes from its standard input it sends."""
    command = ["go-sendxmpp", *(["-t"] if direct else []), "-u", f"{alice}@{domain}", "-p", password, "-j",
               f"{domain}:{port}", to]
    subprocess.run(command, input=text + "\n", text=True, check=True, capture_output=True, timeout=PATIENCE)


async def story(host, port, tls_port, domain, alice, bob, password):
    jid = aioxmpp.JID.fromstr(f"{bob}@{domain}/aioxmpp")
    client = aioxmpp.PresenceManagedClient(jid, aioxmpp.make_security_layer(password), override_peer=[
        (host, port, aioxmpp.connector.STARTTLSConnector())])
    heard = asyncio.Queue()
    dispatcher = client.summon(aioxmpp.dispatcher.SimpleMessageDispatcher)
    for kind in (aioxmpp.MessageType.NORMAL, aioxmpp.MessageType.CHAT):
        dispatcher.register_callback(kind, None, lambda message: heard.put_nowait(message.body.any()))
    carbons, cards = client.summon(aioxmpp.CarbonsClient), client.summon(aioxmpp.vcard.VCardService)
    disco, bookmarks = client.summon(aioxmpp.DiscoClient), client.summon(aioxmpp.BookmarkClient)
    client.summon(aioxmpp.RosterClient)
    client.summon(aioxmpp.EntityCapsService)
    async with client.connected() as stream:
        assert stream.sm_enabled and stream.sm_resumable
        said(f"{client.local_jid} is in with aioxmpp; its stream can be resumed")
        await carbons.enable()
        info = await disco.query_info(aioxmpp.JID.fromstr(domain))
        assert "urn:xmpp:carbons:2" in info.features
        card = aioxmpp.vcard.xso.VCard()
        await cards.set_vcard(card)
        await cards.get_vcard()
        await bookmarks.add_bookmark(aioxmpp.bookmarks.Conference("Stage", aioxmpp.JID.fromstr(f"stage@rooms.{domain}")))
        assert [one.name for one in await bookmarks.get_bookmarks()] == ["Stage"]
        said("carbons, discovery, card and bookmarks are answered")
        loop = asyncio.get_event_loop()
        for direct in (False, True):
            text = "over TLS" if direct else "over STARTTLS"
            await loop.run_in_executor(None, lambda: go_sends(
                domain, tls_port if direct else port, alice, password, f"{bob}@{domain}", text, direct=direct))
            found = (await asyncio.wait_for(heard.get(), PATIENCE)).strip()
            assert found == text, found
            said(f"and hears what go-sendxmpp says {text}")


def main():
    host, port, tls_port, domain, alice, bob, password = sys.argv[1:]
    try:
        asyncio.new_event_loop().run_until_complete(
            asyncio.wait_for(story(host, int(port), int(tls_port), domain, alice, bob, password), 60))
    except Exception as error:  # noqa: BLE001: whatever it is, it is the result
        print(f"failed: {type(error).__name__}: {error}", flush=True)
        sys.exit(1)
    print("aioxmpp and go-sendxmpp: all well")


if __name__ == "__main__":
    main()
