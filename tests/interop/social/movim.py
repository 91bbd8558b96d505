"""What Movim asks of a server, in the order in which it does: after logging in, for a profile, posts, comments, likes,
following, stories, communities, spaces, bookmarks, devices and history; as its sources were in August 2026.

alice and bob both use Movim, in one house or in two. carol is a stranger.
"""
import base64
import hashlib

from people import (ATOM, COMMENTS, FOLLOWING, FORM, MICROBLOG, OWNER, PUBSUB, EVENT, RSM, Refused, appear,
                    become_contacts, fields_of, form, items_of, said, until)

PRIVATE = "urn:xmpp:pubsub:movim-public-subscription"
SPACES = "{https://movim.eu}spaces_subscriptions_node"
STORIES = "urn:xmpp:pubsub-social-feed:stories:0"
BANNER, AVATAR = "urn:xmpp:movim-banner:0", "urn:xmpp:avatar"
DEVICES, BUNDLES = "eu.siacs.conversations.axolotl.devicelist", "eu.siacs.conversations.axolotl.bundles:"
DISPLAYED, BOOKMARKS = "urn:xmpp:mds:displayed:0", "urn:xmpp:bookmarks:1"
AUTHORIZATION = f"{PUBSUB}#subscribe_authorization"

# Those of its features that a server acts upon.
FEATURES = [MICROBLOG, f"{STORIES}+notify", "urn:xmpp:bookmarks:0+notify", f"{BOOKMARKS}+notify", f"{FOLLOWING}+notify",
            f"{DEVICES}+notify", "urn:xmpp:vcard4+notify", f"{AVATAR}:metadata+notify", f"{BANNER}+notify",
            f"{DISPLAYED}+notify", "http://jabber.org/protocol/nick+notify", "http://jabber.org/protocol/geoloc+notify"]

POST = {"pubsub#persist_items": "true", "pubsub#max_items": "max", "pubsub#itemreply": "publisher",
        "pubsub#notify_sub": "true"}
BLOG = {**POST, "pubsub#notify_retract": "true"}
STORY = {**BLOG, "pubsub#access_model": "presence", "pubsub#item_expire": "86400"}
COMMENT_NODE = {"pubsub#persist_items": "true", "pubsub#max_items": "max", "pubsub#send_last_published_item": "on_sub",
                "pubsub#deliver_payloads": "false", "pubsub#access_model": "open", "pubsub#publish_model": "open",
                "pubsub#itemreply": "publisher", "pubsub#notify_retract": "true"}
COMMUNITY = {"pubsub#persist_items": "true", "pubsub#deliver_payloads": "false",
             "pubsub#send_last_published_item": "on_sub", "pubsub#access_model": "open", "pubsub#max_items": "max"}
PROFILE = {"pubsub#persist_items": "true", "pubsub#access_model": "presence",
           "pubsub#send_last_published_item": "on_sub_and_presence", "pubsub#deliver_payloads": "true",
           "pubsub#max_items": "1"}
KEPT = {"pubsub#persist_items": "true", "pubsub#access_model": "whitelist", "pubsub#send_last_published_item": "never",
        "pubsub#max_items": "max", "pubsub#notify_retract": "true"}
SPACE = {"pubsub#type": "urn:xmpp:spaces:0", "pubsub#notify_retract": "true", "pubsub#persist_items": "true",
         "pubsub#purge_offline": "false", "pubsub#notify_sub": "true", "pubsub#notify_config": "true",
         "pubsub#notify_delete": "true", "pubsub#max_items": "max", "pubsub#publish_model": "publishers",
         "pubsub#access_model": "authorize", "pubsub#deliver_payloads": "true"}


def entry(author, node, name, title, *, to=None, comments=None, content="", tags=(), via=None, reply=None):
    """An Atom entry as Movim writes one."""
    to = to or author.jid
    links = f"<link rel='alternate' href='xmpp:{to}?;node={node};item={name}'/>"
    if comments:
        links += f"<link rel='replies' title='comments' href='xmpp:{comments}?;node={COMMENTS}/{name}'/>"
    if via:
        links += f"<link rel='via' href='xmpp:{via}'/>"
    if reply:
        links += f"<thr:in-reply-to xmlns:thr='http://purl.org/syndication/thread/1.0' href='{reply}'/>"
    texts = f"<content type='xhtml'><div xmlns='http://www.w3.org/1999/xhtml'><p>{content}</p></div></content>" \
            f"<content type='text'>{content}</content>" if content else ""
    terms = "".join(f"<category term='{tag}'/>" for tag in tags)
    return (f"<entry xmlns='{ATOM}'><id>{name}</id><title>{title}</title><author><name>{author.boundjid.user}</name>"
            f"<uri>xmpp:{author.jid}</uri></author>{links}{texts}<published>2026-11-23T12:00:00+00:00</published>{terms}"
            "<updated>2026-11-23T12:00:00+00:00</updated></entry>")


def title_of(item):
    return None if item is None else item.findtext(f".//{{{ATOM}}}title")


def names(author):
    """Of two posts. The comments of a house share one service, so that they are of this author alone."""
    return f"first-{author.boundjid.user}", f"second-{author.boundjid.user}"


async def may_be_missing(request):
    """What a client asks for at every login, whether it is there or not."""
    try:
        return await request
    except Refused as refusal:
        assert str(refusal).split("/")[0] == "item-not-found", refusal
        return None


async def logs_in(who):
    """The requests behind the login; returns the addresses of the services of the house."""
    await who.ask("set", None, "<enable xmlns='urn:xmpp:carbons:2'/>")
    await who.ask("get", None, "<blocklist xmlns='urn:xmpp:blocking'/>")
    await history(who, None)
    _, features, _ = await who.info(who.house.domain)
    assert {"urn:xmpp:carbons:2", "urn:xmpp:blocking"} <= features, features
    identities, features, _ = await who.info(who.jid)
    assert ("pubsub", "pep") in identities, identities
    assert {f"{PUBSUB}#publish-options", "urn:xmpp:mam:2"} <= features, features
    for version in "10":
        await may_be_missing(who.items(who.jid, f"urn:xmpp:bookmarks:{version}"))
    for node in (SPACES, PRIVATE, FOLLOWING):
        await may_be_missing(who.items(who.jid, node, "max_items='1000'"))
    await may_be_missing(who.listed(who.jid, MICROBLOG))
    await may_be_missing(who.items(who.jid, f"{AVATAR}:data"))
    await may_be_missing(who.items(who.jid, "urn:xmpp:vcard4"))
    await may_be_missing(who.of_owner("get", who.jid, f"<subscriptions node='{MICROBLOG}'/>"))
    for address, _, _ in await who.listed(who.house.domain):
        identities, features, _ = await who.info(address)
        if address != who.house.domain and address.split(".")[0] in ("pubsub", "comments", "spaces"):
            # Movim finds its services by their identity and the first label of their address.
            assert ("pubsub", "service") in identities, (address, identities)
    said(f"{who.jid} is in, and has what Movim asks for")


async def history(who, contact):
    """The archive, as it is asked for at login (the newest) and for one contact."""
    filters = {"start": "2026-01-01T00:00:00Z"} | ({"with": contact} if contact else {})
    rows = "".join(f"<field var='{name}'><value>{value}</value></field>" for name, value in filters.items())
    return await who.ask("set", None, f"<query xmlns='urn:xmpp:mam:2' queryid='q1'><x xmlns='{FORM}' type='submit'>"
                                      f"<field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>{rows}</x>"
                                      f"<set xmlns='{RSM}'><max>50</max><before/></set></query>")


async def profile(alice, bob):
    """A name, a face, a banner, a card and private settings: contacts hear of them, and others may not read them."""
    face = base64.b64encode(b"a face").decode()
    name = hashlib.sha1(b"a face").hexdigest()
    since = len(bob.heard)
    await alice.publish(None, "http://jabber.org/protocol/nick", None,
                        "<nick xmlns='http://jabber.org/protocol/nick'>Alice</nick>")
    await alice.publish(None, f"{AVATAR}:data", name, f"<data xmlns='{AVATAR}:data'>{face}</data>", PROFILE)
    metadata = f"<metadata xmlns='{AVATAR}:metadata'><info width='512' height='512' type='image/jpeg' id='{name}' bytes='6'{{}}/>" \
               "</metadata>"
    await alice.publish(None, f"{AVATAR}:metadata", name, metadata.format(""), PROFILE)
    await alice.publish(None, BANNER, f"{AVATAR}:metadata", metadata.format(" url='https://north.example/banner.jpg'"),
                        PROFILE)
    await alice.publish(None, "urn:xmpp:vcard4", "current", "<vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'><fn><text>"
                        "Alice</text></fn><nickname><text>al</text></nickname></vcard>", PROFILE)
    settings = form("movim:configuration", {"nsfw": "true"})
    await alice.publish(None, "movim:configuration", "current", settings,
                        {"pubsub#persist_items": "true", "pubsub#access_model": "whitelist"})
    for node, item in ((f"{AVATAR}:metadata", name), (BANNER, f"{AVATAR}:metadata"), ("urn:xmpp:vcard4", "current")):
        told = await bob.hears_event(alice.jid, node, f"item {item}", since)
        assert len(told), f"no payload in {node}"
    items, _ = await bob.items(alice.jid, f"{AVATAR}:data")
    assert base64.b64decode(items[name][0].text) == b"a face"
    await bob.is_refused("get", alice.jid, f"<pubsub xmlns='{PUBSUB}'><items node='movim:configuration'/></pubsub>",
                         "not-allowed", "forbidden", "not-authorized", "item-not-found")
    items, _ = await alice.items(alice.jid, "movim:configuration")
    assert fields_of(items["current"])["nsfw"] == "true"
    said("a profile: contacts hear of a name, face, banner and card; settings stay private")


async def adds(who, server, node, lists):
    """The item in a list of what one follows, whose id is a hash over both and oneself."""
    name = hashlib.sha1(f"{server}<{node}<{who.jid}".encode()).hexdigest()
    for one in lists:
        await who.publish(None, one, name, f"<subscription xmlns='urn:xmpp:pubsub:subscription:0' server='{server}' "
                          f"node='{node}'/>", {**KEPT, "pubsub#access_model": "presence" if one == FOLLOWING else "whitelist"})
    return name


async def posts(alice, bob, carol):
    """A post, its comments' node, somebody who reads and follows; a second post, which he hears of."""
    comments, (first, second) = alice.service("comments"), names(alice)
    text = entry(alice, MICROBLOG, first, "First post", comments=comments, content="Hello #world", tags=["world"])
    await alice.publish(alice.jid, MICROBLOG, first, text, BLOG)
    await alice.create(comments, f"{COMMENTS}/{first}", COMMENT_NODE)
    await alice.subscribe(comments, f"{COMMENTS}/{first}")
    await adds(alice, comments, f"{COMMENTS}/{first}", [PRIVATE])

    # Somebody who is no contact and follows nothing reads the blog.
    items, answer = await carol.items(alice.jid, MICROBLOG, "max_items='10'")
    assert list(items) == [first] and items[first].get("publisher", "").startswith(alice.jid)
    assert answer.findtext(f".//{{{RSM}}}count") == "1", "no count: the pages of a blog are not known"
    assert title_of(await carol.item(alice.jid, MICROBLOG, first)) == "First post"
    assert not (await carol.items(comments, f"{COMMENTS}/{first}", "max_items='500'"))[0]
    listed = [name for _, _, name in await carol.listed(alice.jid, MICROBLOG)]
    assert listed == [first], listed
    said("a stranger reads the blog and its comments")

    since = len(alice.heard)
    granted = await bob.subscribe(alice.jid, MICROBLOG)
    assert granted.get("subscription") == "subscribed"
    await adds(bob, alice.jid, MICROBLOG, [PRIVATE, FOLLOWING])
    await alice.hears("who follows", lambda one: any(
        found.get("jid") == bob.jid and found.get("subscription") == "subscribed"
        for found in one.xml.iter(f"{{{EVENT}}}subscription")), since)
    followers = await alice.of_owner("get", alice.jid, f"<subscriptions node='{MICROBLOG}'/>")
    assert [one.get("jid") for one in followers.iter(f"{{{OWNER}}}subscription")] == [bob.jid]
    _, _, about = await carol.info(alice.jid, MICROBLOG)
    assert about["pubsub#num_subscribers"] == "1" and about["pubsub#access_model"] == "open", about
    lists, _ = await alice.items(bob.jid, FOLLOWING, "max_items='1000'")
    assert [item[0].get("server") for item in lists.values()] == [alice.jid]
    said("he follows: she is told, counts him, and sees him follow")

    since = len(bob.heard)
    await alice.publish(alice.jid, MICROBLOG, second, entry(alice, MICROBLOG, second, "Second post",
                                                                   comments=comments), BLOG)
    await alice.create(comments, f"{COMMENTS}/{second}", COMMENT_NODE)
    await alice.subscribe(comments, f"{COMMENTS}/{second}")
    # Of an account (in contrast to a service) it takes what a notification holds, and asks for nothing.
    told = await bob.hears_event(alice.jid, MICROBLOG, f"item {second}", since)
    assert title_of(told) == "Second post", "a notification without its payload"
    said("he hears of the next post, and what it says")

    since = len(bob.heard)
    await alice.publish(alice.jid, MICROBLOG, second, entry(alice, MICROBLOG, second, "Second, mended",
                                                                   comments=comments), BLOG)
    assert title_of(await bob.hears_event(alice.jid, MICROBLOG, f"item {second}", since)) == "Second, mended"
    await bob.publish(bob.jid, MICROBLOG, "repost", entry(
        bob, MICROBLOG, "repost", "Second post", via=f"{alice.jid}?;node={MICROBLOG};item={second}",
        reply=f"xmpp:{alice.jid}?;node={MICROBLOG};item={second}"), BLOG)
    for number in range(25):
        await alice.publish(alice.jid, MICROBLOG, f"more-{number:02}", entry(alice, MICROBLOG, f"more-{number:02}",
                                                                             f"More {number}"), BLOG)
    everything, pages, before = [], 0, None
    while True:
        page = f"<set xmlns='{RSM}'><before>{before}</before><max>10</max></set>" if before else ""
        items, answer = await bob.items(alice.jid, MICROBLOG, "" if before else "max_items='10'", after=page)
        everything, pages, before = list(items) + everything, pages + 1, answer.findtext(f".//{{{RSM}}}first")
        if len(items) < 10:
            break
    assert everything == [first, second] + [f"more-{number:02}" for number in range(25)] \
        or everything == [first] + [f"more-{number:02}" for number in range(25)] + [second], everything
    said(f"edited, reposted, and read back in {pages} pages")


async def comments_and_likes(alice, bob):
    """bob comments, likes with a heart, and takes both back; the sum of likes goes with him."""
    service, (first, _) = alice.service("comments"), names(alice)
    node = f"{COMMENTS}/{first}"
    since = len(alice.heard)
    await bob.publish(service, node, "comment-1", entry(bob, node, "comment-1", "Well said", to=service))
    item = await bob.item(service, node, "comment-1")
    assert title_of(item) == "Well said" and item.get("publisher", "").startswith(bob.jid), "a comment of nobody"
    # Of a service it asks for what it hears.
    await alice.hears_event(service, node, "item comment-1", since)
    assert title_of(await alice.item(service, node, "comment-1")) == "Well said"
    await bob.publish(service, node, "heart-1", entry(bob, node, "heart-1", "♥", to=service))
    await alice.hears_event(service, node, "item heart-1", since)
    await alice.publish(service, node, "heart-2", entry(alice, node, "heart-2", "♥", to=service))
    items, _ = await bob.items(service, node, "max_items='500'")
    assert sorted(items) == ["comment-1", "heart-1", "heart-2"], items

    async def counted(count):
        return await bob.likes(alice.jid, MICROBLOG, first) == count
    await until("two likes", lambda: counted(2))
    # Her comment is not his to overwrite or take away.
    await bob.is_refused("set", service, f"<pubsub xmlns='{PUBSUB}'><retract node='{node}' notify='true'><item "
                         "id='heart-2'/></retract></pubsub>", "forbidden")
    since = len(alice.heard)
    await bob.retract(service, node, "heart-1")
    await alice.hears_event(service, node, "retract heart-1", since)
    await until("one like", lambda: counted(1))
    await bob.retract(service, node, "comment-1")
    said("comments and hearts come, are counted, and are taken back")


async def deletes(alice, bob):
    """A post is taken back, and with it the node of its comments."""
    _, second = names(alice)
    since = len(bob.heard)
    await alice.retract(alice.jid, MICROBLOG, second)
    await alice.of_owner("set", alice.service("comments"), f"<delete node='{COMMENTS}/{second}'/>")
    await bob.hears_event(alice.jid, MICROBLOG, f"retract {second}", since)
    assert await bob.item(alice.jid, MICROBLOG, second) is None
    await bob.is_refused("get", alice.service("comments"), f"<pubsub xmlns='{PUBSUB}'><items node='{COMMENTS}/{second}'/>"
                         "</pubsub>", "item-not-found")
    said("a post goes, and its comments with it")


async def stories(alice, bob, carol):
    """Contacts are told by their `+notify`; strangers see nothing."""
    since = len(bob.heard)
    await alice.publish(alice.jid, STORIES, "story", entry(alice, STORIES, "story", "For a day"), STORY)
    assert title_of(await bob.hears_event(alice.jid, STORIES, "item story", since)) == "For a day"
    await carol.is_refused("get", alice.jid, f"<pubsub xmlns='{PUBSUB}'><items node='{STORIES}'/></pubsub>",
                           "not-authorized/presence-subscription-required")
    await alice.retract(alice.jid, STORIES, "story")
    await bob.hears_event(alice.jid, STORIES, "retract story", since)
    said("a story for contacts")


async def publish_or_without(who, to, node, name, payload, options):
    """With options, and without when the node is not so: the owner's configuration goes before."""
    try:
        return await who.publish(to, node, name, payload, options)
    except Refused as refusal:
        assert str(refusal) == "conflict/precondition-not-met", refusal
        return await who.publish(to, node, name, payload)


async def communities(alice, bob, carol):
    """A node of the house's service: tried, made, configured, shared, followed, read and deleted."""
    service, node = alice.service("pubsub"), "birds"
    await alice.create(service, "test_node", {**COMMUNITY, "pubsub#title": "Test"})
    await alice.of_owner("set", service, "<delete node='test_node'/>")
    await alice.create(service, node, {**COMMUNITY, "pubsub#title": "Birds"})
    config = fields_of(await alice.of_owner("get", service, f"<configure node='{node}'/>"))
    assert config["pubsub#title"] == "Birds" and config["pubsub#max_items"] == "max", config
    await alice.of_owner("set", service, f"<configure node='{node}'>" + form(f"{PUBSUB}#node_config", {
        "pubsub#title": "Birds", "pubsub#description": "All of them", "pubsub#type": "urn:xmpp:pubsub-social-feed:1",
        "pubsub#access_model": "open", "pubsub#publish_model": "publishers", "pubsub#notify_retract": "true",
        "pubsub#itemreply": "publisher"}) + "</configure>")
    await may_be_missing(carol.item(service, node, f"{AVATAR}:metadata"))
    assert (service, node, "Birds") in await carol.listed(service), "not listed"
    _, _, about = await carol.info(service, node)
    assert about["pubsub#type"] == "urn:xmpp:pubsub-social-feed:1" and about["pubsub#description"] == "All of them", about

    granted = await bob.subscribe(service, node)
    assert granted.get("subscription") == "subscribed"
    await adds(bob, service, node, [PRIVATE])
    await bob.is_refused("set", service, f"<pubsub xmlns='{PUBSUB}'><publish node='{node}'><item id='test_post'><entry "
                         f"xmlns='{ATOM}'/></item></publish><publish-options>" + form(
                             f"{PUBSUB}#publish-options", {"pubsub#persist_items": "true"}) + "</publish-options></pubsub>",
                         "forbidden")
    since = len(bob.heard)
    await publish_or_without(alice, service, node, "gull", entry(alice, node, "gull", "Gulls", to=service,
                                                                 comments=alice.service("comments")), POST)
    await bob.hears_event(service, node, "item gull", since)
    assert title_of(await bob.item(service, node, "gull")) == "Gulls"

    await alice.of_owner("set", service, f"<affiliations node='{node}'><affiliation jid='{bob.jid}' "
                         "affiliation='publisher'/></affiliations>")
    found = await alice.of_owner("get", service, f"<affiliations node='{node}'/>")
    assert {(one.get("jid"), one.get("affiliation")) for one in found.iter(f"{{{OWNER}}}affiliation")} == {
        (alice.jid, "owner"), (bob.jid, "publisher")}
    await publish_or_without(bob, service, node, "test_post", f"<entry xmlns='{ATOM}'/>", {"pubsub#persist_items": "true"})
    await bob.retract(service, node, "test_post")
    await publish_or_without(bob, service, node, "tern", entry(bob, node, "tern", "Terns", to=service), POST)
    items, _ = await carol.items(service, node, "max_items='10'")
    assert [(name, title_of(item)) for name, item in items.items()] == [("gull", "Gulls"), ("tern", "Terns")], items
    subscribers = await alice.of_owner("get", service, f"<subscriptions node='{node}'/>")
    assert bob.jid in [one.get("jid") for one in subscribers.iter(f"{{{OWNER}}}subscription")]
    since = len(bob.heard)
    await alice.of_owner("set", service, f"<delete node='{node}'/>")
    await bob.hears("the end of the community", lambda one: any(
        found.get("node") == node for found in one.xml.iter(f"{{{EVENT}}}delete")), since)
    said("a community: made, shared, followed, read by strangers, deleted")


async def spaces(alice, bob):
    """A space that one asks to be let into: the owner is asked, says yes, and its rooms are there."""
    service, node = alice.service("spaces"), f"guild-of-{alice.boundjid.user}"
    await alice.create(service, node, {"pubsub#title": "Guild", **SPACE})
    since, told = len(alice.heard), len(bob.heard)
    asked = await bob.subscribe(service, node)
    assert asked.get("subscription") == "pending", asked.get("subscription")
    await bob.is_refused("get", service, f"<pubsub xmlns='{PUBSUB}'><items node='{node}' max_items='100'/></pubsub>",
                         "not-authorized/not-subscribed", "not-authorized/pending-subscription", "not-authorized")
    await alice.hears("who asks to be let in", lambda one: fields_of(one.xml).get("FORM_TYPE") == AUTHORIZATION, since)
    # It names a session of its own, and gives the node with the first request.
    again = len(alice.heard)
    await alice.ask("set", service, f"<command xmlns='http://jabber.org/protocol/commands' node='{PUBSUB}#get-pending' "
                    "sessionid='c0ffee' action='execute'>" + f"<x xmlns='{FORM}' type='submit'><field var='pubsub#node'>"
                    f"<value>{node}</value></field></x></command>")
    await alice.hears("who waits", lambda one: fields_of(one.xml).get("FORM_TYPE") == AUTHORIZATION, again)
    await alice.of_owner("set", service, f"<subscriptions node='{node}'><subscription jid='{bob.jid}' "
                         "subscription='subscribed'/></subscriptions>")
    await bob.hears("that he is in", lambda one: any(
        found.get("subscription") == "subscribed" for found in one.xml.iter(f"{{{EVENT}}}subscription")), told)
    room = f"hall@rooms.{alice.house.domain}"
    await publish_or_without(alice, service, node, room, f"<conference xmlns='{BOOKMARKS}' name='Hall'/>", SPACE)
    await bob.hears_event(service, node, f"item {room}", told)
    items, _ = await bob.items(service, node, "max_items='100'")
    assert list(items) == [room]
    await adds(bob, service, node, [SPACES])
    await alice.retract(service, node, room)
    await bob.hears_event(service, node, f"retract {room}", told)
    await bob.unsubscribe(service, node)
    said("a space: he asks, she lets him in, he sees its rooms")


async def keeps(alice, bob):
    """Bookmarks, what was displayed, keys of devices, and what was said."""
    since = len(alice.heard)
    room = f"hall@rooms.{alice.house.domain}"
    await alice.publish(None, BOOKMARKS, room, f"<conference xmlns='{BOOKMARKS}' name='Hall' autojoin='true'>"
                        "<nick>al</nick></conference>", KEPT)
    await alice.hears_event(alice.jid, BOOKMARKS, f"item {room}", since)
    bob.send_message(mto=alice.jid, mbody="Have you seen it?", mtype="chat")
    heard = await alice.hears("bob", lambda one: one.xml.findtext("{jabber:client}body") == "Have you seen it?", since)
    stamp = heard.find("{urn:xmpp:sid:0}stanza-id").get("id")
    await alice.publish(None, DISPLAYED, bob.jid, f"<displayed xmlns='{DISPLAYED}'><stanza-id xmlns='urn:xmpp:sid:0' "
                        f"by='{alice.jid}' id='{stamp}'/></displayed>", {
                            "pubsub#persist_items": "true", "pubsub#access_model": "whitelist",
                            "pubsub#send_last_published_item": "never", "pubsub#deliver_payloads": "true",
                            "pubsub#max_items": "max"})
    since = len(bob.heard)
    await alice.publish(None, DEVICES, "current", "<list xmlns='eu.siacs.conversations.axolotl'><device id='7'/></list>",
                        {"pubsub#access_model": "open"})
    await alice.publish(None, f"{BUNDLES}7", "current", "<bundle xmlns='eu.siacs.conversations.axolotl'><identityKey>aGk="
                        "</identityKey></bundle>", {"pubsub#access_model": "open", "pubsub#max_items": "max"})
    await bob.hears_event(alice.jid, DEVICES, "item current", since)
    assert "current" in (await bob.items(alice.jid, f"{BUNDLES}7"))[0]
    since = len(alice.heard)
    await history(alice, bob.jid)
    result = await alice.hears("her archive", lambda one: one.xml.find("{urn:xmpp:mam:2}result") is not None, since)
    assert "Have you seen it?" in [body.text for body in result.iter("{jabber:client}body")]
    said("bookmarks, what was displayed, keys and history are kept")


async def unfollows(alice, bob):
    since = len(bob.heard)
    await bob.unsubscribe(alice.jid, MICROBLOG)
    name = hashlib.sha1(f"{alice.jid}<{MICROBLOG}<{bob.jid}".encode()).hexdigest()
    for one in (PRIVATE, FOLLOWING):
        try:
            await bob.retract(bob.jid, one, name)
        except Refused as refusal:
            # The server keeps the public list in step, and may have been first.
            assert str(refusal) == "item-not-found", refusal
    await alice.publish(alice.jid, MICROBLOG, "unheard", entry(alice, MICROBLOG, "unheard", "Unheard"), BLOG)
    await bob.ask("get", alice.jid, "<query xmlns='http://jabber.org/protocol/disco#info'/>")
    assert not any("unheard" in items_of(one.xml) for one in bob.heard[since:]), "he still hears of her posts"
    said("he follows no more, and hears no more")


async def story(home, abroad, tag):
    """Everything; bob lives `abroad`, which may be `home`."""
    alice = await appear(home, f"alice-{tag}", FEATURES)
    bob = await appear(abroad, f"bob-{tag}", FEATURES, direct=True)
    carol = await appear(abroad, f"carol-{tag}", ["urn:example:nothing"])
    for who in (alice, bob):
        await logs_in(who)
    await become_contacts(alice, bob)
    await profile(alice, bob)
    await posts(alice, bob, carol)
    await comments_and_likes(alice, bob)
    await deletes(alice, bob)
    await stories(alice, bob, carol)
    await communities(alice, bob, carol)
    await spaces(alice, bob)
    await keeps(alice, bob)
    await unfollows(alice, bob)
    for who in (alice, bob, carol):
        await who.leave()
