// Two people with xmpp.js (Node.js), one of the first client libraries that log in with SASL2, Bind 2, inline stream
// management and tokens (XEP-0388, 0386, 0198, 0484): they log in, chat, lose the connection and resume.
//
//     XMPPJS=FOLDER NODE_EXTRA_CA_CERTS=ca.pem node with_xmppjs.mjs localhost TLS-PORT alice bob password
//
// FOLDER holds node_modules/@xmpp/client. The accounts are there already. What the server does not announce is passed
// over, and said to be.

import assert from "node:assert/strict";
import path from "node:path";
import { pathToFileURL } from "node:url";

const { client, xml } = await import(
  pathToFileURL(path.join(process.env.XMPPJS, "node_modules/@xmpp/client/index.js"))
);
const [domain, port, ...people] = process.argv.slice(2);
const password = people.pop();
const PATIENCE = 20_000;

const said = (what) => console.log(`  ${what}`);

/** What `look` gives, as soon as it gives something. */
async function until(what, look) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const found = look();
    if (found) return found;
    assert(Date.now() < end, `waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A client that keeps what it sends and hears. */
function person(username, more = {}) {
  const one = client({ service: `xmpps://${domain}:${port}`, domain, username, password, resource: "js", ...more });
  // It begins to listen for our header when its own has been written; ours may be there before.
  const write = one.write.bind(one);
  one.write = async (text) => void write(text).catch((error) => one.wrongs.push(error));
  one.reconnect.delay = 200;
  one.timeout = PATIENCE;
  Object.assign(one, { sent: [], heard: [], wrongs: [] });
  one.on("send", (element) => one.sent.push(element));
  one.on("element", (element) => one.heard.push(element));
  one.on("error", (error) => one.wrongs.push(error));
  return one;
}

const bodies = (one) =>
  one.heard.filter((element) => element.is("message") && element.getChild("body")).map((message) => message.getChildText("body"));

/** How somebody has logged in, from what was sent. */
function how(one) {
  const authenticate = one.sent.find((element) => element.is("authenticate", "urn:xmpp:sasl:2"));
  if (authenticate) {
    const inline = authenticate.getChildElements().map((child) => child.name).filter((name) => name !== "initial-response");
    return `SASL2 ${authenticate.attrs.mechanism}, ${inline.join(", ")}`;
  }
  return `SASL ${one.sent.find((element) => element.is("auth"))?.attrs.mechanism}`;
}

async function enter(one) {
  await one.start();
  await one.send(xml("presence"));
  said(`${one.jid} is in: ${how(one)}`);
}

const say = (from, to, text) => from.send(xml("message", { to: to.jid.bare().toString(), type: "chat" }, xml("body", {}, text)));

const [alice, bob] = people.map((name) => person(name));
await enter(alice);
await enter(bob);
await say(alice, bob, "Hello Bob");
await until("Hello Bob", () => bodies(bob).includes("Hello Bob"));
await say(bob, alice, "Hello Alice ☺ <&>");
await until("Hello Alice", () => bodies(alice).includes("Hello Alice ☺ <&>"));
said("they chat");

if (bob.streamManagement.id) {
  let resumed = 0;
  bob.streamManagement.on("resumed", () => resumed++);
  for (const turn of [1, 2, 3]) {
    bob.socket.socket.destroy();
    const texts = ["a", "b", "c"].map((letter) => `${turn}${letter}`);
    for (const text of texts) await say(alice, bob, text);
    await until("a resumed stream", () => resumed === turn);
    await until("what was said meanwhile", () => bodies(bob).includes(texts.at(-1)));
  }
  await bob.iqCaller.get(xml("ping", "urn:xmpp:ping"), domain);
  assert.deepEqual(bodies(bob).slice(1), ["1a", "1b", "1c", "2a", "2b", "2c", "3a", "3b", "3c"]);
  const inline = bob.sent.filter((element) => element.is("authenticate") && element.getChild("resume")).length;
  said(`bob's stream was lost and resumed three times (${inline} inline), and he has heard everything once`);
} else {
  said("resumption is passed over: the server does not announce it");
}

const token = await bob.fast.fetchToken();
if (token) {
  await bob.stop();
  const again = person(people[1]);
  again.fast.fetchToken = async () => token;
  await enter(again);
  assert(how(again).includes("HT-"), how(again));
  await again.stop();
  said("bob came in again with a token");
} else {
  await bob.stop();
  said("tokens are passed over: the server offers none without channel binding");
}
await alice.stop();
assert.deepEqual([...alice.wrongs, ...bob.wrongs].filter((error) => error.code !== "ECONNRESET"), []);
console.log("xmpp.js: all well");
process.exit(0);
