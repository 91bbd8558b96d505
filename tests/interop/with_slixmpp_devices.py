#!/usr/bin/env python3
"""What clients of today do with several devices, with slixmpp: a stream lost and resumed, a screen switched off, an
app server that wakes a phone, bookmarks, faces and cards in every form, blocking, what was read and what was liked.

    with_slixmpp_devices.py --host 127.0.0.1 --port 5222 --tls-port 5223 --domain localhost --ca ca.pem
                            [--component-port 5347 --component-secret secret]

Each scene has two people of its own. A scene whose feature the server does not announce is passed over, and said to
be; all others are played, and any that goes wrong makes the exit code 1. The app server is a component,
`push.DOMAIN`; without --component-port its scene is passed over.
"""
import argparse
import asyncio
import base64
import hashlib
import logging
import os
import sys
import traceback
import uuid
import xml.etree.ElementTree as ET

import slixmpp
from slixmpp.exceptions import IqError
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

import with_slixmpp
from with_slixmpp import PATIENCE, Person, refused, said

PUBSUB = "http://jabber.org/protocol/pubsub"
COMMANDS = "http://jabber.org/protocol/commands"
PASSWORD = "secret 1"
# One pixel.
FACE = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


class Passed(Exception):
    """The server does not announce what the scene needs."""


class Device(Person):
    """A person's client that can resume its stream and say whether it is looked at."""

    def __init__(self, options, name, resource, **also):
        super().__init__(options, name, PASSWORD, resource=resource, **also)
        for plugin in ("xep_0049", "xep_0084", "xep_0198", "xep_0292", "xep_0352", "xep_0402"):
            self.register_plugin(plugin)
        self.resumed = asyncio.Queue()
        self.add_event_handler("session_resumed", self.resumed.put_nowait)
        self.seen, self.gone, self.bounced = asyncio.Queue(), asyncio.Queue(), asyncio.Queue()
        self.add_event_handler("message_error", self.bounced.put_nowait)
        self.add_event_handler("presence", self.seen.put_nowait)
        self.add_event_handler("presence_unavailable", self.gone.put_nowait)

    def watch(self, element):
        """A queue of the messages that hold an element."""
        queue = asyncio.Queue()
        path = f"{{jabber:client}}message/{element}"
        self.register_handler(Callback(f"watch {element}", MatchXPath(path), queue.put_nowait))
        return queue

    async def cut(self):
        """Loses the connection, as a phone does."""
        lost = self.disconnected
        self.transport.abort()
        await asyncio.wait_for(lost, PATIENCE)

    async def ask(self, kind, payload, to=None):
        iq = self.make_iq(itype=kind, ito=to)
        iq.append(ET.fromstring(payload))
        return (await iq.send(timeout=PATIENCE)).xml

    async def settled(self):
        """When the server has answered this, it has handled all that was sent before."""
        await self.ask("get", "<ping xmlns='urn:xmpp:ping'/>", self.boundjid.domain)

    async def publish(self, node, item, payload):
        await self.plugin["xep_0060"].publish(None, node, id=item, payload=ET.fromstring(payload), timeout=PATIENCE)

    async def items(self, node, of=None):
        found = await self.ask("get", f"<pubsub xmlns='{PUBSUB}'><items node='{node}'/></pubsub>", of)
        return list(found.iter(f"{{{PUBSUB}}}item"))


class Stage:
    """Makes people, and lets them go at the end of the scene."""

    def __init__(self, options):
        self.options, self.people = options, []

    async def register(self, name, exact=False):
        registrar = Device(self.options, name if exact else f"{name}-{uuid.uuid4().hex[:8]}", "first", register=True)
        registrar.connect(self.options.host, self.options.port)
        await asyncio.wait_for(registrar.registered.wait(), PATIENCE)
        await asyncio.wait_for(registrar.started.wait(), PATIENCE)
        await registrar.leave()
        return registrar.boundjid.user

    async def enter(self, name, resource, direct=False):
        device = Device(self.options, name, resource, direct=direct)
        self.people.append(device)
        await device.enter()
        return device

    async def contacts(self):
        """Two people who see each other."""
        alice, bob = await self.register("alice"), await self.register("bob")
        alice, bob = await self.enter(alice, "desk"), await self.enter(bob, "desk", direct=True)
        alice.send_presence_subscription(pto=bob.boundjid.bare)
        for _ in range(200):
            await asyncio.sleep(0.05)
            if all(one.client_roster[other.boundjid.bare]["subscription"] == "both"
                   for one, other in ((alice, bob), (bob, alice))):
                return alice, bob
        raise AssertionError("they did not become contacts")

    async def close(self):
        for person in self.people:
            if person.transport:
                await person.leave()


async def needs(person, feature, to=None):
    info = await person.plugin["xep_0030"].get_info(jid=to or person.boundjid.bare, timeout=PATIENCE)
    if feature not in info["disco_info"]["features"]:
        raise Passed(feature)


def element_of(text, name):
    found = text.find(f".//{name}")
    assert found is not None, ET.tostring(text, "unicode")
    return found


# The scenes

async def resumption(stage):
    """A stream is lost; what was said meanwhile comes once and in order when it is resumed, and nobody saw her go."""
    alice, bob = await stage.contacts()
    if not alice.plugin["xep_0198"].sm_id:
        raise Passed("urn:xmpp:sm:3 with resumption")
    for turn in range(3):
        await alice.cut()
        for number in range(5):
            bob.send_message(mto=alice.boundjid.full if number % 2 else alice.boundjid.bare, mbody=f"{turn}.{number}",
                             mtype="chat")
        await bob.settled()
        assert bob.gone.empty(), "she has been said to be gone"
        alice.connect(stage.options.host, stage.options.port)
        await asyncio.wait_for(alice.resumed.get(), PATIENCE)
        for number in range(5):
            body = (await alice.next_chat())["body"]
            assert body == f"{turn}.{number}", body
        await alice.settled()
        assert alice.chats.empty(), alice.chats.get_nowait()
    alice.send_message(mto=bob.boundjid.bare, mbody="here again", mtype="chat")
    assert (await bob.next_chat())["body"] == "here again"


async def somebody_elses_stream(stage):
    """Another account cannot resume it."""
    alice, bob = await stage.contacts()
    if not (session := alice.plugin["xep_0198"].sm_id):
        raise Passed("urn:xmpp:sm:3 with resumption")
    failed = asyncio.Queue()
    bob.add_event_handler("sm_failed", failed.put_nowait)
    bob.add_event_handler("session_resumed", failed.put_nowait)
    await bob.cut()
    bob.plugin["xep_0198"].sm_id = session
    bob.connect(stage.options.host, stage.options.tls_port)
    answer = await asyncio.wait_for(failed.get(), PATIENCE)
    assert answer.xml.tag == "{urn:xmpp:sm:3}failed", answer


async def screen_off(stage):
    """While nobody looks, presence waits and only the last of it is told; a message comes at once."""
    alice, bob = await stage.contacts()
    if not alice.plugin["xep_0352"].enabled:
        raise Passed("urn:xmpp:csi:0")
    await alice.settled()
    alice.plugin["xep_0352"].send_inactive()
    await alice.settled()
    while not alice.seen.empty():
        alice.seen.get_nowait()
    for show in ("away", "xa", "dnd"):
        bob.send_presence(pshow=show)
    await bob.settled()
    bob.send_message(mto=alice.boundjid.bare, mbody="urgent", mtype="chat")
    assert (await alice.next_chat())["body"] == "urgent"
    alice.plugin["xep_0352"].send_active()
    await alice.settled()
    shows = [presence["show"] for presence in iter_queue(alice.seen) if presence["from"].bare == bob.boundjid.bare]
    assert shows == ["dnd"], shows


def iter_queue(queue):
    while not queue.empty():
        yield queue.get_nowait()


async def woken(stage):
    """A phone that sleeps is woken by its app server, which is told how much waits and not what."""
    options = stage.options
    if not options.component_port:
        raise Passed("no component")
    app = slixmpp.ComponentXMPP(f"push.{options.domain}", options.component_secret, options.host, options.component_port)
    told, ready = asyncio.Queue(), asyncio.Event()

    def take(iq):
        told.put_nowait(iq.xml)
        iq.reply(clear=True).send()

    app.register_handler(Callback("push", MatchXPath(f"{{jabber:component:accept}}iq/{{{PUBSUB}}}pubsub"), take))
    app.add_event_handler("session_start", lambda _: ready.set())
    app.connect(options.host, options.component_port)
    await asyncio.wait_for(ready.wait(), PATIENCE)
    try:
        alice, bob = await stage.contacts()
        phone = await stage.enter(alice.boundjid.user, "phone")
        await needs(phone, "urn:xmpp:push:0")
        await phone.ask("set", f"<enable xmlns='urn:xmpp:push:0' jid='push.{options.domain}' node='a-node'><x "
                        f"xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>{PUBSUB}#publish-options"
                        f"</value></field><field var='secret'><value>xyz</value></field></x></enable>")
        await phone.leave()
        bob.send_message(mto=alice.boundjid.bare, mbody="wake up", mtype="chat")
        call = await asyncio.wait_for(told.get(), PATIENCE)
        assert element_of(call, f"{{{PUBSUB}}}publish").get("node") == "a-node"
        text = ET.tostring(call, "unicode")
        assert "xyz" in text and "wake up" not in text and bob.boundjid.user not in text, text
        counts = [field.findtext("{jabber:x:data}value") for field in call.iter("{jabber:x:data}field")
                  if field.get("var") == "message-count"]
        assert counts == ["1"], text
        assert (await alice.next_chat())["body"] == "wake up"
    finally:
        await app.disconnect()


async def bookmarks(stage):
    """One list of bookmarks, whichever way a client looks; other devices hear of changes."""
    alice, _ = await stage.contacts()
    await needs(alice, "urn:xmpp:bookmarks:1#compat")
    await alice.plugin["xep_0060"].publish(
        None, "urn:xmpp:bookmarks:1", id="room@rooms.example", timeout=PATIENCE,
        payload=ET.fromstring("<conference xmlns='urn:xmpp:bookmarks:1' name='A room' autojoin='true'><nick>Al</nick>"
                              "</conference>"))
    old = await alice.ask("get", "<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'/></query>")
    room = element_of(old, "{storage:bookmarks}conference")
    assert (room.get("jid"), room.get("name"), room.get("autojoin")) == ("room@rooms.example", "A room", "true")
    await alice.ask("set", "<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'><conference "
                    "jid='other@rooms.example' name='Another'/></storage></query>")
    assert [item.get("id") for item in await alice.items("urn:xmpp:bookmarks:1")] == ["other@rooms.example"]


async def faces(stage):
    """An avatar that is published shows in the vCard and in presence; one in a vCard is published."""
    alice, bob = await stage.contacts()
    await needs(alice, "urn:xmpp:pep-vcard-conversion:0")
    digest = hashlib.sha1(FACE).hexdigest()
    while not bob.seen.empty():
        bob.seen.get_nowait()
    await alice.plugin["xep_0084"].publish_avatar(FACE, timeout=PATIENCE)
    await alice.plugin["xep_0084"].publish_avatar_metadata(
        [{"id": digest, "type": "image/png", "bytes": len(FACE)}], timeout=PATIENCE)
    card = await bob.ask("get", "<vCard xmlns='vcard-temp'/>", alice.boundjid.bare)
    assert base64.b64decode(element_of(card, "{vcard-temp}BINVAL").text) == FACE
    alice.send_presence()
    while True:
        presence = await asyncio.wait_for(bob.seen.get(), PATIENCE)
        if presence.xml.findtext("{vcard-temp:x:update}x/{vcard-temp:x:update}photo") == digest:
            break
    photo = base64.b64encode(FACE).decode()
    await bob.ask("set", f"<vCard xmlns='vcard-temp'><FN>Bob</FN><PHOTO><TYPE>image/png</TYPE><BINVAL>{photo}</BINVAL>"
                  "</PHOTO></vCard>")
    assert [item.get("id") for item in await alice.items("urn:xmpp:avatar:metadata", bob.boundjid.bare)] == [digest]
    read = await alice.plugin["xep_0084"].retrieve_avatar(bob.boundjid.bare, digest, timeout=PATIENCE)
    assert read["pubsub"]["items"]["item"]["avatar_data"]["value"] == FACE


async def cards(stage):
    """A card is the same card in both forms."""
    alice, bob = await stage.contacts()
    # slixmpp 1.17 would name the node after the payload's namespace.
    await alice.plugin["xep_0292"].publish_vcard(full_name="Alice of Wonder", given="Alice", node="urn:xmpp:vcard4",
                                                 timeout=PATIENCE)
    old = await bob.ask("get", "<vCard xmlns='vcard-temp'/>", alice.boundjid.bare)
    assert old.findtext(".//{vcard-temp}FN") == "Alice of Wonder", ET.tostring(old, "unicode")
    await bob.ask("set", "<vCard xmlns='vcard-temp'><FN>Bob the Builder</FN></vCard>")
    new = await alice.items("urn:xmpp:vcard4", bob.boundjid.bare)
    assert "Bob the Builder" in "".join(new[0].itertext())


async def silence(stage):
    """Who is blocked is not heard and does not hear; who is unblocked does again."""
    alice, bob = await stage.contacts()
    await alice.plugin["xep_0191"].block(bob.boundjid.bare, timeout=PATIENCE)
    bob.send_message(mto=alice.boundjid.bare, mbody="nobody hears this", mtype="chat")
    heard = await asyncio.wait_for(bob.bounced.get(), PATIENCE)
    assert heard["error"]["condition"] == "service-unavailable", heard
    await refused(bob.ask("get", "<query xmlns='jabber:iq:version'/>", alice.boundjid.full), "service-unavailable")
    listed = await alice.ask("get", "<blocklist xmlns='urn:xmpp:blocking'/>")
    assert [item.get("jid") for item in listed.iter("{urn:xmpp:blocking}item")] == [bob.boundjid.bare]
    await alice.plugin["xep_0191"].unblock(bob.boundjid.bare, timeout=PATIENCE)
    bob.send_message(mto=alice.boundjid.bare, mbody="at last", mtype="chat")
    assert (await alice.next_chat())["body"] == "at last"


async def catching_up(stage):
    """A new device asks what there is, and reads it from the end; what was liked and read is among it."""
    alice, bob = await stage.contacts()
    await needs(alice, "urn:xmpp:mam:2#extended")
    for number in range(12):
        bob.send_message(mto=alice.boundjid.bare, mbody=f"Message {number}", mtype="chat")
    for number in range(12):
        last = await alice.next_chat()
    likes = bob.watch("{urn:xmpp:reactions:0}reactions")
    like = alice.make_message(mto=bob.boundjid.bare, mtype="chat")
    like.append(ET.fromstring(f"<reactions xmlns='urn:xmpp:reactions:0' id='{last['id']}'><reaction>👍</reaction>"
                              "</reactions>"))
    like.append(ET.fromstring("<store xmlns='urn:xmpp:hints'/>"))
    like.send()
    await asyncio.wait_for(likes.get(), PATIENCE)
    phone = await stage.enter(alice.boundjid.user, "phone")
    about = await phone.ask("get", "<metadata xmlns='urn:xmpp:mam:2'/>")
    start, end = (element_of(about, f"{{urn:xmpp:mam:2}}{name}").get("id") for name in ("start", "end"))
    found, before = [], ""
    while True:
        pages = phone.watch("{urn:xmpp:mam:2}result")
        fin = await phone.ask("set", f"<query xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'><max>5"
                              f"</max><before>{before}</before></set><flip-page/></query>")
        page = [message.xml.find("{urn:xmpp:mam:2}result") for message in iter_queue(pages)]
        phone.remove_handler("watch {urn:xmpp:mam:2}result")
        found += page
        if element_of(fin, "{urn:xmpp:mam:2}fin").get("complete") == "true":
            break
        before = fin.findtext(".//{http://jabber.org/protocol/rsm}first")
    assert (found[0].get("id"), found[-1].get("id")) == (end, start), (start, end)
    assert len({one.get("id") for one in found}) == len(found)
    texts = [body.text for one in found for body in one.iter("{jabber:client}body")]
    assert texts == [f"Message {number}" for number in reversed(range(12))], texts
    assert found[0].find(".//{urn:xmpp:reactions:0}reactions") is not None


async def read_here_read_there(stage):
    """What one device has displayed the other hears of (XEP-0490)."""
    alice, bob = await stage.contacts()
    node = "urn:xmpp:mds:displayed:0"
    phone = await stage.enter(alice.boundjid.user, "phone")
    phone.plugin["xep_0163"].add_interest(node)
    phone.send_presence()
    heard = phone.watch("{http://jabber.org/protocol/pubsub#event}event")
    bob.send_message(mto=alice.boundjid.bare, mbody="Read me", mtype="chat")
    message = await alice.next_chat()
    ours = message.xml.find("{urn:xmpp:sid:0}stanza-id").get("id")
    await phone.settled()
    await alice.publish(node, bob.boundjid.bare, f"<displayed xmlns='{node}'><stanza-id xmlns='urn:xmpp:sid:0' "
                        f"by='{alice.boundjid.bare}' id='{ours}'/></displayed>")
    while True:
        event = await asyncio.wait_for(heard.get(), PATIENCE)
        if ours in str(event):
            break
    assert [item.get("id") for item in await alice.items(node)] == [bob.boundjid.bare]


async def what_the_server_tells(stage):
    """Contact addresses, how long it has been up, and where calls are relayed, where it announces them."""
    alice, _ = await stage.contacts()
    info = await alice.plugin["xep_0030"].get_info(jid=alice.boundjid.domain, timeout=PATIENCE)
    features = info["disco_info"]["features"]
    asked = {"jabber:iq:last": "<query xmlns='jabber:iq:last'/>",
             "urn:xmpp:extdisco:2": "<services xmlns='urn:xmpp:extdisco:2'/>"}
    known = [name for name in asked if name in features]
    if not known:
        raise Passed(" and ".join(asked))
    for name in known:
        await alice.ask("get", asked[name], alice.boundjid.domain)


ADMIN = "http://jabber.org/protocol/admin"


async def command(person, name, fields=None):
    """Runs an administration command to its end; what it answers."""
    host, node = person.boundjid.domain, f"{ADMIN}#{name}"
    answer = await person.ask("set", f"<command xmlns='{COMMANDS}' node='{node}' action='execute'/>", host)
    if fields is None:
        return answer
    session = element_of(answer, f"{{{COMMANDS}}}command").get("sessionid")
    asked = {field.get("var") for field in answer.iter("{jabber:x:data}field")}
    assert set(fields) <= asked, asked
    form = "".join(f"<field var='{var}'><value>{value}</value></field>" for var, value in fields.items())
    answer = await person.ask("set", f"<command xmlns='{COMMANDS}' node='{node}' sessionid='{session}'><x "
                              f"xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>{ADMIN}"
                              f"</value></field>{form}</x></command>", host)
    assert element_of(answer, f"{{{COMMANDS}}}command").get("status") == "completed", ET.tostring(answer, "unicode")
    return answer


async def administration(stage):
    """The steward opens an account, sees who is there, and throws somebody out; nobody else may."""
    alice = await stage.enter(await stage.register("alice"), "desk")
    await needs(alice, COMMANDS, alice.boundjid.domain)
    try:
        await stage.register("steward", exact=True)
    except asyncio.TimeoutError:
        raise Passed("a way to the steward's account") from None
    steward = await stage.enter("steward", "office")
    listed = await steward.plugin["xep_0030"].get_items(jid=steward.boundjid.domain, node=COMMANDS, timeout=PATIENCE)
    nodes = {item[1] for item in listed["disco_items"]["items"]}
    if f"{ADMIN}#add-user" not in nodes:
        raise Passed(f"{ADMIN}#add-user")
    name = f"carol-{uuid.uuid4().hex[:8]}"
    await command(steward, "add-user", {"accountjid": f"{name}@{steward.boundjid.domain}", "password": PASSWORD,
                                        "password-verify": PASSWORD})
    carol = await stage.enter(name, "desk")
    await refused(command(alice, "add-user"), "forbidden")
    lost = carol.disconnected
    await command(steward, "end-user-session", {"accountjids": carol.boundjid.bare})
    await asyncio.wait_for(lost, PATIENCE)
    await command(steward, "delete-user", {"accountjids": carol.boundjid.bare})
    await refused(alice.ask("get", "<vCard xmlns='vcard-temp'/>", carol.boundjid.bare), "service-unavailable")


SCENES = [resumption, somebody_elses_stream, screen_off, woken, bookmarks, faces, cards, silence, catching_up,
          read_here_read_there, what_the_server_tells, administration]


async def perform(options):
    failed = 0
    with_slixmpp.said = lambda _: None
    # slixmpp leaves tasks behind when it goes.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    logging.getLogger("slixmpp").setLevel(logging.CRITICAL)
    for scene in SCENES:
        if options.scenes and scene.__name__ not in options.scenes:
            continue
        stage = Stage(options)
        try:
            await scene(stage)
            said(f"{scene.__name__}: {scene.__doc__}")
        except Passed as why:
            said(f"{scene.__name__}: passed over, the server does not announce {why}")
        except Exception as error:  # noqa: BLE001: whatever it is, it is the result
            failed += 1
            said(f"{scene.__name__}: FAILED: {type(error).__name__}: {error}")
            if not isinstance(error, (AssertionError, IqError)) or options.verbose:
                traceback.print_exc()
        await stage.close()
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5222)
    parser.add_argument("--tls-port", type=int, default=5223)
    parser.add_argument("--component-port", type=int)
    parser.add_argument("--component-secret", default="secret")
    parser.add_argument("--domain", default="localhost")
    parser.add_argument("--ca", required=True, help="PEM file with the authority of the server's certificate")
    parser.add_argument("--verbose", action="store_true", help="where each failure comes from")
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=", ".join(scene.__name__ for scene in SCENES))
    options = parser.parse_args()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    failed = loop.run_until_complete(perform(options))
    print("slixmpp, devices: " + (f"{failed} failed" if failed else "all well"), flush=True)
    sys.stdout.flush()
    # Its leftover tasks have nothing more to say.
    os._exit(1 if failed else 0)


if __name__ == "__main__":
    main()
