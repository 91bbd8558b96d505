"""What Converse asks of a server, in the order in which it does: after logging in, for posts with their comments beside
them, likes, following, browsing, bookmarks and devices; as its sources were in July 2026.

alice and bob both use Converse, in one house or in two. carol, who is no contact, uses it too, and dora has Movim.
"""
import hashlib

import movim
from movim import BOOKMARKS, BUNDLES, DEVICES, may_be_missing, title_of
from people import (ATOM, COMMENTS, FOLLOWING, MICROBLOG, OWNER, PUBSUB, RSM, Refused, appear, become_contacts,
                    fields_of, form, items_of, said, until)

SOCIAL = "urn:xmpp:pubsub-social-feed:1"
FEATURES = [SOCIAL, f"{FOLLOWING}+notify", f"{BOOKMARKS}+notify", f"{DEVICES}+notify", "urn:xmpp:avatar:metadata+notify"]
PAGE, NO_PAGES = 20, 200

BLOG = {"pubsub#access_model": "open", "pubsub#persist_items": "true", "pubsub#max_items": "max",
        "pubsub#send_last_published_item": "never", "pubsub#notify_retract": "true", "pubsub#deliver_payloads": "true",
        "pubsub#itemreply": "publisher"}
COMMENTED = {"pubsub#access_model": "open", "pubsub#publish_model": "open", "pubsub#persist_items": "true",
             "pubsub#max_items": "max", "pubsub#send_last_published_item": "never", "pubsub#notify_retract": "true",
             "pubsub#deliver_payloads": "true", "pubsub#itemreply": "publisher"}
LIST = {"pubsub#persist_items": "true", "pubsub#access_model": "presence", "pubsub#send_last_published_item": "never",
        "pubsub#max_items": "max", "pubsub#notify_retract": "true"}
KEPT = {"pubsub#persist_items": "true", "pubsub#max_items": "max", "pubsub#send_last_published_item": "never",
        "pubsub#access_model": "whitelist"}
STAMP = "2026-11-23T12:00:00.000Z"


def post(author, name, text, links=""):
    """An entry: the text is its title."""
    replies = f"xmpp:{author.jid}?;node={COMMENTS.replace(':', '%3A')}%2F{name}"
    return (f"<entry xmlns='{ATOM}'><title type='text'>{text}</title><category term='birds'/><link rel='replies' "
            f"title='comments' href='{replies}'/>{links}<id>tag:{author.house.domain},2026-11-23:posts-{name}</id>"
            f"<published>{STAMP}</published><updated>{STAMP}</updated></entry>")


def comment(author, name, text):
    return (f"<entry xmlns='{ATOM}'><author><name>{author.boundjid.user}</name><uri>xmpp:{author.jid}</uri></author><title "
            f"type='text'>{text}</title><id>tag:{author.house.domain},2026-11-23:posts-{name}</id><published>{STAMP}"
            f"</published><updated>{STAMP}</updated></entry>")


async def publishes(who, to, node, name, payload, options):
    """With options; when the node is not so, after configuring it, and where that is not allowed, without options."""
    try:
        return await who.publish(to, node, name, payload, options)
    except Refused as refusal:
        assert str(refusal) == "conflict/precondition-not-met", refusal
    try:
        config = fields_of(await who.of_owner("get", to, f"<configure node='{node}'/>"))
        config = {name: value for name, value in config.items() if name != "FORM_TYPE" and value is not None}
        await who.of_owner("set", to, f"<configure node='{node}'>{form(f'{PUBSUB}#node_config', config | options)}"
                                      "</configure>")
        return await who.publish(to, node, name, payload, options)
    except Refused as refusal:
        assert str(refusal) == "forbidden", refusal
        return await who.publish(to, node, name, payload)


async def logs_in(who):
    await who.ask("set", None, "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>")
    await who.ask("set", None, "<enable xmlns='urn:xmpp:carbons:2'/>")
    for address, _, _ in await who.listed(who.house.domain):
        await who.info(address)
    identities, features, _ = await who.info(who.jid)
    assert ("pubsub", "pep") in identities
    assert {f"{PUBSUB}#publish-options", "urn:xmpp:bookmarks:1#compat", "urn:xmpp:mam:2"} <= features, features
    await may_be_missing(who.ask("get", who.jid, "<vCard xmlns='vcard-temp'/>"))
    await who.ask("get", None, "<prefs xmlns='urn:xmpp:mam:2'/>")
    await who.ask("get", None, "<blocklist xmlns='urn:xmpp:blocking'/>")
    await who.ask("get", None, "<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'/></query>")
    await movim.history(who, None)
    await may_be_missing(who.items(who.jid, BOOKMARKS))
    await may_be_missing(who.items(who.jid, DEVICES))
    for node, payload in ((DEVICES, "<list xmlns='eu.siacs.conversations.axolotl'><device id='7'/></list>"),
                          (f"{BUNDLES}7", "<bundle xmlns='eu.siacs.conversations.axolotl'/>")):
        await publishes(who, who.jid, node, "current", payload, {"pubsub#access_model": "open"})
    await publishes(who, who.jid, BOOKMARKS, f"hall@rooms.{who.house.domain}", f"<conference xmlns='{BOOKMARKS}' name='Hall' "
                    "autojoin='true'><nick>me</nick></conference>", KEPT)
    await may_be_missing(who.items(who.jid, FOLLOWING))
    said(f"{who.jid} is in, and has what Converse asks for")


async def writes(who, name, text):
    """The node of the comments, the post, and a subscription to its comments."""
    await who.create(who.jid, f"{COMMENTS}/{name}", COMMENTED)
    await publishes(who, who.jid, MICROBLOG, name, post(who, name, text), BLOG)
    await who.subscribe(who.jid, f"{COMMENTS}/{name}")


async def follow_id(who, server, node):
    return hashlib.sha1(f"{server}<{node}<{who.jid}".encode()).hexdigest()


async def follows(who, server, node=MICROBLOG):
    """The list first, then the subscription."""
    await publishes(who, who.jid, FOLLOWING, await follow_id(who, server, node), "<subscription "
                    f"xmlns='urn:xmpp:pubsub:subscription:0' server='{server}' node='{node}'/>", LIST)
    granted = await who.subscribe(server, node)
    assert granted.get("subscription") == "subscribed"


async def whole_feed(who, server, node=MICROBLOG):
    """Its newest posts, then older ones by pages as the first answer permits."""
    items, answer = await who.items(server, node, f"max_items='{PAGE}'")
    ids, pages, cursor = list(items), 1, answer.findtext(f".//{{{RSM}}}first")
    assert cursor, "no pages: nothing but the newest can be read"
    while len(items) == PAGE:
        items, answer = await who.items(server, node, after=f"<set xmlns='{RSM}'><max>{PAGE}</max><before>{cursor}</before>"
                                                            "</set>")
        ids, pages, cursor = list(items) + ids, pages + 1, answer.findtext(f".//{{{RSM}}}first")
    return ids, pages


async def posts(alice, bob, carol):
    await writes(alice, "p0", "The first of many")
    since, heard = len(bob.heard), len(alice.heard)
    # Before it offers to follow somebody it looks whether there is anything to read.
    assert list((await bob.items(alice.jid, MICROBLOG, "max_items='1'"))[0]) == ["p0"]
    await follows(bob, alice.jid)
    await bob.hears_event(bob.jid, FOLLOWING, f"item {await follow_id(bob, alice.jid, MICROBLOG)}", since)
    listed, _ = await alice.items(bob.jid, FOLLOWING)
    assert [(item[0].get("server"), item[0].get("node")) for item in listed.values()] == [(alice.jid, MICROBLOG)], listed
    await carol.is_refused("get", bob.jid, f"<pubsub xmlns='{PUBSUB}'><items node='{FOLLOWING}'/></pubsub>",
                           "not-authorized/presence-subscription-required")
    said("he follows, his other devices are told, contacts may see it and strangers not")

    for number in range(1, 45):
        await writes(alice, f"p{number}", f"Post {number}")
    told = await bob.hears_event(alice.jid, MICROBLOG, "item p44", since)
    assert title_of(told) == "Post 44" and told.get("publisher", "").startswith(alice.jid)
    for reader in (bob, carol):
        ids, pages = await whole_feed(reader, alice.jid)
        assert ids == [f"p{number}" for number in range(45)] and pages == 3, (pages, ids)
    said("45 posts are read in 3 pages, by a stranger too")

    edited = len(bob.heard)
    await publishes(alice, alice.jid, MICROBLOG, "p44", post(alice, "p44", "Post 44, mended"), BLOG)
    assert title_of(await bob.hears_event(alice.jid, MICROBLOG, "item p44", edited)) == "Post 44, mended"
    await bob.create(bob.jid, f"{COMMENTS}/again", COMMENTED)
    await publishes(bob, bob.jid, MICROBLOG, "again", post(
        bob, "again", "Post 44, mended", links=f"<link rel='via' href='xmpp:{alice.jid}?;node={MICROBLOG};item=p44'/>"), BLOG)
    await alice.retract(alice.jid, MICROBLOG, "p43")
    await bob.hears_event(alice.jid, MICROBLOG, "retract p43", edited)
    assert not any("never" in items_of(one.xml) for one in alice.heard[heard:])
    said("a post is edited, reposted, and taken back")


async def comments_and_likes(alice, bob, carol):
    """By people of both houses, on the author's account; each likes at most once, and takes it back."""
    node, since = f"{COMMENTS}/p0", len(alice.heard)
    for who, name in ((bob, "c1"), (carol, "c2")):
        await publishes(who, alice.jid, node, name, comment(who, name, "Well said"), COMMENTED)
        told = await alice.hears_event(alice.jid, node, f"item {name}", since)
        assert title_of(told) == "Well said" and told.get("publisher", "").startswith(who.jid), "a comment of nobody"
    for who, name in ((bob, "h1"), (bob, "h2"), (carol, "h3"), (alice, "h4")):
        await publishes(who, alice.jid, node, name, comment(who, name, "♥"), COMMENTED)
    items, _ = await carol.items(alice.jid, node, f"max_items='{NO_PAGES}'")
    assert [item.get("publisher", "").split("/")[0] for name, item in items.items() if name.startswith("c")] == [
        bob.jid, carol.jid]
    hearts = {item.get("publisher", "").split("/")[0] for name, item in items.items() if title_of(item) == "♥"}
    assert hearts == {alice.jid, bob.jid, carol.jid}, hearts

    async def counted(count):
        return await carol.likes(alice.jid, MICROBLOG, "p0") == count
    await until("three likes", lambda: counted(3))
    # Taking a like back takes back every heart of one's own that is known.
    for name in ("h1", "h2"):
        if name in items:
            await bob.retract(alice.jid, node, name)
    await until("two likes", lambda: counted(2))
    await carol.is_refused("set", alice.jid, f"<pubsub xmlns='{PUBSUB}'><retract node='{node}' notify='true'><item id='c1'/>"
                           "</retract></pubsub>", "forbidden")
    # The author may take away what is said below her post.
    gone = len(alice.heard)
    await alice.retract(alice.jid, node, "c2")
    await alice.hears_event(alice.jid, node, "retract c2", gone)
    said("comments and hearts of both houses, counted once each, taken back")


async def with_movim(alice, dora):
    """Somebody has Movim: each comments on the other's post where it says that its comments are."""
    service = dora.service("comments")
    name, _ = movim.names(dora)
    await dora.publish(dora.jid, MICROBLOG, name, movim.entry(dora, MICROBLOG, name, "By Movim", comments=service), movim.BLOG)
    await dora.create(service, f"{COMMENTS}/{name}", movim.COMMENT_NODE)
    await dora.subscribe(service, f"{COMMENTS}/{name}")
    since = len(dora.heard)
    # What Movim configured is not what Converse wants: it may not change that, and comments nevertheless.
    await publishes(alice, service, f"{COMMENTS}/{name}", "from-converse", comment(alice, "from-converse", "♥"), COMMENTED)
    await dora.hears_event(service, f"{COMMENTS}/{name}", "item from-converse", since)
    await until("a like", lambda: liked(alice, dora.jid, name))
    since = len(alice.heard)
    await dora.publish(alice.jid, f"{COMMENTS}/p1", "from-movim", movim.entry(dora, f"{COMMENTS}/p1", "from-movim", "♥",
                                                                             to=alice.jid))
    await alice.hears_event(alice.jid, f"{COMMENTS}/p1", "item from-movim", since)
    await until("a like", lambda: liked(dora, alice.jid, "p1"))
    await follows(alice, dora.jid)
    await dora.subscribe(alice.jid, MICROBLOG)
    await movim.adds(dora, alice.jid, MICROBLOG, [movim.PRIVATE, FOLLOWING])
    said("Movim and Converse comment on, like and follow each other")


async def liked(who, author, item):
    return await who.likes(author, MICROBLOG, item) == 1


async def browses(alice, bob):
    """The nodes of a service by pages, each with what it is."""
    service = alice.service("pubsub")
    nodes = [f"feed-{number}-of-{alice.boundjid.user}" for number in range(5)]
    for node in nodes:
        await alice.create(service, node, {"pubsub#title": f"About {node}", "pubsub#type": SOCIAL,
                                           "pubsub#access_model": "open", "pubsub#max_items": "max"})
    found, after = [], ""
    while True:
        answer = await bob.ask("get", service, f"<query xmlns='http://jabber.org/protocol/disco#items'><set xmlns='{RSM}'>"
                                               f"<max>3</max>{after}</set></query>")
        page = [one.get("node") for one in answer.iter("{http://jabber.org/protocol/disco#items}item")]
        found += page
        last = answer.findtext(f".//{{{RSM}}}last")
        if len(page) < 3 or not last:
            break
        after = f"<after>{last}</after>"
    assert set(nodes) <= set(found) and len(found) == len(set(found)), found
    for node in nodes:
        identities, _, about = await bob.info(service, node)
        assert ("pubsub", "leaf") in identities and about["pubsub#type"] == SOCIAL, about
        assert about["pubsub#title"] == f"About {node}" and about["pubsub#num_subscribers"] == "0", about
    await follows(bob, service, nodes[0])
    since = len(bob.heard)
    await alice.publish(service, nodes[0], "news", post(alice, "news", "News"))
    await bob.hears_event(service, nodes[0], "item news", since)
    for node in nodes:
        await alice.of_owner("set", service, f"<delete node='{node}'/>")
    said("the feeds of a service are listed by pages, and one is followed")


async def unfollows(alice, bob):
    """From the list first; when the server was quicker, there is nothing more to take out."""
    name = await follow_id(bob, alice.jid, MICROBLOG)
    await bob.retract(bob.jid, FOLLOWING, name)
    await bob.unsubscribe(alice.jid, MICROBLOG)
    listed, _ = await bob.items(bob.jid, FOLLOWING)
    assert alice.jid not in [item[0].get("server") for item in listed.values()], listed
    followers = await alice.of_owner("get", alice.jid, f"<subscriptions node='{MICROBLOG}'/>")
    assert bob.jid not in [one.get("jid") for one in followers.iter(f"{{{OWNER}}}subscription")]
    said("he follows no more")


async def story(home, abroad, tag):
    """Everything; bob and carol live `abroad`, which may be `home`."""
    alice = await appear(home, f"alice-{tag}", FEATURES)
    bob = await appear(abroad, f"bob-{tag}", FEATURES, direct=True)
    carol = await appear(abroad, f"carol-{tag}", [SOCIAL])
    dora = await appear(abroad, f"dora-{tag}", movim.FEATURES)
    for who in (alice, bob):
        await logs_in(who)
    await become_contacts(alice, bob)
    await posts(alice, bob, carol)
    await comments_and_likes(alice, bob, carol)
    await with_movim(alice, dora)
    await browses(alice, bob)
    await unfollows(alice, bob)
    for who in (alice, bob, carol, dora):
        await who.leave()
