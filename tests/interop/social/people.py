"""People with slixmpp who say exactly the XML a story gives them, and remember all they hear."""
import asyncio
import html
import os
import sys
import time
import xml.etree.ElementTree as ET

import slixmpp
from slixmpp.exceptions import IqError

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import with_slixmpp  # noqa: E402
from with_slixmpp import PATIENCE, said  # noqa: E402, F401

PUBSUB = "http://jabber.org/protocol/pubsub"
OWNER, EVENT, ERRORS = f"{PUBSUB}#owner", f"{PUBSUB}#event", f"{PUBSUB}#errors"
NODE_CONFIG, PUBLISH_OPTIONS = f"{PUBSUB}#node_config", f"{PUBSUB}#publish-options"
RSM = "http://jabber.org/protocol/rsm"
INFO, ITEMS = "http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items"
ATOM, FORM = "http://www.w3.org/2005/Atom", "jabber:x:data"
MICROBLOG, FOLLOWING = "urn:xmpp:microblog:0", "urn:xmpp:pubsub:subscription"
COMMENTS = f"{MICROBLOG}:comments"
SUMMARY = "urn:xmpp:pubsub-attachments:summary:1"
ATTACHMENTS = "urn:xmpp:pubsub-attachments:1"
PASSWORD = "secret 1"


class Refused(Exception):
    """An error, as `condition` or `condition/application-condition`."""


def form(form_type, fields):
    """A submitted form, from a dict."""
    rows = [f"<field var='FORM_TYPE' type='hidden'><value>{form_type}</value></field>"]
    rows += [f"<field var='{name}'><value>{html.escape(value)}</value></field>" for name, value in fields.items()]
    return f"<x xmlns='{FORM}' type='submit'>{''.join(rows)}</x>"


def fields_of(element):
    """The fields of the first form in an element."""
    found = element.find(f".//{{{FORM}}}x")
    return {} if found is None else {field.get("var"): field.findtext(f"{{{FORM}}}value")
                                     for field in found.iter(f"{{{FORM}}}field")}


def items_of(element):
    """Ids and items of an answer or a notification, in order."""
    return {item.get("id"): item for space in (PUBSUB, EVENT) for item in element.iter(f"{{{space}}}item")}


class Someone(with_slixmpp.Person):
    """A client in a house, with the features it says it has."""

    def __init__(self, house, name, features=(), resource="social", **also):
        super().__init__(house, name, PASSWORD, resource=resource, **also)
        self.house, self.features, self.heard, self.news = house, features, [], asyncio.Event()
        self.add_filter("in", self.listen)
        for feature in features:
            self.plugin["xep_0030"].add_feature(feature)

    @property
    def jid(self):
        return self.boundjid.bare

    def service(self, label):
        """A service of this person's own house."""
        return f"{label}.{self.house.domain}"

    def listen(self, stanza):
        if isinstance(stanza, (slixmpp.Message, slixmpp.Presence)):
            self.heard.append(stanza)
            self.news.set()
        return stanza

    async def enter(self):
        self.connect(self.house.host, self.house.tls_port if self.direct else self.house.port)
        await asyncio.wait_for(self.started.wait(), PATIENCE)
        await self.get_roster(timeout=PATIENCE)
        await self.plugin["xep_0115"].update_caps(broadcast=False)
        self.send_presence()
        return self

    async def ask(self, kind, to, payload):
        """Sends a request with this payload; the answer's element."""
        iq = self.Iq(stype=kind)
        if to:
            iq["to"] = to
        iq.append(ET.fromstring(payload))
        try:
            return (await iq.send(timeout=PATIENCE)).xml
        except IqError as error:
            found = error.iq.xml.find("{jabber:client}error")
            more = [child.tag.rpartition("}")[2] for child in found if child.tag.startswith(f"{{{ERRORS}}}")]
            raise Refused("/".join([error.condition, *more])) from None

    async def is_refused(self, kind, to, payload, *conditions):
        try:
            await self.ask(kind, to, payload)
        except Refused as refusal:
            assert str(refusal).split("/")[0] in conditions or str(refusal) in conditions, \
                f"refused with {refusal}, not {' or '.join(conditions)}"
            return
        raise AssertionError(f"not refused with {conditions}: {payload}")

    async def hears(self, what, matches, since=0):
        """The first stanza from the `since`th on that matches."""
        end = time.monotonic() + PATIENCE
        while True:
            for stanza in self.heard[since:]:
                if matches(stanza):
                    return stanza.xml
            self.news.clear()
            try:
                await asyncio.wait_for(self.news.wait(), end - time.monotonic())
            except asyncio.TimeoutError:
                last = "".join(f"\n      {str(stanza)[:600]}" for stanza in self.heard[since:][-4:])
                raise AssertionError(f"{self.jid} never heard {what}; the last it heard:{last}") from None

    async def hears_event(self, service, node, child, since=0):
        """A notification of a node, with a child `item`, `retract`, … of the given id; that child."""
        tag, _, name = child.partition(" ")

        def inner(stanza):
            if not isinstance(stanza, slixmpp.Message) or stanza["from"].bare != service:
                return None
            for found in stanza.xml.iter(f"{{{EVENT}}}{tag}"):
                if found.get("id", "") == name and any(
                        node in (one.get("node"),) for one in stanza.xml.find(f"{{{EVENT}}}event")):
                    return found
            return None

        stanza = await self.hears(f"{child} in {node} of {service}", lambda one: inner(one) is not None, since)
        for found in stanza.iter(f"{{{EVENT}}}{tag}"):
            if found.get("id", "") == name:
                return found
        return None

    # What every client asks, in the shapes that all of them use.

    async def publish(self, to, node, item, payload, options=None):
        given = f"<publish-options>{form(PUBLISH_OPTIONS, options)}</publish-options>" if options else ""
        name = f" id='{item}'" if item else ""
        return await self.ask("set", to, f"<pubsub xmlns='{PUBSUB}'><publish node='{node}'><item{name}>{payload}</item>"
                                         f"</publish>{given}</pubsub>")

    async def create(self, to, node, config):
        return await self.ask("set", to, f"<pubsub xmlns='{PUBSUB}'><create node='{node}'/><configure>"
                                         f"{form(NODE_CONFIG, config)}</configure></pubsub>")

    async def subscribe(self, to, node):
        found = await self.ask("set", to, f"<pubsub xmlns='{PUBSUB}'><subscribe node='{node}' jid='{self.jid}'/></pubsub>")
        return found.find(f".//{{{PUBSUB}}}subscription")

    async def unsubscribe(self, to, node):
        await self.ask("set", to, f"<pubsub xmlns='{PUBSUB}'><unsubscribe node='{node}' jid='{self.jid}'/></pubsub>")

    async def items(self, to, node, attributes="", inner="", after=""):
        """Items by id, and the whole answer."""
        found = await self.ask("get", to, f"<pubsub xmlns='{PUBSUB}'><items node='{node}' {attributes}>{inner}</items>"
                                          f"{after}</pubsub>")
        return items_of(found), found

    async def item(self, to, node, name):
        found, _ = await self.items(to, node, inner=f"<item id='{name}'/>")
        return found.get(name)

    async def retract(self, to, node, name, notify="true"):
        await self.ask("set", to, f"<pubsub xmlns='{PUBSUB}'><retract node='{node}' notify='{notify}'><item id='{name}'/>"
                                  "</retract></pubsub>")

    async def of_owner(self, kind, to, payload):
        return await self.ask(kind, to, f"<pubsub xmlns='{OWNER}'>{payload}</pubsub>")

    async def info(self, to, node=None):
        """Identities, features and the form of disco#info."""
        found = await self.ask("get", to, f"<query xmlns='{INFO}'{f' node={chr(39)}{node}{chr(39)}' if node else ''}/>")
        identities = {(one.get("category"), one.get("type")) for one in found.iter(f"{{{INFO}}}identity")}
        return identities, {one.get("var") for one in found.iter(f"{{{INFO}}}feature")}, fields_of(found)

    async def listed(self, to, node=None, inner=""):
        found = await self.ask("get", to, f"<query xmlns='{ITEMS}'{f' node={chr(39)}{node}{chr(39)}' if node else ''}>"
                                          f"{inner}</query>")
        return [(one.get("jid"), one.get("node"), one.get("name")) for one in found.iter(f"{{{ITEMS}}}item")]

    async def likes(self, author, node, item):
        """How many people like an item, as the sum beside it says (XEP-0470)."""
        try:
            found = await self.item(author, f"{SUMMARY}/{node}", item)
        except Refused:
            return 0
        noticed = None if found is None else found.find(f".//{{{SUMMARY}}}noticed")
        return 0 if noticed is None else int(noticed.get("count"))


async def appear(house, name, features=(), direct=False):
    """Somebody new, with an account, who is in."""
    registrar = Someone(house, name, register=True, direct=direct)
    registrar.connect(house.host, house.tls_port if direct else house.port)
    await asyncio.wait_for(registrar.registered.wait(), PATIENCE)
    await asyncio.wait_for(registrar.started.wait(), PATIENCE)
    await registrar.leave()
    return await Someone(house, name, features, direct=direct).enter()


async def become_contacts(one, other):
    """Each sees the other's presence, whatever houses they are in."""
    one.send_presence_subscription(pto=other.jid)
    for _ in range(PATIENCE * 20):
        await asyncio.sleep(0.05)
        if one.client_roster[other.jid]["subscription"] == "both" \
                and other.client_roster[one.jid]["subscription"] == "both":
            return
    raise AssertionError(f"{one.jid} and {other.jid} did not become contacts")


async def until(what, check):
    """Waits for something to come true that nobody tells of."""
    for _ in range(PATIENCE * 5):
        if await check():
            return
        await asyncio.sleep(0.2)
    raise AssertionError(f"never came true: {what}")
