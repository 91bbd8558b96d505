"""What an administrator sees: `chirrup check connectivity`, `chirrup s2s`; and what a user sees of broken domains.

`look` asks the commands about good domains and about each kind of bad one, sends a message to the bad ones, and has
somebody of a domain with a bad certificate write to us. It returns what came out, as `story.pair` does.
"""
import asyncio
import re

import servers
import story

# Domains with something wrong, and what the command has to say about it.
BAD = {
    "expired.bad.test": r"expired",
    "othername.bad.test": r"somebody\.else\.test",
    "untrusted.bad.test": r"unknown|not trust|self-signed",
    "refused.bad.test": r"refused",
    "absent.bad.test": r"does not exist|no such|NXDOMAIN|no record|not found",
    "noservice.bad.test": r"no service|offers no|not offered|no XMPP",
    "loopback.bad.test": r"loopback",
    "silent.bad.test": r"time|answer",
    "thousand.bad.test": r"refused",
}


async def asked(server, arguments, code, pattern):
    """A command ends with this code and prints this."""
    text, ended = await asyncio.to_thread(server.ask, *arguments)
    said = f"chirrup {' '.join(arguments)} ended with {ended}:\n{text}"
    assert ended == code, said
    for one in [pattern] if isinstance(pattern, str) else pattern:
        assert re.search(one, text, re.IGNORECASE), f"no {one!r} in what {said}"


async def bounced(person, domain):
    """A message to a domain that can't be reached comes back."""
    somebody, mark = f"somebody@{domain}", len(person.heard)
    person.says(somebody, "Are you there?")
    error = await person.hear(f"an error from {somebody}", lambda stanza: stanza["from"].bare == somebody, mark, errors=True)
    condition = error["error"]["condition"]
    assert condition in ("remote-server-not-found", "remote-server-timeout"), str(error)
    return condition


async def kept_out(stranger, person):
    """What somebody of a domain with a bad certificate writes doesn't arrive, and they are told."""
    ours, mark = person.boundjid.bare, len(stranger.heard)
    stranger.says(ours, "Let me in")
    error = await stranger.hear(f"an error from {ours}", lambda stanza: stanza["from"].bare == ours, mark, errors=True)
    assert not any(stanza["body"] == "Let me in" for stanza in person.heard), "it did arrive"
    return error["error"]["condition"]


async def look(server, good, bad_host, authorities):
    """`server` is a Chirrup, `good` are servers it can reach, `bad_host` is the one with the bad domains."""
    checks = story.Checks()
    for other in good:
        await checks("connectivity", other.domain, asked(server, ["check", "connectivity", other.domain], 0, r"EXTERNAL"))
    # One line for each link: open, how encrypted, how authenticated, who vouched for the certificate.
    lines = [re.escape(other.domain) + r" +(in|out) +open +1\.[23] +EXTERNAL +PKIX" for other in good]
    await checks("chirrup s2s", server.domain, asked(server, ["s2s"], 0, lines))
    person = await story.appear(server, "ann-nobody", authorities)
    for domain, pattern in BAD.items():
        await checks("connectivity", domain, asked(server, ["check", "connectivity", domain], 1, pattern))
        await checks("bounce", domain, bounced(person, domain))
    if bad_host:
        for domain in bad_host.also:
            site = servers.Site(bad_host.kind, domain, bad_host.address)
            stranger = await story.appear(site, "stranger", None)
            await checks("kept out", domain, kept_out(stranger, person))
            await stranger.disconnect()
    await person.disconnect()
    return checks.rows
