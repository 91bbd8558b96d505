//! The verification string of XEP-0115 section 5, and what section 5.4 calls ill-formed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};
use xmpp::{Element, ns};

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
            let part = |name: &str| child.attr(name).unwrap_or_default().to_owned();
            let lang = child.attr_ns(ns::XML, "lang").unwrap_or_default().to_owned();
            identities.push([part("category"), part("type"), lang, part("name")]);
        } else if child.is("feature", ns::DISCO_INFO) {
            features.push(child.attr("var")?.to_owned());
        } else if child.is("x", ns::DATA_FORMS) {
            forms.extend(form_string(child)?);
        }
    }
    // Sorted as they are, without what is written behind each: `#` and `+` come before `<`.
    identities.sort_unstable();
    features.sort_unstable();
    if has_twins(&identities) || has_twins(&features) {
        return None;
    }
    forms.sort_unstable();
    if forms.windows(2).any(|pair| matches!(pair, [(one, _), (other, _)] if one == other)) {
        return None;
    }
    let identities = identities.iter().map(|parts| parts.join("/") + "<");
    let features = features.iter().map(|feature| format!("{feature}<"));
    let forms = forms.into_iter().map(|(_, text)| text);
    let mut sha = Sha1::new();
    for part in identities.chain(features).chain(forms) {
        sha.update(part.as_bytes());
    }
    Some(STANDARD.encode(sha.finalize()))
}

fn has_twins<T: PartialEq>(sorted: &[T]) -> bool {
    sorted.windows(2).any(|pair| pair.first() == pair.last())
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

    /// A feature that begins with another one comes after it, whatever its next character: slixmpp's, and its hash.
    #[test]
    fn features_are_sorted_as_they_are() {
        let features = [
            "urn:xmpp:microblog:0+notify",
            "http://jabber.org/protocol/disco#info",
            "http://jabber.org/protocol/rsm",
            "jabber:x:data",
            "http://jabber.org/protocol/shim#SubID",
            "http://jabber.org/protocol/shim",
            "jabber:iq:oob",
            "jabber:x:oob",
            "http://jabber.org/protocol/caps",
            "urn:xmpp:ping",
        ];
        let features: String = features.iter().map(|feature| format!("<feature var='{feature}'/>")).collect();
        let answer = format!("<identity category='client' type='bot'/>{features}");
        assert_eq!(hash_of(&answer).unwrap(), "CPwhje8UfOW9JlxskvT0iR0ed5k=");
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
