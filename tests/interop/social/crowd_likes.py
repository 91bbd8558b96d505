"""Many people like a post at once, and a third of them take it back: the sum is exact, and so is who is in it."""
import statistics

from thin import Spent, crowd, gather, quiet, table

PUBSUB, RSM = "http://jabber.org/protocol/pubsub", "http://jabber.org/protocol/rsm"
BLOG = "urn:xmpp:microblog:0"
ATTACHMENTS = "urn:xmpp:pubsub-attachments:1"
SUMMARY = "urn:xmpp:pubsub-attachments:summary:1"
OPEN = ("<publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>"
        f"<value>{PUBSUB}#publish-options</value></field>"
        "<field var='pubsub#access_model'><value>open</value></field></x></publish-options>")


def pubsub(inside):
    return f"<pubsub xmlns='{PUBSUB}'>{inside}</pubsub>"


def entry(title, comments=""):
    link = f"<link rel='replies' title='comments' href='{comments}'/>" if comments else ""
    return f"<entry xmlns='http://www.w3.org/2005/Atom'><title>{title}</title>{link}</entry>"


class Post:
    """A post of alice's, and the ways to like it."""

    def __init__(self, alice, name):
        self.author, self.name = alice.jid, name
        self.attached = f"{ATTACHMENTS}/xmpp:{alice.jid}?;node=urn%3Axmpp%3Amicroblog%3A0;item={name}"
        self.comments = f"{BLOG}:comments/{name}"

    async def publish(self, alice, has_comments):
        link = ""
        if has_comments:
            await alice.ask("set", None, pubsub(
                f"<create node='{self.comments}'/><configure><x xmlns='jabber:x:data' type='submit'>"
                "<field var='FORM_TYPE' type='hidden'><value>http://jabber.org/protocol/pubsub#node_config</value></field>"
                "<field var='pubsub#access_model'><value>open</value></field>"
                "<field var='pubsub#publish_model'><value>open</value></field></x></configure>"))
            link = f"xmpp:{alice.jid}?;node=urn%3Axmpp%3Amicroblog%3A0%3Acomments%2F{self.name}"
        await alice.ask("set", None, pubsub(
            f"<publish node='{BLOG}'><item id='{self.name}'>{entry('Like me', link)}</item></publish>{OPEN}"))

    def attach(self, who, inside):
        return who.begin_to_ask("set", self.author, pubsub(
            f"<publish node='{self.attached}'><item id='{who.jid}'><attachments xmlns='{ATTACHMENTS}'>{inside}</attachments>"
            "</item></publish>"))

    def like(self, who):
        return self.attach(who, "<noticed/>")

    def say_heart(self, who):
        return who.begin_to_ask("set", self.author, pubsub(
            f"<publish node='{self.comments}'><item id='heart-{who.name}'>{entry('♥')}</item></publish>"))

    def unlike(self, who, at):
        """Half of the people empty what they attached, half remove it."""
        if at % 2:
            return self.attach(who, "")
        return who.begin_to_ask("set", self.author, pubsub(f"<retract node='{self.attached}'><item id='{who.jid}'/></retract>"))

    def unsay_heart(self, who):
        return who.begin_to_ask("set", self.author, pubsub(
            f"<retract node='{self.comments}'><item id='heart-{who.name}'/></retract>"))

    async def sum(self, who):
        answer = await who.ask("get", self.author, pubsub(f"<items node='{SUMMARY}/{BLOG}'><item id='{self.name}'/></items>"))
        noticed = answer.find(f".//{{{SUMMARY}}}noticed")
        return 0 if noticed is None else int(noticed.get("count"))

    async def everybody(self, who):
        """The people whose attachments say that they like it, page by page."""
        return {item.get("id") for item in await self.every_item(who, self.attached)
                if item.find(f".//{{{ATTACHMENTS}}}noticed") is not None}

    async def hearts(self, who):
        """The people whose comments are a heart."""
        return [item.get("publisher") for item in await self.every_item(who, self.comments)
                if item.findtext(".//{http://www.w3.org/2005/Atom}title") == "♥"]

    async def every_item(self, who, node):
        found, after = {}, ""
        while True:
            answer = await who.ask("get", self.author, pubsub(
                f"<items node='{node}'/><set xmlns='{RSM}'><max>100</max>{after}</set>"))
            page = [item for item in answer.iter(f"{{{PUBSUB}}}item")]
            if not page:
                return list(found.values())
            assert not set(found) & {item.get("id") for item in page}, "an item came twice"
            found |= {item.get("id"): item for item in page}
            after = f"<after>{answer.findtext(f'.//{{{RSM}}}last')}</after>"


async def check(post, readers, expected, has_comments):
    for reader in readers:
        found = await post.sum(reader)
        assert found == len(expected), f"the sum that {reader.jid} reads is {found}, not {len(expected)}"
        people = await post.everybody(reader)
        assert people == expected, \
            f"{post.name} as {reader.jid} reads it: too many are {sorted(people - expected)[:9]}, " \
            f"missing {sorted(expected - people)[:9]}"
        if has_comments:
            hearts = await post.hearts(reader)
            assert len(hearts) == len(expected) and {heart.partition("/")[0] for heart in hearts} == expected, \
                f"{len(hearts)} hearts where {len(expected)} people like it"


async def at_once(requests):
    """All of them are under way before anybody reads an answer; the number of refusals."""
    done = await gather([lambda one=one: one for one in requests], len(requests))
    return len(done)


async def story(north, south, options):
    houses = (north, south)
    people = await crowd(houses, "l", options.people)
    alice = people[0]
    everybody, leaving = {one.jid for one in people}, people[::3]
    left = everybody - {one.jid for one in leaving}
    readers = people[:2]
    print(f"  {len(people)} people are in", flush=True)
    figures = {}

    async def measured(label, requests):
        with Spent(houses) as spent:
            count = await at_once(requests())
            # What is still under way between the houses and in the sums is part of the cost.
            await quiet(houses)
        figures.setdefault(label, []).append((count, [1e6 * spent.of[house.domain] / count for house in houses]))

    for number in range(options.rounds):
        plain = Post(alice, f"plain-{number}")
        await plain.publish(alice, False)
        await measured("like", lambda: [plain.like(one) for one in people])
        await check(plain, readers, everybody, False)
        await measured("take it back", lambda: [plain.unlike(one, at) for at, one in enumerate(leaving)])
        await check(plain, readers, left, False)

        talked = Post(alice, f"talked-{number}")
        await talked.publish(alice, True)
        # Half of either house by heart. Who takes it back does so in the way of the other half, or the same.
        await measured("like, half by `♥`, with comments", lambda: [
            talked.say_heart(one) if at // 2 % 2 else talked.like(one) for at, one in enumerate(people)])
        await check(talked, readers, everybody, True)
        await measured("take it back, with comments", lambda: [
            talked.unsay_heart(one) if at // 2 % 2 and number % 2 else talked.unlike(one, at)
            for at, one in enumerate(people) if one in leaving])
        await check(talked, readers, left, True)

        hasty = Post(alice, f"hasty-{number}")
        await hasty.publish(alice, False)
        await at_once([request for at, one in enumerate(people) for request in
                       [hasty.like(one)] + ([hasty.unlike(one, at)] if at % 3 == 0 else [])])
        await check(hasty, readers, left, False)
        print(f"  round {number + 1}: {len(people)} like, {len(leaving)} take it back, {len(left)} are left, on both servers",
              flush=True)
    await gather([one.leave for one in people])

    def row(label):
        north_cost, south_cost = (statistics.median(cost[at] for _, cost in figures[label]) for at in (0, 1))
        return [label, figures[label][0][0], f"{north_cost:.0f}", f"{south_cost:.0f}", f"{north_cost + south_cost:.0f}"]
    return table(["one operation, median of rounds", "at once", "CPU µs where the post is", "CPU µs at the other", "both"],
                 [row(label) for label in figures])

