"""Links that are cut: what becomes of messages that are on their way.

Between all servers of the mode stands a relay for each, where its SRV record leads. While two people write to each
other, the relays reset their connections at random moments (the seed is printed, and can be given as SEED). Then, each
way: what is heard is in order (from Prosody it isn't, whoever hears it) and nothing is heard twice; and where both
ends have stream management, or the sender's server asks what has arrived, whatever is not heard has come back to its sender as an error. What resumption or luck
saved is counted. Then one of the servers goes and comes back: what was written meanwhile arrives.
"""
import asyncio
import os
import random
import socket
import struct
import time

import slixmpp
import story

LINES = 300
CUTS = 8
PAUSE = 0.025


class Relay:
    """Passes bytes on to a server until told to reset all connections."""

    def __init__(self, address, target):
        self.address, self.target, self.writers = address, target, set()

    async def open(self):
        self.server = await asyncio.start_server(self.serve, self.address, 5269)

    async def serve(self, reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection(self.target, 5269)
        except OSError:
            writer.transport.abort()
            return
        self.writers |= {writer, far_writer}
        await asyncio.gather(self.pass_on(reader, far_writer), self.pass_on(far_reader, writer))
        self.writers -= {writer, far_writer}

    async def pass_on(self, reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    def cut(self):
        count = len(self.writers) // 2
        for writer in self.writers:
            if wire := writer.get_extra_info("socket"):
                # Closing sends a reset, and what has not been read is gone.
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        return count

    def close(self):
        self.cut()
        self.server.close()


def lines_heard(person, texts):
    wanted = set(texts)
    return [stanza["body"] for stanza in person.heard
            if isinstance(stanza, slixmpp.Message) and stanza["type"] == "chat" and stanza["body"] in wanted]


def returned(person, texts, ids):
    return {ids[stanza["id"]] for stanza in person.heard
            if isinstance(stanza, slixmpp.Message) and stanza["type"] == "error" and stanza["id"] in ids}


class Writer:
    """Somebody writes numbered lines to somebody, and knows which id each has."""

    def __init__(self, one, other, name="line"):
        self.one, self.other = one, other
        self.texts = [f"{name} {number} of {one.boundjid.user}" for number in range(LINES)]
        self.ids = {}

    async def write(self):
        for text in self.texts:
            message = self.one.make_message(mto=self.other.boundjid.bare, mbody=text, mtype="chat")
            message["id"] = self.one.new_id()
            self.ids[message["id"]] = text
            message.send()
            await asyncio.sleep(PAUSE)

    def heard(self):
        return lines_heard(self.other, self.texts)

    def delayed(self):
        return {stanza["body"] for stanza in self.other.heard
                if isinstance(stanza, slixmpp.Message) and stanza.xml.find("{urn:xmpp:delay}delay") is not None}

    def returned(self):
        return returned(self.one, self.texts, self.ids)

    async def settle(self):
        """Writes until a line gets through, then until all is accounted for or nothing changes any more."""
        end, number = time.monotonic() + 60, 0
        while not any(stanza["body"].startswith(f"{self.one.boundjid.user} ends") for stanza in self.other.heard
                      if isinstance(stanza, slixmpp.Message)):
            assert time.monotonic() < end, "the link does not come back"
            self.one.says(self.other.boundjid.bare, f"{self.one.boundjid.user} ends {number}")
            number += 1
            await asyncio.sleep(0.5)
        before = None
        while (now := (len(self.heard()), len(self.returned()))) != before and sum(now) < LINES:
            before = now
            await asyncio.sleep(3)

    async def account(self, is_sure, keeps_order):
        await self.settle()
        heard, back = self.heard(), self.returned()
        numbers = [int(text.split()[1]) for text in heard]
        assert len(set(heard)) == len(heard), f"heard twice: {sorted(text for text in set(heard) if heard.count(text) > 1)}"
        inversions = sum(after < before for before, after in zip(numbers, numbers[1:]))
        assert not inversions or not keeps_order, f"out of order: {numbers}"
        lost = [text for text in self.texts if text not in heard and text not in back]
        both = back & set(heard)
        remark = f"{len(heard)} heard, {len(back)} returned ({len(both)} of them heard), {len(lost)} lost"
        assert not is_sure or not lost, f"{remark}: {lost}"
        return remark + (f", {inversions} times out of order" if inversions else "")


async def outage(one, other, own, server):
    """What is written while the other's server is away is there when the other returns, in order and once."""
    await asyncio.to_thread(server.stop)
    # A relay needs a moment to pass on the end of a connection. What is written to one that has just ended, without
    # acknowledgements, is another story: see the cuts.
    for _ in range(150):
        if not own.has_links_with(server.domain):
            break
        await asyncio.sleep(0.1)
    else:
        raise AssertionError("the link outlives the server")
    writer = Writer(one, other, "waits")
    await writer.write()
    await asyncio.to_thread(server.start)
    await asyncio.to_thread(server.wait)
    writer.other = await story.Person(server, other.boundjid.user, other.authorities).enter()
    await writer.other.hears_saying(one.boundjid.bare, writer.texts[-1])
    for _ in range(100):
        heard = writer.heard()
        if len(heard) >= LINES:
            break
        await asyncio.sleep(0.1)
    # A server that has kept some for who was not there yet may give him those after what has come since.
    kept = [text for text in heard if text in writer.delayed()]
    live = [text for text in heard if text not in writer.delayed()]
    in_order = [sorted(part, key=writer.texts.index) == part for part in (kept, live)]
    assert sorted(heard) == sorted(writer.texts) and all(in_order), \
        f"{len(heard)} heard, {len(writer.returned())} returned: {heard}"
    await writer.other.disconnect()


async def pair(left, right, authorities, relays):
    """Two people of two sites, both ways at once."""
    checks = story.Checks()
    seed = os.environ.get("SEED") or str(random.randrange(1 << 32))
    chance = random.Random(seed)
    ann = await story.appear(left, f"ann-{right.kind}", authorities)
    bob = await story.appear(right, f"bob-{left.kind}", authorities)
    there, back = f"{left.domain} → {right.domain}", f"{right.domain} → {left.domain}"
    await checks("message", there, story.message(ann, bob))
    await checks("message", back, story.message(bob, ann))
    writers = {there: Writer(ann, bob), back: Writer(bob, ann)}
    writing = asyncio.gather(*(writer.write() for writer in writers.values()))
    cut = 0
    for _ in range(CUTS):
        await asyncio.sleep(chance.uniform(0.2, 1.6))
        cut += sum(relay.cut() for relay in relays)
    await writing
    print(f"  cut {cut} times, SEED={seed}", flush=True)
    has_acks = left.has_acks and right.has_acks
    for (name, writer), sender in zip(writers.items(), (left, right)):
        await checks("300 cut", name, writer.account(has_acks or sender.asks_what_arrived, sender.keeps_order))
    # ann's server stays up; bob's goes and comes back.
    if reason := left.cannot.get("waiting"):
        checks.rows.append(("300 waiting", there, f"not possible: {reason}"))
    else:
        await checks("300 waiting", there, outage(ann, bob, left, right))
    for person in (ann, bob):
        person.abort()
    return checks.rows
