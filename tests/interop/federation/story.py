"""What two sites ask of each other, with slixmpp on both sides.

`pair` makes people on two sites and lets them talk, meet, watch and follow each other, in both directions; it returns
what came out, check by check. A check that fails doesn't end the others.
"""
import asyncio
import ssl
import time
import traceback
import xml.etree.ElementTree as ET

import slixmpp
from slixmpp.exceptions import IqError
from slixmpp.plugins.xep_0059.stanza import Set
from slixmpp.plugins.xep_0060.stanza import Pubsub
from slixmpp.xmlstream import register_stanza_plugin

MICROBLOG = "urn:xmpp:microblog:0"
ATOM = "http://www.w3.org/2005/Atom"
PUBSUB = "{http://jabber.org/protocol/pubsub}"
EVENT = "{http://jabber.org/protocol/pubsub#event}"
RSM = "{http://jabber.org/protocol/rsm}"
PATIENCE = 15
PASSWORD = "pässword 1"
POSTS = 100
PAGE = 20
LINES = 200

register_stanza_plugin(Pubsub, Set)


class Person(slixmpp.ClientXMPP):
    """A client that remembers all it hears."""

    def __init__(self, site, name, authorities, *, watches=False, register=False):
        super().__init__(f"{name}@{site.domain}/{name}", PASSWORD)
        self.site, self.authorities, self.watches = site, authorities, watches
        self.enable_direct_tls, self.enable_plaintext = False, False
        if authorities:
            self.ca_certs = str(authorities)
        else:
            # For domains whose certificate is bad on purpose.
            self.ssl_context.check_hostname, self.ssl_context.verify_mode = False, ssl.CERT_NONE
        self.auto_authorize, self.auto_subscribe = None, False
        for plugin in ("xep_0030", "xep_0059", "xep_0060", "xep_0077", "xep_0115", "xep_0163", "xep_0199"):
            self.register_plugin(plugin)
        self.plugin["xep_0077"].create_account = register
        if watches:
            self.plugin["xep_0163"].add_interest(MICROBLOG)
        self.heard, self.news = [], asyncio.Event()
        self.started, self.refused = asyncio.Event(), []
        self.add_event_handler("session_start", lambda _: self.started.set())
        self.add_event_handler("failed_all_auth", lambda _: self.refused.append("password"))
        if register:
            self.add_event_handler("register", self.create_account)
        self.add_filter("in", self.listen)

    def listen(self, stanza):
        if isinstance(stanza, (slixmpp.Message, slixmpp.Presence)):
            self.heard.append(stanza)
            self.news.set()
        return stanza

    async def create_account(self, _):
        iq = self.Iq(stype="set", sto=self.boundjid.domain)
        iq["register"]["username"] = self.boundjid.user
        iq["register"]["password"] = self.password
        await iq.send(timeout=PATIENCE)

    async def enter(self):
        self.connect(self.site.address, 5222)
        try:
            await asyncio.wait_for(self.started.wait(), PATIENCE)
        except asyncio.TimeoutError:
            raise AssertionError(f"{self.boundjid} could not log in {self.refused}") from None
        await self.get_roster(timeout=PATIENCE)
        # What slixmpp has hashed until now lacks the features that came later; a server that checks would not believe it.
        await self.plugin["xep_0115"].update_caps(broadcast=False)
        self.send_presence()
        return self

    async def again(self):
        """Logs out and in anew; returns the new client."""
        await self.disconnect()
        return await Person(self.site, self.boundjid.user, self.authorities, watches=self.watches).enter()

    async def hear(self, what, matches, since=0, errors=False):
        """The first stanza from the `since`th that matches; an error only when `errors` are wanted."""
        end = time.monotonic() + PATIENCE
        while True:
            for stanza in self.heard[since:]:
                if (stanza["type"] == "error") == errors and matches(stanza):
                    return stanza
            self.news.clear()
            try:
                await asyncio.wait_for(self.news.wait(), end - time.monotonic())
            except asyncio.TimeoutError:
                heard = "".join(f"\n      {stanza}"[:1000] for stanza in self.heard[since:][-5:])
                raise AssertionError(f"{self.boundjid} never heard {what}; the last it heard:{heard}") from None

    def says(self, to, text):
        self.send_message(mto=to, mbody=text, mtype="chat")

    async def hears_saying(self, sender, text):
        return await self.hear(f"{text!r} from {sender}", lambda s: isinstance(s, slixmpp.Message) and s["body"] == text
                               and s["from"].bare == sender)

    async def hears_presence(self, sender, kind, since=0, show=None):
        def matches(stanza):
            return isinstance(stanza, slixmpp.Presence) and stanza["from"].bare == sender \
                and stanza.xml.get("type", "available") == kind \
                and (show is None or (stanza.xml.findtext("{jabber:client}show") or "") == show)
        return await self.hear(f"presence {kind}{f' ({show})' if show else ''} from {sender}", matches, since)

    async def hears_post(self, blog, name, since=0):
        """Hears of a post, and reads it: from the notification, or where that holds no payload (XEP-0472 recommends it
        so), from the blog."""
        heard = await self.hear(f"post {name} of {blog}", lambda stanza: is_post(stanza, blog, name), since)
        title, remark = heard.xml.findtext(f".//{{{ATOM}}}title"), "with payload"
        if title is None:
            item = await self.plugin["xep_0060"].get_item(blog, MICROBLOG, name, timeout=PATIENCE)
            title, remark = item.xml.findtext(f".//{{{ATOM}}}title"), "then fetched"
        assert title == f"Post {name}", title
        return remark

    async def roster_says(self, contact, subscription):
        for _ in range(PATIENCE * 20):
            if self.client_roster[contact]["subscription"] == subscription:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{self.boundjid.bare}'s roster says {self.client_roster[contact]['subscription']!r} for "
                             f"{contact}, not {subscription!r}")

    async def make_blog(self):
        """A microblog that everybody may read, with room for all posts."""
        form = self.plugin["xep_0004"].make_form(ftype="submit")
        form.add_field("FORM_TYPE", ftype="hidden", value="http://jabber.org/protocol/pubsub#node_config")
        form.add_field("pubsub#access_model", value="open")
        form.add_field("pubsub#max_items", value="1000")
        form.add_field("pubsub#persist_items", value="1")
        if self.site.kind == "ejabberd":
            # Else it tells remote subscribers nothing unless they are contacts whose presence it has seen.
            form.add_field("pubsub#presence_based_delivery", value="0")
        await self.plugin["xep_0060"].create_node(self.boundjid.bare, MICROBLOG, config=form, timeout=PATIENCE)

    async def post(self, name):
        entry = ET.Element(f"{{{ATOM}}}entry")
        for tag, value in (("title", f"Post {name}"), ("id", f"tag:rig,2026:{name}"), ("updated", "2026-01-01T00:00:00Z")):
            ET.SubElement(entry, f"{{{ATOM}}}{tag}").text = value
        await self.plugin["xep_0060"].publish(self.boundjid.bare, MICROBLOG, id=name, payload=entry, timeout=PATIENCE)


def is_post(stanza, blog, name):
    if not isinstance(stanza, slixmpp.Message) or stanza["from"].bare != blog:
        return False
    return stanza.xml.find(f"{EVENT}event/{EVENT}items[@node='{MICROBLOG}']/{EVENT}item[@id='{name}']") is not None


async def appear(site, name, authorities, watches=False):
    return await Person(site, name, authorities, watches=watches, register=True).enter()


async def archive(site, authorities):
    """A blog with a hundred posts on `site`."""
    writer = await appear(site, "writer", authorities)
    await writer.make_blog()
    for number in range(POSTS):
        await writer.post(f"post-{number:03}")
    return writer


async def by_pages(reader, blog):
    """Ids of all posts, read backwards page by page."""
    ids, before, pages = [], True, 0
    while len(ids) < POSTS or before:
        iq = reader.Iq(sto=blog, stype="get")
        iq["pubsub"]["items"]["node"] = MICROBLOG
        iq["pubsub"]["rsm"]["max"] = str(PAGE)
        iq["pubsub"]["rsm"]["before"] = before
        found = await iq.send(timeout=PATIENCE)
        page = [item.get("id") for item in found.xml.iter(f"{PUBSUB}item")]
        if not page:
            break
        assert len(page) <= PAGE, f"a page of {len(page)} items where {PAGE} were asked for"
        ids, pages = page + ids, pages + 1
        assert pages <= POSTS, "pages without end"
        before = found.xml.findtext(f".//{RSM}first")
        assert before, "a page without <first/>"
    return ids, f"{pages} pages"


async def by_ids(reader, blog):
    """Ids of all posts where there are no pages: the last ones by max_items, each of the others by its id."""
    plugin = reader.plugin["xep_0060"]
    found = await plugin.get_items(blog, MICROBLOG, max_items=PAGE, timeout=PATIENCE)
    last = [item.get("id") for item in found.xml.iter(f"{PUBSUB}item")]
    assert len(last) <= PAGE, f"{len(last)} items where the last {PAGE} were asked for"
    found = await plugin.get_items(blog, MICROBLOG, item_ids=[f"post-{number:03}" for number in range(POSTS - PAGE)],
                                   timeout=PATIENCE)
    return sorted([item.get("id") for item in found.xml.iter(f"{PUBSUB}item")]) + sorted(last), "by max_items and ids"


class Checks:
    """What came out, in order: (check, direction, outcome)."""

    def __init__(self):
        self.rows = []

    async def __call__(self, check, direction, what):
        try:
            remark = await what
            self.rows.append((check, direction, f"ok, {remark}" if isinstance(remark, str) else "ok"))
        except (AssertionError, IqError, asyncio.TimeoutError, slixmpp.exceptions.IqTimeout, KeyError) as error:
            if isinstance(error, IqError):
                error = f"{error.condition}: {error.text}"
            elif not isinstance(error, AssertionError):
                error = "".join(traceback.format_exception(error))
            self.rows.append((check, direction, f"FAILED: {error}"))
        print(f"  {check:14} {direction:34} {self.rows[-1][2]}", flush=True)


async def message(one, other):
    text = f"Hello from {one.boundjid.bare} ☺ <&>"
    one.says(other.boundjid.bare, text)
    await other.hears_saying(one.boundjid.bare, text)


async def long_message(one, other):
    """Longer than any buffer."""
    text = f"From {one.boundjid.bare}: " + "long ☺ & " * 12_000
    one.says(other.boundjid.bare, text)
    await other.hears_saying(one.boundjid.bare, text)


async def domains(people, others):
    """Everybody of two domains of one server writes to everybody of two domains of the other."""
    for one in people:
        for other in others:
            await message(one, other)
            await message(other, one)


async def idleness(one, other, seconds):
    """After silence links have been closed; they open again."""
    await asyncio.sleep(seconds)
    await lines(one, other)
    await lines(other, one)


async def lines(one, other):
    """Many messages, one after the other, arrive in order and once."""
    texts = [f"Line {number} of {one.boundjid.user} at {time.monotonic()}" for number in range(LINES)]
    for text in texts:
        one.says(other.boundjid.bare, text)
    await other.hears_saying(one.boundjid.bare, texts[-1])
    heard = [stanza["body"] for stanza in other.heard if isinstance(stanza, slixmpp.Message) and stanza["body"] in texts]
    assert heard == texts, f"heard {len(heard)} lines: {heard}"


async def unknown(one, other):
    """A message to nobody, and a request to a server: an error and an answer come back."""
    nobody = f"nobody@{other.boundjid.domain}"
    mark = len(one.heard)
    one.says(nobody, "Is anybody there?")
    error = await one.hear(f"an error from {nobody}", lambda s: s["from"].bare == nobody, mark, errors=True)
    assert error["error"]["condition"] in ("service-unavailable", "item-not-found"), str(error)
    await one.plugin["xep_0199"].ping(other.boundjid.domain, timeout=PATIENCE)


async def subscription(one, other, then):
    """One asks to see the other's presence."""
    mark = len(one.heard)
    one.send_presence(pto=other.boundjid.bare, ptype="subscribe")
    await other.hears_presence(one.boundjid.bare, "subscribe")
    other.send_presence(pto=one.boundjid.bare, ptype="subscribed")
    await one.hears_presence(other.boundjid.bare, "subscribed", mark)
    await one.roster_says(other.boundjid.bare, then)
    await one.hears_presence(other.boundjid.bare, "available", mark)


async def presence(one, other):
    """One changes its show, goes, and comes back."""
    mark = len(other.heard)
    one.send_presence(pshow="away", pstatus="tea")
    assert (await other.hears_presence(one.boundjid.bare, "available", mark, "away"))["status"] == "tea"
    mark = len(other.heard)
    one.send_presence(ptype="unavailable")
    await other.hears_presence(one.boundjid.bare, "unavailable", mark)
    mark = len(other.heard)
    one.send_presence()
    await other.hears_presence(one.boundjid.bare, "available", mark, "")


async def follow(reader, blogger):
    """Somebody who is no contact subscribes to the node, hears, unsubscribes, and hears no more."""
    blog, tag = blogger.boundjid.bare, reader.boundjid.user
    plugin = reader.plugin["xep_0060"]
    answer = await plugin.subscribe(blog, MICROBLOG, timeout=PATIENCE)
    assert answer["pubsub"]["subscription"]["subscription"] == "subscribed", str(answer)
    await blogger.post(f"live-{tag}")
    remark = await reader.hears_post(blog, f"live-{tag}")
    await plugin.unsubscribe(blog, MICROBLOG, timeout=PATIENCE)
    await blogger.post(f"unheard-{tag}")
    text = f"Did you see? {tag}"
    blogger.says(reader.boundjid.bare, text)
    await reader.hears_saying(blog, text)
    assert not any(is_post(stanza, blog, f"unheard-{tag}") for stanza in reader.heard), "heard after unsubscribing"
    return remark


async def fans(blogger, site, authorities):
    """Several followers on one server: each hears of a post once."""
    blog, name, people = blogger.boundjid.bare, f"popular-{site.kind}", []
    for number in range(3):
        people.append(await appear(site, f"fan{number}-{blogger.site.kind}", authorities))
        await people[-1].plugin["xep_0060"].subscribe(blog, MICROBLOG, timeout=PATIENCE)
    await blogger.post(name)
    for fan in people:
        await fan.hears_post(blog, name)
        blogger.says(fan.boundjid.bare, f"You heard, {fan.boundjid.user}?")
        await fan.hears_saying(blog, f"You heard, {fan.boundjid.user}?")
        count = sum(is_post(stanza, blog, name) for stanza in fan.heard)
        assert count == 1, f"{fan.boundjid.bare} heard {count} times"
        await fan.disconnect()


async def notification(one, other):
    """One posts; the other, a contact who never subscribed, watches by +notify."""
    name = f"noticed-{one.boundjid.user}"
    await one.post(name)
    return await other.hears_post(one.boundjid.bare, name)


async def reading(reader, blog, is_paged):
    ids, remark = await (by_pages if is_paged else by_ids)(reader, blog)
    assert ids == [f"post-{number:03}" for number in range(POSTS)], f"{len(ids)} posts: {ids}"
    return remark


async def pair(left, right, authorities, idle=None):
    """All checks between two sites, both ways; `idle` is after how many seconds of silence links are closed."""
    checks = Checks()
    there, back = f"{left.domain} → {right.domain}", f"{right.domain} → {left.domain}"
    ann = await appear(left, f"ann-{right.kind}", authorities, watches=True)
    bob = await appear(right, f"bob-{left.kind}", authorities, watches=True)
    await ann.make_blog()
    await bob.make_blog()
    await checks("message", there, message(ann, bob))
    await checks("message", back, message(bob, ann))
    if all(outcome.startswith("FAILED") for _, _, outcome in checks.rows):
        checks.rows.append(("all the rest", f"{there}, {back}", "FAILED: not tried, as no message gets through"))
        return checks.rows
    for name, one, other in ((there, ann, bob), (back, bob, ann)):
        await checks("200 messages", name, lines(one, other))
        await checks("error and iq", name, unknown(one, other))
        await checks("108 kB message", name, long_message(one, other))
    await checks("subscription", there, subscription(ann, bob, "to"))
    await checks("subscription", back, subscription(bob, ann, "both"))
    await checks("presence", there, presence(ann, bob))
    await checks("presence", back, presence(bob, ann))
    # Each anew: the probe finds who is there, and the other hears who came. ejabberd heeds +notify only from here on.
    for name in (there, back):
        one, other = (ann, bob) if name is there else (bob, ann)
        mark, one = len(other.heard), await one.again()
        ann, bob = (one, other) if name is there else (other, one)
        await checks("probe", name, one.hears_presence(other.boundjid.bare, "available"))
        await checks("arrival", name, other.hears_presence(one.boundjid.bare, "available", mark))
    await checks("notify", there, notification(ann, bob))
    await checks("notify", back, notification(bob, ann))
    rita = await appear(left, f"rita-{right.kind}", authorities)
    theo = await appear(right, f"theo-{left.kind}", authorities)
    await checks("follow", there, follow(rita, bob))
    await checks("follow", back, follow(theo, ann))
    await checks("three fans", there, fans(bob, left, authorities))
    await checks("three fans", back, fans(ann, right, authorities))
    for name, reader, blog in ((there, rita, right), (back, theo, left)):
        await checks("100 posts", name, reading(reader, f"writer@{blog.domain}", "pages" not in blog.cannot))
    zoe = await appear(left.at_second(), f"zoe-{right.kind}", authorities)
    yan = await appear(right.at_second(), f"yan-{left.kind}", authorities)
    await checks("two domains", f"{left.domain} ↔ {right.domain}", domains([ann, zoe], [bob, yan]))
    if idle:
        await checks("after silence", f"{left.domain} ↔ {right.domain}", idleness(ann, bob, idle + 3))
    for person in (ann, bob, rita, theo, zoe, yan):
        await person.disconnect()
    return checks.rows
