"""The crash rig's second load: a whole server, written to and read back over XMPP.

Four accounts post to their microblogs, four publishes of each under way, and take every tenth post back when fifty
more have come; the IQ result is the acknowledgement. Three others send messages to accounts that are away, five at a
time and then a ping; the ping's result acknowledges them, since a stream is answered in order.

The check opens the data with a new server, after `chirrup check store` has read it: every acknowledged account can
log in, every acknowledged post is there with its content and can be had by its id, no post is missing between
others, none that was acknowledged as taken back is there, and whoever was away gets every acknowledged message, in
order, each once, and has it in the archive under the id that came with it.
"""
import os, shutil, socket, subprocess, threading, time
from xmpp_client import CLIENT, Client, Refused

DOMAIN, NODE = "crash.test", "urn:xmpp:microblog:0"
SID, MAM = "{urn:xmpp:sid:0}", "{urn:xmpp:mam:2}"
PUBSUB, ATOM, RSM = "{http://jabber.org/protocol/pubsub}", "{http://www.w3.org/2005/Atom}", "{http://jabber.org/protocol/rsm}"
POSTERS = [f"poster{n}" for n in range(4)]
SENDERS = [f"sender{n}" for n in range(3)]
UNDER_WAY, TAKEN_BACK_AFTER, BURST = 4, 50, 5
PAUSE = 0.004


def content(lane, number):
    mixed = (number * 2654435761 + sum(lane.encode())) & 0xFFFFFFFF
    size = 6000 if mixed % 40 == 0 else 100 + mixed % 500
    return f"{lane} {number} " + f"{mixed:08x}" * (size // 8)


def number_of(item):
    return int(item.get("id").rsplit("-", 1)[1])


class Load:
    def __init__(self, engine, top, target, scratch):
        self.engine, self.scratch, self.server, self.lanes = engine, scratch, None, []
        subprocess.run(["cargo", "build", "-q", "-p", "chirrup"], cwd=top, check=True)
        # A copy, so that a build meanwhile changes nothing.
        self.binary = shutil.copy(os.path.join(target, "debug", "chirrup"), os.path.join(scratch, "chirrup"))
        self.sent = dict.fromkeys(SENDERS, 0)
        self.delivered, self.surprises = {}, []

    # Starting and killing.

    def configure(self, dir):
        with socket.socket() as free, socket.socket() as free_too:
            free.bind(("127.0.0.1", 0))
            free_too.bind(("127.0.0.1", 0))
            self.port, tls = free.getsockname()[1], free_too.getsockname()[1]
        path = os.path.join(self.scratch, "config.toml")
        with open(path, "w") as file:
            file.write(f"""data_directory = "{dir}"
registration = "open"
[[host]]
domain = "{DOMAIN}"
[listen]
c2s = ["127.0.0.1:{self.port}"]
c2s_tls = ["127.0.0.1:{tls}"]
s2s = []
s2s_tls = []
[c2s]
tls_required = false
[store]
engine = "{self.engine}"
[limits]
registrations_per_address_per_hour_max = 1000000
offline_messages_per_account_max = 1000000
mailbox_bytes_max = 1073741824
read_bytes_per_second_max = 1073741824
""")
        return path

    def serve(self, dir):
        config, self.log = self.configure(dir), os.path.join(self.scratch, "server.log")
        with open(self.log, "wb") as log:
            self.server = subprocess.Popen([self.binary, "serve", "--config", config], stdin=subprocess.DEVNULL,
                                           stdout=log, stderr=log, env={**os.environ, "CHIRRUP_LOG": "info"})

    def said(self):
        with open(self.log, errors="replace") as log:
            return log.read()

    def is_open(self):
        return "serving" in self.said()

    def wait_serving(self, seconds=60):
        end = time.monotonic() + seconds
        while not self.is_open():
            if self.server.poll() is not None or time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

    def start(self, dir, acks):
        if not os.path.exists(dir):
            self.delivered = {}
        self.acks = acks
        self.serve(dir)
        self.first_ack, self.is_killed, self.surprises = threading.Event(), threading.Event(), []
        self.lanes = [threading.Thread(target=self.lane, args=(self.post, name)) for name in POSTERS]
        self.lanes += [threading.Thread(target=self.lane, args=(self.message, name)) for name in SENDERS]
        for lane in self.lanes:
            lane.start()

    def wait_open(self):
        self.first_ack.wait(30)

    def kill(self):
        if self.server:
            self.is_killed.set()
            self.server.kill()
            self.server.wait()
        for lane in self.lanes:
            lane.join()
        self.server, self.lanes = None, []

    # Writing. A lane is a thread that ends with its stream.

    def lane(self, work, name):
        try:
            if not self.wait_serving():
                if not self.is_killed.is_set():
                    raise RuntimeError(f"the server does not open: {self.said()[-300:]}")
                return
            with open(self.acks, "ab", buffering=0) as acks:
                def acknowledged(*what):
                    acks.write(" ".join(map(str, (time.monotonic_ns(), name, *what))).encode() + b"\n")
                    self.first_ack.set()
                work(self.enter(name, acknowledged), name, acknowledged)
        except Exception as error:
            # The kill comes as a lost connection, a moment before it is known to have come.
            if not self.is_killed.wait(2) or not isinstance(error, OSError):
                self.surprises.append(f"lane {name}: {type(error).__name__}: {error}")

    def enter(self, name, acknowledged):
        client = Client(self.port, DOMAIN)
        try:
            client.login(name)
        except Refused:
            client.close()
            client = Client(self.port, DOMAIN)
            client.register(name)
            acknowledged("account")
            client.close()
            client = Client(self.port, DOMAIN)
            client.login(name)
        return client

    def post(self, client, lane, acknowledged):
        number = self.newest(client)
        under_way = set()
        while True:
            while len(under_way) < UNDER_WAY:
                number += 1
                client.send(f"<iq type='set' id='post {number}'><pubsub xmlns='http://jabber.org/protocol/pubsub'>"
                            f"<publish node='{NODE}'><item id='p-{number}'><entry xmlns='http://www.w3.org/2005/Atom'>"
                            f"<id>p-{number}</id><title>{content(lane, number)}</title>"
                            f"<updated>2026-01-01T00:00:00Z</updated></entry></item></publish></pubsub></iq>")
                under_way.add(f"post {number}")
                if number % 10 == 0 and number > TAKEN_BACK_AFTER:
                    old = number - TAKEN_BACK_AFTER
                    client.send(f"<iq type='set' id='retract {old}'><pubsub xmlns='http://jabber.org/protocol/pubsub'>"
                                f"<retract node='{NODE}'><item id='p-{old}'/></retract></pubsub></iq>")
                    under_way.add(f"retract {old}")
            answer = client.next()
            if answer.get("id") in under_way:
                under_way.remove(answer.get("id"))
                # A post may have been taken back by a request that was never acknowledged.
                if answer.get("type") == "result":
                    acknowledged(*answer.get("id").split())
                else:
                    assert "retract" in answer.get("id"), "a post was refused"
                time.sleep(PAUSE)

    def newest(self, client):
        try:
            answer = client.ask(f"<iq type='get' id='q'><pubsub xmlns='http://jabber.org/protocol/pubsub'>"
                                f"<items node='{NODE}' max_items='1'/></pubsub></iq>")
            return max(map(number_of, answer.iter(PUBSUB + "item")), default=0)
        except Refused:
            return 0  # no node yet

    def message(self, client, lane, acknowledged):
        reader = lane.replace("sender", "reader")
        self.enter(reader, lambda *what: None).close()
        acknowledged("reader")
        while True:
            for _ in range(BURST):
                self.sent[lane] += 1
                number = self.sent[lane]
                client.send(f"<message type='chat' to='{reader}@{DOMAIN}' id='m{number}'>"
                            f"<body>{content(lane, number)}</body></message>")
            client.send("<iq type='get' id='q'><ping xmlns='urn:xmpp:ping'/></iq>")
            while (stanza := client.next()).get("id") != "q":
                # Kept messages are bounded in number and, by half the mailbox, in bytes: hence the limits above.
                assert stanza.get("type") != "error", f"a message was refused: {stanza.get('id')}"
            acknowledged("message", number)
            time.sleep(PAUSE)

    # Questioning.

    def check(self, dir, acks, until):
        acked = {}
        for line in open(acks) if os.path.exists(acks) else []:
            if line.endswith("\n"):
                time_ns, lane, what, *number = line.split()
                if int(time_ns) < until:
                    acked.setdefault((lane, what), set()).add(int(number[0]) if number else 0)
        config = self.configure(dir)
        if os.path.exists(os.path.join(dir, "store", "format")):
            done = subprocess.run([self.binary, "check", "store", "--config", config], capture_output=True, text=True)
            if done.returncode:
                return False, f"check store: {(done.stdout + done.stderr).strip()[:400]}"
        self.serve(dir)
        try:
            if not self.wait_serving():
                return False, f"does not open: {self.said().strip()[-400:]}"
            problems, counts = self.surprises[:], []
            for lane in POSTERS:
                counts.append(self.check_posts(lane, acked, problems))
            for lane in SENDERS:
                counts.append(self.check_messages(lane, acked, problems, keep=until > time.monotonic_ns()))
            text = f"posts and messages {counts}"
            return (not problems), ("ok " + text if not problems else f"{len(problems)} problems, first: {'; '.join(problems[:5])}; {text}")
        except (OSError, Refused) as error:
            return False, f"{type(error).__name__}: {error}; {self.said().strip()[-300:]}"
        finally:
            # Politely, so that what was delivered is not delivered again.
            self.server.terminate()
            self.server.wait()
            self.server = None

    def log_in(self, name, must, problems):
        client = Client(self.port, DOMAIN)
        try:
            client.login(name)
            return client
        except Refused:
            client.close()
            if must:
                problems.append(f"LOST the account {name}")
            return None

    def check_posts(self, lane, acked, problems):
        posts, retracts = acked.get((lane, "post"), set()), acked.get((lane, "retract"), set())
        client = self.log_in(lane, (lane, "account") in acked or posts, problems)
        if client is None:
            return 0
        found, order, after = {}, [], None
        while True:
            cursor = f"<after>{after}</after>" if after else ""
            try:
                page = client.ask(f"<iq type='get' id='q'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='{NODE}'/>"
                                  f"<set xmlns='http://jabber.org/protocol/rsm'><max>100</max>{cursor}</set></pubsub></iq>")
            except Refused as refused:
                if posts:
                    problems.append(f"LOST the node of {lane}: {refused}")
                break
            items = list(page.iter(PUBSUB + "item"))
            for item in items:
                found[number_of(item)] = item.find(f"{ATOM}entry/{ATOM}title").text
                order.append(number_of(item))
            last = page.find(f".//{RSM}last")
            if len(items) < 100 or last is None:
                break
            after = last.text
        if order not in (sorted(set(order)), sorted(set(order), reverse=True)):
            problems.append(f"TORN the posts of {lane} are out of order")
        highest = max(found, default=0)
        for number in posts:
            may_be_gone = number % 10 == 0 and number + TAKEN_BACK_AFTER <= max(posts) + 2 * UNDER_WAY
            if number not in found and not may_be_gone:
                problems.append(f"LOST post {number} of {lane}")
        for number in range(1, highest):
            if number not in found and number % 10 != 0:
                problems.append(f"TORN post {number} of {lane} is missing before {highest}")
        for number, text in found.items():
            if text != content(lane, number):
                problems.append(f"TORN post {number} of {lane} is not what was posted")
        for number in retracts & found.keys():
            problems.append(f"LOST post {number} of {lane} is there again")
        wanted = sorted(found)[-5:] + sorted(found)[:: max(1, len(found) // 10)]
        for number in wanted:
            one = client.ask(f"<iq type='get' id='q'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='{NODE}'>"
                             f"<item id='p-{number}'/></items></pubsub></iq>")
            if [number_of(item) for item in one.iter(PUBSUB + "item")] != [number]:
                problems.append(f"TORN post {number} of {lane} cannot be had by its id")
        client.close()
        return len(found)

    def check_messages(self, lane, acked, problems, keep):
        last_acked = max(acked.get((lane, "message"), {0}))
        client = self.log_in(lane.replace("sender", "reader"), (lane, "reader") in acked, problems)
        if client is None:
            return 0
        before = self.delivered.get(lane, 0) if keep else 0
        client.send("<presence/>")
        numbers, told, end, client_is_done = [], {}, time.monotonic() + 20, False
        client.socket.settimeout(3)
        try:
            client.send("<iq type='get' id='q'><ping xmlns='urn:xmpp:ping'/></iq>")
            while not (client_is_done and max(numbers, default=before) >= last_acked) and time.monotonic() < end:
                stanza = client.next()
                if stanza.get("id") == "q":
                    client_is_done = True
                elif stanza.tag == CLIENT + "message" and stanza.find(CLIENT + "body") is not None:
                    text = stanza.find(CLIENT + "body").text
                    number = int(text.split()[1])
                    numbers.append(number)
                    told[number] = stanza.find(SID + "stanza-id").get("id")
                    if text != content(lane, number):
                        problems.append(f"TORN message {number} of {lane} is not what was sent")
        except TimeoutError:
            pass
        # Of one burst, acknowledged together, every message.
        must = {number for last in acked.get((lane, "message"), set()) for number in range(last - BURST + 1, last + 1)}
        missing = sorted(number for number in must - set(numbers) if number > before)
        if missing:
            problems.append(f"LOST {len(missing)} messages of {lane}, from {missing[0]} to {missing[-1]}")
        if numbers != sorted(set(numbers)):
            problems.append(f"TORN the messages of {lane} are out of order or doubled")
        if keep:
            self.delivered[lane] = self.sent[lane]
        self.check_archive(client, lane, (must, told), problems)
        client.close()
        return len(numbers)

    def check_archive(self, client, lane, expected, problems):
        must, told = expected
        found, order, cursor = {}, [], ""
        client.socket.settimeout(20)
        while cursor is not None:
            client.send(f"<iq type='set' id='archive'><query xmlns='urn:xmpp:mam:2'>"
                        f"<set xmlns='http://jabber.org/protocol/rsm'><max>100</max>{cursor}</set></query></iq>")
            while (stanza := client.next()).get("id") != "archive":
                result = stanza.find(MAM + "result")
                body = None if result is None else result.find(f".//{CLIENT}body")
                if body is not None:
                    number = int(body.text.split()[1])
                    found[number] = result.get("id")
                    order.append(number)
                    if body.text != content(lane, number):
                        problems.append(f"TORN archived message {number} of {lane} is not what was sent")
            fin = stanza.find(MAM + "fin")
            last = fin.find(f".//{RSM}last")
            cursor = None if last is None or fin.get("complete") == "true" else f"<after>{last.text}</after>"
        if order != sorted(set(order)):
            problems.append(f"TORN the archive of {lane} is out of order or doubled")
        missing = sorted(must - found.keys())
        if missing:
            problems.append(f"LOST {len(missing)} archived messages of {lane}, from {missing[0]} to {missing[-1]}")
        for number, name in told.items():
            if found.get(number) != name:
                problems.append(f"TORN message {number} of {lane} came as {name} and is archived as {found.get(number)}")
