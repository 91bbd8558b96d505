"""bob is away while many people on two servers post; he logs in, reads the newest with one query, and pages back to the
last: everything is there once, in order.

Order is judged by what is certain: the posts of one person are in theirs; of two posts in bob's own house, one that was
acknowledged before the other was sent is before it; and paging forward gives what paging back gave. While he pages,
people go on posting, which must not show in the pages.
"""
import asyncio
import random
import time

from crowd_likes import BLOG, OPEN, PUBSUB, RSM, pubsub
from thin import Spent, Thin, crowd, gather, quiet, table

TIMELINE = "urn:chirrup:timeline:0"
PAGE = 50
# For blogs that tell their followers no more than the ids of what was posted.
IDS = OPEN.replace("</x>", "<field var='pubsub#deliver_payloads'><value>false</value></field></x>")
TEXT = "A post of some length, as people write them, with a word or two that nobody needs. " * 6


class Author:
    """Somebody who posts, in order."""

    def __init__(self, client):
        self.client, self.posted = client, 0

    async def post(self, log, options=""):
        self.posted += 1
        name, sent = f"{self.client.name}-{self.posted}", time.monotonic()
        await self.client.ask("set", None, pubsub(
            f"<publish node='{BLOG}'><item id='{name}'><entry xmlns='http://www.w3.org/2005/Atom'><title>{name}</title>"
            f"<content>{TEXT}</content></entry></item></publish>{options}"))
        log[name] = (sent, time.monotonic())


async def page(bob, inside):
    """Entries of the timeline, oldest first, as (place, name)."""
    answer = await bob.ask("get", None, pubsub(
        f"<items node='{TIMELINE}'/><set xmlns='{RSM}'><max>{PAGE}</max>{inside}</set>"))
    items = list(answer.iter(f"{{{PUBSUB}}}item"))
    for item in items:
        assert TEXT in "".join(item.itertext()), "a payload is not what was posted"
        assert item.get("publisher").startswith(item.get(f"{{{TIMELINE}}}service")), item.attrib
    return [(item.get("id"), item.get(f"{{{TIMELINE}}}item")) for item in items]


def judge(names, log, is_here):
    """What is in the timeline against what was posted."""
    assert len(names) == len(set(names)), f"{len(names) - len(set(names))} came twice"
    assert set(names) == set(log), f"{len(set(log) - set(names))} are missing, {len(set(names) - set(log))} too many"
    last, latest = {}, 0.0
    for name in names:
        person, _, number = name.partition("-")
        assert int(number) > last.get(person, 0), f"{name} comes after {last[person]}"
        last[person] = int(number)
        if is_here(person):
            sent, acknowledged = log[name]
            assert acknowledged >= latest, f"{name} was acknowledged before something was sent that precedes it"
            latest = max(latest, sent)


async def story(north, south, options):
    houses, chance = (north, south), random.Random(options.seed)
    people = await crowd(houses, "a", options.people)
    authors = [Author(one) for one in people]
    # A blog must be there to be followed. Half of them tell only the ids of its posts.
    await gather([lambda one=one, at=at: one.post({}, OPEN if at // 2 % 2 else IDS) for at, one in enumerate(authors)])
    bob = await Thin(north, "bob").enter(register=True)
    for one in people:
        await bob.ask("set", None, f"<pam xmlns='urn:xmpp:pam:0' jid='{one.jid}'>"
                                   f"<subscribe xmlns='{PUBSUB}' node='{BLOG}' jid='{bob.jid}'/></pam>")
    before = await page(bob, "<before/>")
    assert not before, f"what was posted before he followed is there: {before}"
    await bob.leave()
    print(f"  bob follows {len(people)} people, and is away", flush=True)

    # Each of the posts is somebody's; nobody has two under way.
    shares = [0] * len(authors)
    for _ in range(options.posts):
        shares[chance.randrange(len(authors))] += 1
    log = {}

    async def write(author, count):
        for _ in range(count):
            await author.post(log)
    with Spent(houses) as posting:
        await gather([lambda one=one, count=count: write(one, count) for one, count in zip(authors, shares)], len(authors))
        await quiet(houses)
    assert len(log) == options.posts
    print(f"  {options.posts} posts in {posting.wall:.1f} s", flush=True)

    bob = await Thin(north, "bob").enter()
    await quiet(houses)
    with Spent(houses) as first:
        newest = await page(bob, "<before/>")
    assert len(newest) == min(PAGE, options.posts), f"{len(newest)} on the first page"
    # While he pages back, people go on.
    later, done = {}, asyncio.Event()
    others = asyncio.create_task(go_on(authors, later, done))
    pages = await to_the_end(bob, "before", newest)
    done.set()
    await others
    await quiet(houses)
    found = [entry for one in reversed([newest, *pages]) for entry in one]
    judge([name for _, name in found], log, {one.name for one in people if one.house is north}.__contains__)
    places = [place for place, _ in found]
    assert places == sorted(places), "places are not in order"
    print(f"  he reads {len(found)} in {1 + len(pages)} pages, none missing or twice, in order", flush=True)

    # From the newest he knows, what came meanwhile; from the oldest, everything again.
    rest = await to_the_end(bob, "after", newest)
    judge([name for one in rest for _, name in one], later, lambda _: False)
    again = await to_the_end(bob, "after", found[:1])
    everything = found + [entry for one in rest for entry in one]
    assert found[:1] + [entry for one in again for entry in one] == everything, "forward is not what back was"
    print(f"  {len(later)} that came meanwhile follow; forward he reads the same", flush=True)

    # Once more, with nothing else going on.
    size = bob.bytes_read
    with Spent(houses) as paging:
        count = len(await to_the_end(bob, "before", everything[-1:]))
    size = (bob.bytes_read - size) / count
    await bob.leave()
    await gather([one.leave for one in people])
    wrote, paged = sum(posting.of.values()) / options.posts, paging.of[north.domain] / count
    return table([f"{options.posts} posts of {options.people} people, half of them at another server", "CPU µs", "bytes"], [
        ["one post, from its author into the timeline; both servers", f"{1e6 * wrote:.0f}", "–"],
        [f"the newest {PAGE} after login", f"{1e6 * first.of[north.domain]:.0f}", "–"],
        [f"one page of {PAGE}, paging back to the last", f"{1e6 * paged:.0f}", f"{size:.0f}"]])


async def to_the_end(bob, way, known):
    """The pages before or after what is known."""
    pages = []
    while entries := await page(bob, f"<{way}>{known[0 if way == 'before' else -1][0]}</{way}>"):
        pages.append(known := entries)
    return pages


async def go_on(authors, log, done):
    while not done.is_set():
        for author in authors:
            if done.is_set():
                break
            await author.post(log)
            await asyncio.sleep(0.01)
