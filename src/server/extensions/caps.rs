//! XEP-0115: Entity Capabilities.
//!
//! Tells the server's own hash in the stream features, and learns what clients want to be told (`+notify`,
//! XEP-0163) by asking once for each hash. A hash is remembered only when the answer gives it (section 5.4): an
//! answer that does not is used for that one session, so that nobody can teach the server what others want.

use std::sync::{Arc, Weak};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};
use xmpp::stanza::{Content, IqType, Kind};
use xmpp::xml::WithAttribute as _;
use xmpp::{Element, Stanza, ns};

use super::disco;
use crate::extension::{Extension, Kit, Listener, Mount, Pending, Spec, To, Xep};
use crate::router::Router;
use crate::session::Session;
use crate::session::interest::Interest;

/// What the server calls itself in its own capabilities.
const NODE: &str = "urn:chirrup:server";
/// Features, identities and form fields an answer may have: more are not hashed (section 8).
const ELEMENTS_MAX: usize = 2000;

/// Learns capabilities.
pub struct Caps {
    // The router owns the wiring, the wiring owns this.
    router: Weak<Router>,
}

static SPEC: Spec = Spec { name: "caps", xeps: &[Xep::complete(115, "1.6.0")], config: "" };

impl Caps {
    /// Learns for the kit's router.
    #[must_use]
    pub fn new(kit: &Kit) -> Arc<Self> {
        Arc::new(Self { router: Arc::downgrade(&kit.router) })
    }
}

/// The node under which the server's own features are asked for: its name and its hash.
#[must_use]
pub fn own_node(router: &Router) -> String {
    format!("{NODE}#{}", hash(&disco::domain_info(router, None)).unwrap_or_default())
}

/// The `<c/>` of the stream features (section 6.3).
#[must_use]
pub fn stream_feature(router: &Router) -> Element {
    Element::builder("c", ns::CAPS)
        .attribute("hash", "sha-1")
        .attribute("node", NODE)
        .attribute("ver", hash(&disco::domain_info(router, None)).as_deref())
        .build()
}

/// What a presence says of its sender's capabilities.
struct Claim {
    node: String,
    ver: String,
    /// Whether the hash is one we can compute: only then is what we learn remembered for others.
    is_verifiable: bool,
}

fn claim(content: &bytes::Bytes) -> Option<Claim> {
    let content = Content::from_bytes_checked(content.clone()).ok()?;
    let caps = content.child("c", ns::CAPS)?.open().ok()?;
    let (node, ver, hash) = (caps.attr("node")?, caps.attr("ver")?, caps.attr("hash")?);
    (ver.len() <= 128 && node.len() <= 1024).then(|| Claim {
        node: node.to_owned(),
        ver: ver.to_owned(),
        is_verifiable: hash == "sha-1",
    })
}

impl Listener for Caps {
    fn presence_updated(&self, session: &Arc<Session>) -> Pending<()> {
        let Some(router) = self.router.upgrade() else { return Pending::now(()) };
        let Some(content) = session.state().available.as_ref().map(|available| available.content.clone()) else {
            return Pending::now(());
        };
        let Some(Claim { node, ver, is_verifiable }) = claim(&content) else { return Pending::now(()) };
        let session = Arc::clone(session);
        if is_verifiable && let Some(known) = router.interests.get(&ver) {
            return settle(&session, known, &router);
        }
        Pending::later(async move {
            let mut iq = Stanza::new(Kind::Iq(IqType::Get));
            iq.head.from = xmpp::Jid::new(session.jid.domain()).ok();
            iq.content
                .push(&Element::builder("query", ns::DISCO_INFO).attribute("node", &*format!("{node}#{ver}")).build());
            let asked = Arc::clone(&router);
            let to = session.jid.clone().into();
            let then = Box::new(move |answer: Option<Stanza>| {
                learned(&asked, &session, Some(&*ver).filter(|_| is_verifiable), answer)
            });
            router.ask(to, iq, then).await;
        })
    }
}

fn learned(router: &Arc<Router>, session: &Arc<Session>, ver: Option<&str>, answer: Option<Stanza>) {
    let Some(answer) = answer.filter(|answer| answer.head.kind == Kind::Iq(IqType::Result)) else { return };
    let Some(query) = answer.content.child("query", ns::DISCO_INFO).and_then(|query| query.open().ok()) else { return };
    if query.children().count() > ELEMENTS_MAX {
        return;
    }
    let features =
        query.children().filter(|child| child.is("feature", ns::DISCO_INFO)).filter_map(|child| child.attr("var"));
    let interest = Interest::from_features(features);
    let interest = match ver {
        Some(ver) if hash(&query).as_deref() == Some(ver) => router.interests.learn(ver, interest),
        _ => {
            tracing::debug!(session = %session.jid, ver, "capabilities that cannot be verified serve this session alone");
            Arc::new(interest)
        }
    };
    let telling = settle(session, interest, router);
    // The answer came as a stanza of that very session: its own task goes on with what follows.
    crate::runtime::start(telling);
}

/// Notes what the session wants and, if that is news, tells whoever has something for it.
fn settle(session: &Arc<Session>, interest: Arc<Interest>, router: &Arc<Router>) -> Pending<()> {
    {
        let mut state = session.state();
        let Some(available) = &mut state.available else { return Pending::now(()) };
        if available.interest.as_ref().is_some_and(|known| **known == *interest) {
            return Pending::now(());
        }
        available.interest = Some(interest);
    }
    session.settles();
    let (session, router) = (Arc::clone(session), Arc::clone(router));
    Pending::later(async move {
        router.tell(|listener| listener.caps_learned(&session)).await;
    })
}

/// The verification string of a disco#info answer, hashed with SHA-1 and written in base64 (section 5.1).
///
/// `None` for an answer that is ill-formed in the sense of section 5.4: doubled identities, features or form types.
#[must_use]
pub fn hash(query: &Element) -> Option<String> {
    let mut identities = Vec::new();
    let mut features = Vec::new();
    let mut forms = Vec::new();
    for child in query.children() {
        if child.is("identity", ns::DISCO_INFO) {
            let lang = child.attr_ns(ns::XML, "lang").unwrap_or_default();
            let part = |name: &str| child.attr(name).unwrap_or_default().to_owned();
            identities.push(format!("{}/{}/{lang}/{}<", part("category"), part("type"), part("name")));
        } else if child.is("feature", ns::DISCO_INFO) {
            features.push(format!("{}<", child.attr("var")?));
        } else if child.is("x", ns::DATA_FORMS) {
            forms.extend(form_string(child)?);
        }
    }
    for list in [&mut identities, &mut features] {
        list.sort_unstable();
        if list.windows(2).any(|pair| pair.first() == pair.last()) {
            return None;
        }
    }
    forms.sort_unstable();
    if forms.windows(2).any(|pair| matches!(pair, [(one, _), (other, _)] if one == other)) {
        return None;
    }
    let mut sha = Sha1::new();
    for part in identities.iter().chain(&features).chain(forms.iter().map(|(_, text)| text)) {
        sha.update(part.as_bytes());
    }
    Some(STANDARD.encode(sha.finalize()))
}

/// `FORM_TYPE` and the string of one extension form; nothing for a form that section 5.4 says to ignore.
#[expect(clippy::option_option, reason = "refused, ignored, and used are three answers")]
fn form_string(form: &Element) -> Option<Option<(String, String)>> {
    let values = |field: &Element| {
        let mut values: Vec<String> =
            field.children().filter(|child| child.is("value", ns::DATA_FORMS)).map(Element::text).collect();
        values.sort_unstable();
        values
    };
    let fields = || form.children().filter(|child| child.is("field", ns::DATA_FORMS));
    let Some(kind) = fields().find(|field| field.attr("var") == Some("FORM_TYPE")) else { return Some(None) };
    if kind.attr("type").is_some_and(|type_| type_ != "hidden") {
        return Some(None);
    }
    let kinds = values(kind);
    let [kind] = kinds.as_slice() else { return None };
    let mut lines: Vec<(String, Vec<String>)> = fields()
        .filter_map(|field| Some((field.attr("var").filter(|var| *var != "FORM_TYPE")?.to_owned(), values(field))))
        .collect();
    lines.sort_unstable();
    let mut text = format!("{kind}<");
    for (var, values) in lines {
        text.push_str(&var);
        text.push('<');
        for value in values {
            text.push_str(&value);
            text.push('<');
        }
    }
    Some(Some((kind.clone(), text)))
}

impl Extension for Caps {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        at.feature(To::DOMAIN, ns::CAPS);
        at.listener(self);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::hash;
    use xmpp::Element;

    fn hash_of(inside: &str) -> Option<String> {
        let query: Element =
            format!("<query xmlns='http://jabber.org/protocol/disco#info'>{inside}</query>").parse().unwrap();
        hash(&query)
    }

    #[test]
    fn the_examples_of_the_specification() {
        let features = "<feature var='http://jabber.org/protocol/caps'/>\
            <feature var='http://jabber.org/protocol/disco#info'/>\
            <feature var='http://jabber.org/protocol/disco#items'/>\
            <feature var='http://jabber.org/protocol/muc'/>";
        let simple = format!("<identity category='client' type='pc' name='Exodus 0.9.1'/>{features}");
        assert_eq!(hash_of(&simple).unwrap(), "QgayPKawpkPSDYmwT/WM94uAlu0=");
        let complex = format!(
            "<identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/>\
             <identity xml:lang='el' category='client' name='Ψ 0.11' type='pc'/>{features}\
             <x xmlns='jabber:x:data' type='result'>\
             <field var='FORM_TYPE' type='hidden'><value>urn:xmpp:dataforms:softwareinfo</value></field>\
             <field var='ip_version' type='text-multi'><value>ipv4</value><value>ipv6</value></field>\
             <field var='os'><value>Mac</value></field><field var='os_version'><value>10.5.1</value></field>\
             <field var='software'><value>Psi</value></field><field var='software_version'><value>0.11</value></field></x>"
        );
        assert_eq!(hash_of(&complex).unwrap(), "q07IKJEyjvHSyhy//CH0CxmKi8w=");
    }

    #[test]
    fn ill_formed_answers_have_no_hash() {
        assert!(hash_of("<feature var='a'/><feature var='a'/>").is_none());
        assert!(hash_of("<identity category='c' type='t'/><identity category='c' type='t'/>").is_none());
        let form =
            "<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>f</value></field></x>";
        assert!(hash_of(form).is_some());
        assert!(hash_of(&format!("{form}{form}")).is_none());
    }
}
