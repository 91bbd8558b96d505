"""A client of a few lines, of which a process can have a thousand; without opinions about what it is sent."""
import asyncio
import base64
import ssl
import time
import xml.etree.ElementTree as ET

CLIENT = "jabber:client"
PATIENCE = 120


class Refused(RuntimeError):
    """An error answer, as XML."""


class Thin:
    """A session over direct TLS with PLAIN. Answers come from `ask`; what else is heard is in `heard`."""

    def __init__(self, house, name, password="secret 1"):
        self.house, self.name, self.password = house, name, password
        self.jid = f"{name}@{house.domain}"
        self.waiting, self.heard, self.asked, self.bytes_read = {}, [], 0, 0

    async def connect(self):
        context = ssl.create_default_context(cafile=self.house.ca)
        context.set_alpn_protocols(["xmpp-client"])
        self.reader, self.writer = await asyncio.open_connection(self.house.host, self.house.tls_port, ssl=context,
                                                                 server_hostname=self.house.domain)
        await self.begin()

    async def begin(self):
        self.parser, self.depth, self.ready = ET.XMLPullParser(("start", "end")), 0, []
        self.send(f"<?xml version='1.0'?><stream:stream to='{self.house.domain}' version='1.0' xmlns='{CLIENT}' "
                  "xmlns:stream='http://etherx.jabber.org/streams'>")
        await self.next("features")

    def send(self, text):
        self.writer.write(text.encode())

    async def next(self, *names):
        """The next element of the stream, which must be one of these."""
        while not self.ready:
            await self.read()
        element = self.ready.pop(0)
        name = element.tag.rpartition("}")[2]
        if names and name not in names:
            raise Refused(ET.tostring(element, "unicode"))
        return element

    async def read(self):
        data = await self.reader.read(65536)
        if not data:
            raise ConnectionError(f"{self.jid}: the stream was closed")
        self.bytes_read += len(data)
        self.parser.feed(data)
        for event, element in self.parser.read_events():
            self.depth += 1 if event == "start" else -1
            if event == "start" and self.depth == 1:
                self.root = element
            if event == "end" and self.depth == 1:
                self.ready.append(element)
                self.root.clear()

    async def enter(self, *, register=False):
        """Makes the account first when asked to."""
        await self.connect()
        if register:
            self.send(f"<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>{self.name}</username>"
                      f"<password>{self.password}</password></query></iq>")
            if (answer := await self.next("iq")).get("type") != "result":
                raise Refused(ET.tostring(answer, "unicode"))
        plain = base64.b64encode(f"\0{self.name}\0{self.password}".encode()).decode()
        self.send(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>")
        await self.next("success")
        await self.begin()
        self.send("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
        await self.next("iq")
        self.listening = asyncio.create_task(self.listen())
        return self

    async def listen(self):
        try:
            while True:
                element = await self.next()
                future = self.waiting.pop(element.get("id"), None) if element.tag == f"{{{CLIENT}}}iq" else None
                if future is None:
                    self.heard.append(element)
                elif not future.done():
                    future.set_result(element)
        except Exception as error:  # noqa: BLE001: whoever waits is to hear of it
            for future in self.waiting.values():
                if not future.done():
                    future.set_exception(error)

    def begin_to_ask(self, kind, to, payload):
        """Sends a request now; what is returned can be awaited for the answer."""
        self.asked += 1
        name = f"q{self.asked}"
        future = self.waiting[name] = asyncio.get_running_loop().create_future()
        self.send(f"<iq type='{kind}' id='{name}'{f' to={chr(34)}{to}{chr(34)}' if to else ''}>{payload}</iq>")
        return self.answer(future)

    async def answer(self, future):
        try:
            element = await asyncio.wait_for(future, PATIENCE)
        except asyncio.TimeoutError:
            raise RuntimeError(f"{self.jid} was never answered") from None
        if element.get("type") != "result":
            raise Refused(ET.tostring(element, "unicode"))
        return element

    async def ask(self, kind, to, payload):
        return await self.begin_to_ask(kind, to, payload)

    async def leave(self):
        self.listening.cancel()
        self.send("</stream:stream>")
        self.writer.close()


async def gather(makers, at_once=64):
    """The results of these coroutine functions, so many under way at a time."""
    gate = asyncio.Semaphore(at_once)

    async def one(maker):
        async with gate:
            return await maker()
    return await asyncio.gather(*(one(maker) for maker in makers))


async def crowd(houses, prefix, count):
    """So many new people, named by a prefix and a number, half of them in each house, all of them in."""
    people = [Thin(houses[at % len(houses)], f"{prefix}{at}") for at in range(count)]
    await gather([lambda one=one: one.enter(register=True) for one in people], 16)
    return people


class Spent:
    """CPU time that servers use inside the `with` block, in seconds, in `of` (by domain), and wall time in `wall`."""

    def __init__(self, houses):
        self.houses = houses

    def __enter__(self):
        self.before, self.began = [house.cpu_seconds() for house in self.houses], time.monotonic()
        return self

    def __exit__(self, *_):
        self.wall = time.monotonic() - self.began
        self.of = {house.domain: house.cpu_seconds() - before for house, before in zip(self.houses, self.before)}


async def quiet(houses):
    """Waits until the servers have nothing to do any more."""
    for _ in range(PATIENCE * 2):
        with Spent(houses) as spent:
            await asyncio.sleep(0.5)
        if all(seconds < 0.01 for seconds in spent.of.values()):
            return
    raise AssertionError("the servers never became quiet")


def table(columns, rows):
    """Markdown; the first column is of words."""
    lines = [columns, ["---"] + ["---:"] * (len(columns) - 1), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
