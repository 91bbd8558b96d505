//! What any polite client says unasked and answers when asked: presence with
//! capabilities (XEP-0115), disco#info, pings, roster pushes, subscription requests.

use crate::xml::{self, attr, has, is};
use base64::{Engine, engine::general_purpose::STANDARD as B64};
use sha1::{Digest, Sha1};
use std::sync::OnceLock;

/// An iq stanza; an empty `to` is left out.
pub(crate) fn iq(kind: &str, to: &str, id: &str, payload: &str) -> String {
    if to.is_empty() {
        format!("<iq type='{kind}' id='{id}'>{payload}</iq>")
    } else {
        format!("<iq type='{kind}' to='{to}' id='{id}'>{payload}</iq>")
    }
}

const CAPS_NODE: &str = "https://bench.invalid/load";
const FEATURES: [&str; 4] = [
    "http://jabber.org/protocol/caps",
    "http://jabber.org/protocol/disco#info",
    "urn:xmpp:microblog:0+notify",
    "urn:xmpp:ping",
];

fn features(notify: bool) -> impl Iterator<Item = &'static str> {
    FEATURES.into_iter().filter(move |f| notify || !f.ends_with("+notify"))
}

/// XEP-0115 verification string of either feature set.
fn ver(notify: bool) -> &'static str {
    static V: [OnceLock<String>; 2] = [OnceLock::new(), OnceLock::new()];
    V[usize::from(notify)].get_or_init(|| {
        let mut s = String::from("client/bot//load<");
        features(notify).for_each(|f| {
            s.push_str(f);
            s.push('<');
        });
        B64.encode(Sha1::digest(s.as_bytes()))
    })
}

/// Available presence; `notify` asks for microblog notifications by capabilities.
pub(crate) fn presence(notify: bool) -> String {
    let ver = ver(notify);
    format!(
        "<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='{CAPS_NODE}' ver='{ver}'/></presence>"
    )
}

/// What to answer to `st`, if anything. Subscription requests are all approved.
pub(crate) fn auto_reply(st: &[u8]) -> Option<String> {
    let from = attr(st, "from").unwrap_or("");
    let kind = attr(st, "type").unwrap_or("");
    if is(st, "presence") {
        return (kind == "subscribe").then(|| format!("<presence to='{}' type='subscribed'/>", xml::bare(from)));
    }
    if !is(st, "iq") || !(kind == "get" || kind == "set") {
        return None;
    }
    let id = attr(st, "id").unwrap_or("");
    if has(st, "http://jabber.org/protocol/disco#info") {
        let node = xml::find_tag(st, "query").and_then(|q| attr(q, "node")).unwrap_or("");
        let list: String = features(node.ends_with(ver(true))).map(|f| format!("<feature var='{f}'/>")).collect();
        let node = if node.is_empty() { String::new() } else { format!(" node='{node}'") };
        return Some(iq(
            "result",
            from,
            id,
            &format!(
                "<query xmlns='http://jabber.org/protocol/disco#info'{node}>\
                 <identity category='client' type='bot' name='load'/>{list}</query>"
            ),
        ));
    }
    if has(st, "urn:xmpp:ping") || has(st, "jabber:iq:roster") {
        return Some(iq("result", from, id, ""));
    }
    let e = "<error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    Some(iq("error", from, id, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_capabilities_by_hash() {
        let ask = |v: &str| {
            format!(
                "<iq type='get' id='1' from='x'><query xmlns='http://jabber.org/protocol/disco#info' node='{CAPS_NODE}#{v}'/></iq>"
            )
        };
        let notify = |v: &str| auto_reply(ask(v).as_bytes()).is_some_and(|a| a.contains("+notify"));
        assert!(notify(ver(true)));
        assert!(!notify(ver(false)));
    }

    #[test]
    fn answers_no_answer() {
        assert!(auto_reply(b"<iq type='result' id='1'/>").is_none());
        assert!(auto_reply(b"<message><body/></message>").is_none());
        assert!(auto_reply(b"<iq type='set' id='1'><x/></iq>").is_some_and(|a| a.contains("error")));
    }
}
