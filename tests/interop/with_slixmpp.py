#!/usr/bin/env python3
"""Two people with slixmpp: they register, log in over STARTTLS and over direct TLS, add each other, chat, post,
follow, and read back by pages; what one of them missed is there in order when he returns, and in his archive, what one
of his devices says and hears the other is told, and what he takes back is gone; he likes a post, and reads his home
timeline; and they share nodes of services.

    with_slixmpp.py --host 127.0.0.1 --port 5222 --tls-port 5223 --domain localhost --ca ca.pem

Every step is printed; the first that goes wrong ends the run with exit code 1. A feature that the server does not
announce (paging) is passed over, so that the script can be tried on other servers.
"""
import argparse
import asyncio
import os
import sys
import urllib.parse
import uuid
import xml.etree.ElementTree as ET

import slixmpp
from slixmpp.exceptions import IqError
from slixmpp.plugins.xep_0059.stanza import Set
from slixmpp.plugins.xep_0060.stanza import Pubsub
from slixmpp.xmlstream import register_stanza_plugin

MICROBLOG = "urn:xmpp:microblog:0"
TIMELINE = "urn:chirrup:timeline:0"
WATCHED = "urn:example:weather"
ATOM = "http://www.w3.org/2005/Atom"
PATIENCE = 20

register_stanza_plugin(Pubsub, Set)


def said(what):
    print(f"  {what}", flush=True)


class Person(slixmpp.ClientXMPP):
    """A client that keeps what it hears in queues."""

    def __init__(self, options, name, password, *, direct=False, register=False, resource="interop"):
        super().__init__(f"{name}@{options.domain}/{resource}", password)
        self.options, self.direct = options, direct
        self.enable_plaintext = False
        self.enable_direct_tls, self.enable_starttls = direct, not direct
        self.ca_certs = options.ca
        for plugin in ("xep_0030", "xep_0054", "xep_0059", "xep_0060", "xep_0077", "xep_0092", "xep_0115", "xep_0163",
                       "xep_0191", "xep_0199", "xep_0202", "xep_0203", "xep_0280", "xep_0313", "xep_0359"):
            self.register_plugin(plugin)
        # In-band registration is only wanted when an account is to be made.
        self.plugin["xep_0077"].create_account = register
        self.plugin["xep_0163"].add_interest(WATCHED)
        self.chats, self.events, self.presences = asyncio.Queue(), asyncio.Queue(), asyncio.Queue()
        self.copies = asyncio.Queue()
        self.add_event_handler("carbon_received", lambda copy: self.copies.put_nowait(copy["carbon_received"]))
        self.add_event_handler("carbon_sent", lambda copy: self.copies.put_nowait(copy["carbon_sent"]))
        self.started, self.refused, self.registered = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.add_event_handler("session_start", lambda _: self.started.set())
        self.add_event_handler("failed_all_auth", lambda _: self.refused.set())
        self.add_event_handler("message", self.chats.put_nowait)
        self.add_event_handler("pubsub_publish", self.events.put_nowait)
        self.add_event_handler("pubsub_retract", self.events.put_nowait)
        self.add_event_handler("presence_available", self.presences.put_nowait)
        if register:
            self.add_event_handler("register", self.create_account)

    async def create_account(self, _):
        iq = self.Iq(stype="set", sto=self.boundjid.domain)
        iq["register"]["username"] = self.boundjid.user
        iq["register"]["password"] = self.password
        await iq.send(timeout=PATIENCE)
        self.registered.set()

    async def enter(self):
        port = self.options.tls_port if self.direct else self.options.port
        self.connect(self.options.host, port)
        await asyncio.wait_for(self.started.wait(), PATIENCE)
        mechanism = self.plugin["feature_mechanisms"].mech.name
        assert mechanism.startswith("SCRAM-"), mechanism
        version = self.socket.version()
        said(f"{self.boundjid} is in, {'direct TLS' if self.direct else 'STARTTLS'} {version}, {mechanism}")
        await self.get_roster()
        self.send_presence()

    async def leave(self):
        await self.disconnect()

    async def next_chat(self):
        """The next chat message."""
        while True:
            message = await asyncio.wait_for(self.chats.get(), PATIENCE)
            if message["type"] in ("chat", "normal") and message["body"]:
                return message

    async def next_event(self, node):
        """The next event of a node."""
        while True:
            message = await asyncio.wait_for(self.events.get(), PATIENCE)
            if message["pubsub_event"]["items"]["node"] == node:
                return message

    async def post(self, number, text):
        entry = ET.Element(f"{{{ATOM}}}entry")
        for name, value in (("title", text), ("id", f"tag:interop,2026:{number}"), ("updated", "2026-01-01T00:00:00Z")):
            ET.SubElement(entry, f"{{{ATOM}}}{name}").text = value
        options = self.plugin["xep_0004"].make_form(ftype="submit")
        options.add_field("FORM_TYPE", ftype="hidden", value="http://jabber.org/protocol/pubsub#publish-options")
        options.add_field("pubsub#access_model", value="open")
        options.add_field("pubsub#max_items", value="max")
        await self.plugin["xep_0060"].publish(None, MICROBLOG, id=f"post-{number}", payload=entry, options=options,
                                       timeout=PATIENCE)


async def appear(options, name, password, direct):
    """Registers, then comes in with the new account."""
    registrar = Person(options, name, password, direct=direct, register=True)
    registrar.connect(options.host, options.tls_port if direct else options.port)
    await asyncio.wait_for(registrar.registered.wait(), PATIENCE)
    await asyncio.wait_for(registrar.started.wait(), PATIENCE)
    await registrar.leave()
    said(f"{name} has an account")
    person = Person(options, name, password, direct=direct)
    await person.enter()
    return person


async def posts_by_pages(reader, blog, page):
    """Titles and ids of all posts, oldest first, in pages of a few; all at once where there is no paging."""
    info = await reader.plugin["xep_0030"].get_info(jid=blog, timeout=PATIENCE)
    if "http://jabber.org/protocol/pubsub#rsm" not in info["disco_info"]["features"]:
        found = await reader.plugin["xep_0060"].get_items(blog, MICROBLOG, timeout=PATIENCE)
        ids = [item["id"] for item in found["pubsub"]["items"]]
        return sorted(ids, key=lambda name: int(name.split("-")[1])), 1
    ids, pages, before = [], 0, True
    while True:
        iq = reader.Iq(sto=blog, stype="get")
        iq["pubsub"]["items"]["node"] = MICROBLOG
        iq["pubsub"]["rsm"]["max"] = str(page)
        iq["pubsub"]["rsm"]["before"] = before
        found = await iq.send(timeout=PATIENCE)
        items = [item["id"] for item in found["pubsub"]["items"]]
        if not items:
            return ids, pages
        ids, pages, before = items + ids, pages + 1, found["pubsub"]["rsm"]["first"]


async def archived(reader, contact, page):
    """Texts and ids of what was said with somebody, oldest first, in pages of a few."""
    found = []
    async for message in reader.plugin["xep_0313"].iterate(with_jid=contact, rsm={"max": page}):
        result = message["mam_result"]
        found.append((result["forwarded"]["stanza"]["body"], result["id"]))
    return found


async def features_of(person):
    info = await person.plugin["xep_0030"].get_info(jid=person.boundjid.bare, timeout=PATIENCE)
    return info["disco_info"]["features"]


async def retracts_afterwards(alice, bob, contact):
    """bob takes back what he said: its place in alice's archive stays, and holds nothing of it any more."""
    message = bob.make_message(mto=contact, mbody="Said in haste", mtype="chat")
    message["id"] = f"haste-{uuid.uuid4().hex[:6]}"
    message.send()
    assert (await alice.next_chat())["body"] == "Said in haste"
    retraction = bob.make_message(mto=contact, mbody="(took something back)", mtype="chat")
    element = ET.SubElement(retraction.xml, "{urn:xmpp:message-retract:1}retract")
    element.set("id", message["id"])
    retraction.send()
    await alice.next_chat()
    found = [message async for message in alice.plugin["xep_0313"].iterate(with_jid=bob.boundjid.bare, rsm={"max": 5})]
    texts = [str(one["mam_result"]["forwarded"]["stanza"].xml.findtext("{jabber:client}body")) for one in found]
    assert "Said in haste" not in texts, texts
    tombs = [one for one in found
             if one["mam_result"]["forwarded"]["stanza"].xml.find("{urn:xmpp:message-retract:1}retracted") is not None]
    assert len(tombs) == 1, texts
    said("bob takes a message back: alice's archive keeps its place only")


async def refused(request, condition):
    """The error a request is answered with."""
    try:
        await request
    except IqError as error:
        assert error.condition == condition, error.condition
        return
    raise AssertionError(f"not refused with {condition}")


async def likes(alice, bob, item):
    """bob likes what alice has posted and takes it back, and the sum of likes goes with him (XEP-0470)."""
    author, pubsub, space = alice.boundjid.bare, bob.plugin["xep_0060"], "urn:xmpp:pubsub-attachments"
    target = f"{space}:1/xmpp:{author}?;node={urllib.parse.quote(MICROBLOG, safe='')};item={item}"

    async def sums():
        found = await pubsub.get_items(author, f"{space}:summary:1/{MICROBLOG}", item_ids=[item], timeout=PATIENCE)
        return [(noticed.get("count"), sorted(one.text for one in summary.iter(f"{{{space}:summary:1}}reaction")))
                for summary in found.xml.iter(f"{{{space}:summary:1}}summary")
                for noticed in summary.iter(f"{{{space}:summary:1}}noticed")]

    attachments = ET.fromstring(
        f"<attachments xmlns='{space}:1'><noticed timestamp='2026-11-23T12:00:00Z'/>"
        "<reactions timestamp='2026-11-23T12:00:00Z'><reaction>\U0001F426</reaction></reactions></attachments>")
    await refused(pubsub.publish(author, target, id=author, payload=attachments, timeout=PATIENCE), "bad-request")
    await pubsub.publish(author, target, id=bob.boundjid.bare, payload=attachments, timeout=PATIENCE)
    assert await sums() == [("1", ["\U0001F426"])], await sums()
    await pubsub.retract(author, target, bob.boundjid.bare, timeout=PATIENCE)
    assert await sums() == [], await sums()
    said("he likes a post and takes that back, and the sum says so")


async def timeline_of(person):
    """What the nodes somebody follows have sent, newest last: where each came from, and its id."""
    found = await person.plugin["xep_0060"].get_items(person.boundjid.bare, TIMELINE, max_items=3, timeout=PATIENCE)
    return [{name.rpartition("}")[2]: value for name, value in item.attrib.items()}
            for item in found.xml.iter("{http://jabber.org/protocol/pubsub}item")]


EVENT = "{http://jabber.org/protocol/pubsub#event}"


async def on_a_service(alice, bob, service):
    """Nodes of a service with a domain of its own: made, written, read, shared, and taken away."""
    owner, reader, plenty = alice.plugin["xep_0060"], bob.plugin["xep_0060"], {"timeout": PATIENCE}
    info = await bob.plugin["xep_0030"].get_info(jid=service, **plenty)
    assert ("pubsub", "service", None, None) in info["disco_info"]["identities"], info
    node = f"news-{uuid.uuid4().hex[:6]}"
    form = alice.plugin["xep_0004"].make_form(ftype="submit")
    form.add_field("FORM_TYPE", ftype="hidden", value="http://jabber.org/protocol/pubsub#node_config")
    form.add_field("pubsub#title", value="News")
    form.add_field("pubsub#max_items", value="5")
    await owner.create_node(service, node, config=form, **plenty)
    await refused(owner.create_node(service, node, **plenty), "conflict")
    config = await owner.get_node_config(service, node, **plenty)
    assert config["pubsub_owner"]["configure"]["form"].get_values()["pubsub#title"] == "News"
    nodes = await bob.plugin["xep_0030"].get_items(jid=service, **plenty)
    assert (service, node, "News") in nodes["disco_items"]["items"], nodes

    entry = ET.Element("{urn:example:news}news")
    await refused(reader.publish(service, node, id="his", payload=entry, **plenty), "forbidden")
    await reader.subscribe(service, node, **plenty)
    for number in range(7):
        entry = ET.Element("{urn:example:news}news")
        entry.text = str(number)
        await owner.publish(service, node, id=f"n{number}", payload=entry, **plenty)
        heard = (await bob.next_event(node)).xml.find(f".//{EVENT}item")
        assert heard is not None and heard.get("id") == f"n{number}", number
        if number >= 5:
            # The node keeps five: the oldest has made room.
            gone = (await bob.next_event(node)).xml.find(f".//{EVENT}retract")
            assert gone is not None and gone.get("id") == f"n{number - 5}", number
    kept = await reader.get_items(service, node, **plenty)
    assert sorted(item["id"] for item in kept["pubsub"]["items"]) == ["n2", "n3", "n4", "n5", "n6"], kept
    subscribers = await owner.get_node_subscriptions(service, node, **plenty)
    assert [str(one["jid"]) for one in subscribers["pubsub_owner"]["subscriptions"]] == [bob.boundjid.bare]

    await owner.modify_affiliations(service, node, affiliations=[(bob.boundjid.bare, "publisher")], **plenty)
    await reader.publish(service, node, id="his", payload=entry, **plenty)
    await bob.next_event(node)
    await bob.next_event(node)
    mine = await reader.get_affiliations(service, **plenty)
    assert (node, "publisher") in [(one["node"], one["affiliation"]) for one in mine["pubsub"]["affiliations"]], mine
    await refused(reader.delete_node(service, node, **plenty), "forbidden")
    await owner.purge(service, node, **plenty)
    kept = await reader.get_items(service, node, **plenty)
    assert not list(kept["pubsub"]["items"]), kept
    await owner.delete_node(service, node, **plenty)
    await refused(reader.get_items(service, node, **plenty), "item-not-found")
    said(f"{service}: a node is made, followed, shared, emptied and deleted")


async def story(options):
    tag = uuid.uuid4().hex[:8]
    alice_name, bob_name, password = f"alice-{tag}", f"bob-{tag}", "pässword 1"
    alice = await appear(options, alice_name, password, direct=False)
    bob = await appear(options, bob_name, password, direct=True)

    wrong = Person(options, bob_name, "not it", direct=False)
    wrong.connect(options.host, options.port)
    await asyncio.wait_for(wrong.refused.wait(), PATIENCE)
    wrong.abort()
    said("a wrong password is refused")

    alice.send_presence_subscription(pto=bob.boundjid.bare)
    for _ in range(100):
        await asyncio.sleep(0.05)
        if alice.client_roster[bob.boundjid.bare]["subscription"] == "both" \
                and bob.client_roster[alice.boundjid.bare]["subscription"] == "both":
            break
    else:
        raise AssertionError("they did not become contacts")
    said("they are contacts")

    alice.send_message(mto=bob.boundjid.bare, mbody="Hello Bob", mtype="chat")
    assert (await bob.next_chat())["body"] == "Hello Bob"
    bob.send_message(mto=alice.boundjid.full, mbody="Hello Alice ☺ <&>", mtype="chat")
    assert (await alice.next_chat())["body"] == "Hello Alice ☺ <&>"
    said("they chat")

    version = await alice.plugin["xep_0092"].get_version(options.domain, timeout=PATIENCE)
    said(f"the server is {version['software_version']['name']}")
    await alice.plugin["xep_0199"].ping(options.domain, timeout=PATIENCE)
    await alice.plugin["xep_0202"].get_entity_time(options.domain, timeout=PATIENCE)
    card = alice.plugin["xep_0054"].make_vcard()
    card["FN"] = "Alice"
    await alice.plugin["xep_0054"].publish_vcard(card, timeout=PATIENCE)
    shown = await bob.plugin["xep_0054"].get_vcard(alice.boundjid.bare, timeout=PATIENCE)
    assert shown["vcard_temp"]["FN"] == "Alice"
    said("version, ping, time and vCard are answered")

    await alice.post(1, "First post")
    await bob.plugin["xep_0060"].subscribe(alice.boundjid.bare, MICROBLOG, timeout=PATIENCE)
    await alice.post(2, "Second post")
    while (event := await bob.next_event(MICROBLOG))["pubsub_event"]["items"]["item"]["id"] != "post-2":
        pass
    assert event["from"].bare == alice.boundjid.bare
    item = await bob.plugin["xep_0060"].get_item(alice.boundjid.bare, MICROBLOG, "post-2", timeout=PATIENCE)
    payload = item["pubsub"]["items"]["item"]["payload"]
    assert payload.find(f"{{{ATOM}}}title").text == "Second post"
    said("bob follows alice's blog and hears of a post live")

    weather = ET.Element(f"{{{WATCHED}}}weather")
    weather.text = "rain"
    await alice.plugin["xep_0060"].publish(None, WATCHED, id="now", payload=weather, timeout=PATIENCE)
    event = await bob.next_event(WATCHED)
    assert event["pubsub_event"]["items"]["item"]["payload"].text == "rain"
    said("bob hears of what he watches with +notify")

    try:
        await bob.plugin["xep_0060"].publish(alice.boundjid.bare, MICROBLOG, id="forged", payload=payload,
                                             timeout=PATIENCE)
        raise AssertionError("bob wrote on alice's blog")
    except IqError as error:
        assert error.condition == "forbidden", error.condition
    said("bob cannot write on alice's blog")

    bob_jid = bob.boundjid.bare
    await bob.leave()
    for number in range(3, 13):
        await alice.post(number, f"Post {number}")
    for number in range(5):
        alice.send_message(mto=bob_jid, mbody=f"Missed {number}", mtype="chat")
    await alice.plugin["xep_0199"].ping(options.domain, timeout=PATIENCE)
    bob = Person(options, bob_name, password, direct=False)
    await bob.enter()
    told = []
    for number in range(5):
        message = await bob.next_chat()
        assert message["body"] == f"Missed {number}", message["body"]
        assert message["delay"]["stamp"], "no delay"
        told.append(message["stanza_id"]["id"])
    said("bob was away: five messages come in order, with their times")
    if "urn:xmpp:mam:2#extended" in await features_of(bob):
        found = await archived(bob, alice.boundjid.bare, 3)
        assert [text for text, _ in found] == ["Hello Bob", "Hello Alice ☺ <&>"] + [f"Missed {n}" for n in range(5)], found
        assert [name for _, name in found[2:]] == told, (found, told)
        said("and are in his archive, by pages, with the ids he was told")

        phone = Person(options, bob_name, password, direct=True, resource="phone")
        await phone.enter()
        await phone.plugin["xep_0280"].enable()
        await phone.plugin["xep_0199"].ping(options.domain, timeout=PATIENCE)
        alice.send_message(mto=bob.boundjid.full, mbody="For this one", mtype="chat")
        assert (await bob.next_chat())["body"] == "For this one"
        bob.send_message(mto=alice.boundjid.full, mbody="From this one", mtype="chat")
        assert (await alice.next_chat())["body"] == "From this one"
        for expected in ("For this one", "From this one"):
            copy = await asyncio.wait_for(phone.copies.get(), PATIENCE)
            assert copy["body"] == expected, copy
        await phone.leave()
        await retracts_afterwards(alice, bob, alice.boundjid.full)
        said("his phone is told what his other device hears and says")
    ids, pages = await posts_by_pages(bob, alice.boundjid.bare, 5)
    assert ids == [f"post-{number}" for number in range(1, 13)], ids
    said(f"and all twelve posts, in order, in {pages} page(s)")
    await alice.post(13, "Welcome back")
    while (await bob.next_event(MICROBLOG))["pubsub_event"]["items"]["item"]["id"] != "post-13":
        pass
    said("his subscription has lasted")
    await likes(alice, bob, "post-13")
    entries = [(entry["service"], entry["node"], entry["item"]) for entry in await timeline_of(bob)]
    assert entries == [(alice.boundjid.bare, MICROBLOG, f"post-{number}") for number in (11, 12, 13)], entries
    said("the newest of his home timeline are alice's last posts")

    about = await alice.plugin["xep_0030"].get_items(jid=options.domain, timeout=PATIENCE)
    for label in ("pubsub", "comments", "spaces"):
        if any(item[0] == f"{label}.{options.domain}" for item in about["disco_items"]["items"]):
            await on_a_service(alice, bob, f"{label}.{options.domain}")

    await bob.plugin["xep_0060"].unsubscribe(alice.boundjid.bare, MICROBLOG, timeout=PATIENCE)
    await alice.plugin["xep_0060"].retract(None, MICROBLOG, "post-13", notify=True, timeout=PATIENCE)
    await alice.plugin["xep_0191"].block(bob_jid, timeout=PATIENCE)
    said("unsubscribed, retracted, blocked")
    await bob.plugin["xep_0077"].change_password("another", jid=options.domain, timeout=PATIENCE)
    await bob.leave()
    bob = Person(options, bob_name, "another", direct=True)
    await bob.enter()
    said("bob's password is changed")
    for person in (alice, bob):
        removal = person.plugin["xep_0077"].cancel_registration(jid=options.domain, timeout=PATIENCE)
        gone = asyncio.ensure_future(removal)
        try:
            await asyncio.wait_for(person.disconnected, PATIENCE)
        finally:
            gone.cancel()
    said("both accounts are removed")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5222)
    parser.add_argument("--tls-port", type=int, default=5223)
    parser.add_argument("--domain", default="localhost")
    parser.add_argument("--ca", required=True, help="PEM file with the authority of the server's certificate")
    options = parser.parse_args()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(story(options))
    except Exception as error:  # noqa: BLE001: whatever it is, it is the result
        print(f"failed: {type(error).__name__}: {error}", flush=True)
        import traceback
        traceback.print_exc()
        sys.stdout.flush()
        os._exit(1)
    print("slixmpp: all well", flush=True)
    # Its leftover tasks have nothing more to say.
    os._exit(0)


if __name__ == "__main__":
    main()
