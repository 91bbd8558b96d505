#!/usr/bin/env python3
"""The clients of `run`: Romeo with slixmpp, Mercutio on IRC, a component with slixmpp.

    clients.py C2S-PORT COMPONENT-PORT IRC-ADDRESS CERTIFICATE

Every step is printed; the first that goes wrong ends the run with exit code 1. Lines that begin with `!` ask the caller
to stop or start the gateway, and wait for an answer.
"""
import asyncio
import sys

import slixmpp
from slixmpp.exceptions import IqError
from slixmpp.xmlstream import ET

PATIENCE = 20


def said(what):
    print(f"  {what}", flush=True)


async def caller(what):
    print(f"! {what}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


class Romeo(slixmpp.ClientXMPP):
    """A client that keeps what it hears in queues."""

    def __init__(self, port, certificate, register, name="romeo"):
        super().__init__(f"{name}@localhost/orchard", "secret")
        self.port = port
        self.enable_plaintext, self.enable_starttls, self.enable_direct_tls = False, True, False
        self.ca_certs = certificate
        for plugin in ("xep_0030", "xep_0045", "xep_0050", "xep_0077", "xep_0199"):
            self.register_plugin(plugin)
        self.plugin["xep_0077"].create_account = register
        self.started, self.registered = asyncio.Event(), asyncio.Event()
        self.messages, self.presences = asyncio.Queue(), asyncio.Queue()
        self.add_event_handler("session_start", lambda _: self.started.set())
        self.add_event_handler("message", self.messages.put_nowait)
        self.add_event_handler("groupchat_message", lambda _: None)
        self.add_event_handler("message_error", self.messages.put_nowait)
        self.add_event_handler("presence", self.presences.put_nowait)
        if register:
            self.add_event_handler("register", self.create_account)

    async def create_account(self, _):
        iq = self.Iq(stype="set", sto=self.boundjid.domain)
        iq["register"]["username"] = self.boundjid.user
        iq["register"]["password"] = self.password
        await iq.send(timeout=PATIENCE)
        self.registered.set()

    async def enter(self):
        self.connect("127.0.0.1", self.port)
        await asyncio.wait_for(self.started.wait(), PATIENCE)

    async def message(self, wanted):
        """The next message for which `wanted` holds."""
        async def look():
            while True:
                message = await self.messages.get()
                if wanted(message):
                    return message
        return await asyncio.wait_for(look(), PATIENCE)

    async def presence(self, wanted):
        """The next presence for which `wanted` holds."""
        async def look():
            while True:
                presence = await self.presences.get()
                if wanted(presence):
                    return presence
        return await asyncio.wait_for(look(), PATIENCE)

    async def enter_room(self, room, nick):
        presence = self.make_presence(pto=f"{room}/{nick}")
        presence.append(ET.Element("{http://jabber.org/protocol/muc}x"))
        presence.send()

        def is_self(presence):
            return presence["from"] == f"{room}/{nick}" and presence["type"] != "unavailable" and any(
                status.get("code") == "110" for status in presence.xml.iter("{http://jabber.org/protocol/muc#user}status"))
        await self.presence(is_self)


class Mercutio:
    """Somebody on IRC."""

    async def enter(self, host):
        self.reader, self.writer = await asyncio.open_connection(host, 6667)
        self.say("NICK mercutio", "USER mercutio 0 * :Mercutio", "JOIN #verona")
        await self.hear(" 366 ")

    def say(self, *lines):
        for line in lines:
            self.writer.write(f"{line}\r\n".encode())

    async def hear(self, part):
        """The next line with `part` in it."""
        async def look():
            while True:
                line = (await self.reader.readline()).decode().strip()
                if not line:
                    raise EOFError("IRC has ended")
                if line.startswith("PING"):
                    self.say(line.replace("PING", "PONG"))
                if part in line:
                    return line
        return await asyncio.wait_for(look(), PATIENCE)


class Privileged(slixmpp.ComponentXMPP):
    """A component that does what its privileges let it do, and handles a namespace."""

    def __init__(self, port):
        super().__init__("privileged.localhost", "privileged secret", "127.0.0.1", port)
        for plugin in ("xep_0030", "xep_0297", "xep_0356"):
            self.register_plugin(plugin)
        self.started, self.told, self.presences = asyncio.Event(), asyncio.Event(), asyncio.Queue()
        self.add_event_handler("session_start", lambda _: self.started.set())
        self.add_event_handler("privileges_advertised", lambda _: self.told.set())
        self.add_event_handler("presence", self.presences.put_nowait)
        self.register_handler(slixmpp.xmlstream.handler.CoroutineCallback(
            "delegated", slixmpp.xmlstream.matcher.MatchXPath(
                "{jabber:component:accept}iq/{urn:xmpp:delegation:2}delegation"), self.delegated))

    async def delegated(self, iq):
        """Answers what was forwarded, inside as it came."""
        if iq["type"] != "set":
            return
        asked = next(iq.xml.iter("{jabber:client}iq"))
        inner = ET.Element("{jabber:client}iq", {"type": "result", "id": asked.get("id"), "to": asked.get("from")})
        if asked.get("to"):
            inner.set("from", asked.get("to"))
        ET.SubElement(inner, "{urn:example:delegated}query", {"by": "the component"})
        delegation = ET.Element("{urn:xmpp:delegation:2}delegation")
        ET.SubElement(delegation, "{urn:xmpp:forward:0}forwarded").append(inner)
        reply = iq.reply()
        reply.append(delegation)
        reply.send()


async def privileged(romeo, gate):
    """A component with privileges (XEP-0356) and a delegated namespace (XEP-0355)."""
    component = Privileged(gate)
    component.connect()
    await asyncio.wait_for(component.told.wait(), PATIENCE)
    said("a component is told of its privileges")
    presence = await asyncio.wait_for(component.presences.get(), PATIENCE)
    assert presence["from"] == romeo.boundjid, presence
    said("it is told that Romeo is there")
    plugin = component.plugin["xep_0356"]
    await plugin.set_roster(romeo.boundjid.bare, {"nurse@localhost": {"name": "Nurse", "subscription": "none",
                                                                     "groups": []}}, timeout=PATIENCE)
    answer = await plugin.get_roster(romeo.boundjid.bare, timeout=PATIENCE)
    assert "nurse@localhost" in {str(jid) for jid in answer["roster"]["items"]}, answer
    said("it adds a contact to Romeo's roster, and reads it")
    message = ET.Element("{jabber:client}message", {"from": "localhost", "to": str(romeo.boundjid)})
    ET.SubElement(message, "{jabber:client}body").text = "from the server itself"
    carrier = component.make_message(mto="localhost", mfrom="privileged.localhost")
    ET.SubElement(ET.SubElement(carrier.xml, "{urn:xmpp:privilege:2}privilege"),
                  "{urn:xmpp:forward:0}forwarded").append(message)
    carrier.send()
    heard = await romeo.message(lambda message: message["body"] == "from the server itself")
    assert heard["from"] == "localhost", heard
    said("it sends a message in the name of the server")
    iq = romeo.make_iq_get(ito=None)
    iq.append(ET.Element("{urn:example:delegated}query"))
    answer = await iq.send(timeout=PATIENCE)
    assert next(answer.xml.iter("{urn:example:delegated}query")).get("by") == "the component", answer
    said("it answers what Romeo asks his own account in a delegated namespace")
    await component.disconnect()


async def talk(romeo, irc):
    """Through the gateway, both ways."""
    items = await romeo.plugin["xep_0030"].get_items(jid="localhost", timeout=PATIENCE)
    assert any(jid == "irc.localhost" and name == "IRC" for jid, _, name in items["disco_items"]["items"]), items
    info = await romeo.plugin["xep_0030"].get_info(jid="irc.localhost", timeout=PATIENCE)
    assert any(identity[:2] == ("conference", "irc") for identity in info["disco_info"]["identities"]), info
    said("the gateway is among the items of the server, and says that it is one for IRC")
    commands = await romeo.plugin["xep_0050"].get_commands(jid="irc.localhost", timeout=PATIENCE)
    names = sorted(node for _, node, _ in commands["disco_items"]["items"])
    assert "ping" in names, names
    said(f"its commands are {', '.join(names)}")

    mercutio, room = Mercutio(), f"#verona%{irc}@irc.localhost"
    await mercutio.enter(irc)
    await romeo.enter_room(room, "Romeo")
    await mercutio.hear("JOIN")
    said("Romeo has entered the channel, and Mercutio sees him")
    for number in range(8):
        romeo.send_message(mto=room, mbody=f"line {number} of Romeo", mtype="groupchat")
    for number in range(8):
        await mercutio.hear(f"PRIVMSG #verona :line {number} of Romeo")
    said("8 lines of Romeo come to Mercutio, in order")
    for number in range(8):
        mercutio.say(f"PRIVMSG #verona :line {number} of Mercutio")
    for number in range(8):
        message = await romeo.message(lambda message: message["from"] == f"{room}/mercutio")
        assert message["body"] == f"line {number} of Mercutio", message
    said("8 lines of Mercutio come to Romeo, in order")
    mercutio.say("PRIVMSG Romeo :between us")
    message = await romeo.message(lambda message: message["body"] == "between us")
    assert message["type"] == "chat", message
    romeo.send_message(mto=message["from"], mbody="so be it", mtype="chat")
    await mercutio.hear("PRIVMSG Romeo :so be it".replace("Romeo", "mercutio"))
    said(f"in private, too, from {message['from']}")

    await caller("leaves")
    await mercutio.hear("QUIT")
    romeo.send_message(mto=room, mbody="anybody?", mtype="groupchat")
    error = await romeo.message(lambda message: message["type"] == "error")
    assert error["error"]["condition"] == "remote-server-timeout", error
    said("the gateway is away: Romeo is told so")
    await caller("arrives")
    await romeo.enter_room(room, "Romeo")
    romeo.send_message(mto=room, mbody="here again", mtype="groupchat")
    await mercutio.hear("here again")
    said("the gateway is back, and so is Romeo")


async def main():
    port, gate, irc, certificate = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    new = Romeo(port, certificate, register=True)
    new.connect("127.0.0.1", port)
    await asyncio.wait_for(new.registered.wait(), PATIENCE)
    await new.disconnect()
    romeo = Romeo(port, certificate, register=False)
    await romeo.enter()
    romeo.send_presence()
    await talk(romeo, irc)
    await privileged(romeo, gate)
    await romeo.disconnect()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except (AssertionError, asyncio.TimeoutError, IqError, EOFError) as error:
        import traceback
        traceback.print_exc()
        sys.exit(f"went wrong: {error!r}")
