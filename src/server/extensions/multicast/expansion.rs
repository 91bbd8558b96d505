//! From the addresses of a stanza to those it is passed on to (XEP-0033 sections 4 to 6). Looks at nothing else.

use std::collections::HashSet;

use xmpp::stanza::Content;
use xmpp::xml::set_attr;
use xmpp::{Element, Jid, StanzaError, ns};

/// What becomes of a stanza for many.
#[derive(Debug, PartialEq)]
pub(super) struct Expansion {
    /// Each once, in their order.
    pub recipients: Vec<Jid>,
    /// What each of them gets: without blind copies, those delivered marked so.
    pub content: Content,
}

/// Reads the addresses in `content`. `is_ours` says of an address whether somebody here can have it.
///
/// Who is marked as delivered is left out. If one address cannot be served nobody is (section 2.2).
pub(super) fn expand(
    content: &Content,
    is_ours: impl Fn(&Jid) -> bool,
    addresses_max: usize,
) -> Result<Expansion, StanzaError> {
    let mut lists = content.children().filter(|child| child.is("addresses", ns::ADDRESS));
    let (Some(list), None) = (lists.next(), lists.next()) else {
        return Err(StanzaError::bad_request().with_text("there must be one list of addresses"));
    };
    let list = list.open().map_err(|_| StanzaError::bad_request())?;
    let addresses = || list.children().filter(|child| child.is("address", ns::ADDRESS));
    if addresses().count() > addresses_max {
        let text = format!("at most {addresses_max} addresses are taken at a time");
        return Err(StanzaError::not_acceptable().with_text(text));
    }
    let mut recipients = Vec::new();
    let mut known = HashSet::new();
    let mut shown = Element::builder("addresses", ns::ADDRESS);
    let mut is_shown = false;
    for address in addresses() {
        let mut address = address.clone();
        let is_blind = match address.attr("type") {
            Some("to" | "cc") => false,
            Some("bcc") => true,
            Some("replyto" | "replyroom" | "noreply" | "ofrom") => {
                (shown, is_shown) = (shown.append(address), true);
                continue;
            }
            _ => return Err(StanzaError::bad_request().with_text("an address of no known type")),
        };
        if address.attr("delivered") != Some("true") {
            let to = recipient(&address)?;
            if !is_ours(&to) {
                return Err(StanzaError::forbidden().with_text("this server does not pass on to others"));
            }
            if known.insert(to.clone()) {
                recipients.push(to);
            }
            set_attr(&mut address, "delivered", "true");
        }
        if !is_blind {
            (shown, is_shown) = (shown.append(address), true);
        }
    }
    let mut content = content.without(|child| child.is("addresses", ns::ADDRESS));
    if is_shown {
        content.push(&shown.build());
    }
    Ok(Expansion { recipients, content })
}

fn recipient(address: &Element) -> Result<Jid, StanzaError> {
    match (address.attr("jid"), address.attr("uri")) {
        (Some(jid), None) => Jid::new(jid).map_err(|error| StanzaError::jid_malformed().with_text(error.to_string())),
        (None, Some(_)) => Err(StanzaError::jid_malformed().with_text("only JIDs are served")),
        (Some(_), Some(_)) => Err(StanzaError::bad_request().with_text("an address is a JID or a URI")),
        (None, None) => Err(StanzaError::bad_request().with_text("an address without a JID")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use xmpp::stanza::{Condition, Content};
    use xmpp::{Jid, ns};

    use super::expand;

    const MAX: usize = 5;

    fn content(inside: &str) -> Content {
        let list = format!("<body>x</body><addresses xmlns='{}'>{inside}</addresses>", ns::ADDRESS);
        Content::from_bytes_checked(list.into()).unwrap()
    }

    fn is_ours(jid: &Jid) -> bool {
        jid.domain() == "here.example" && jid.localpart().is_some()
    }

    fn expanded(inside: &str) -> Result<(Vec<String>, String), Condition> {
        let expansion = expand(&content(inside), is_ours, MAX).map_err(|error| error.condition)?;
        let shown = String::from_utf8(expansion.content.as_bytes().to_vec()).unwrap();
        let shown = shown.strip_prefix("<body>x</body>").unwrap().to_owned();
        Ok((expansion.recipients.iter().map(Jid::to_string).collect(), shown))
    }

    #[test]
    fn blind_copies_are_not_seen_and_the_others_are_marked() {
        let (recipients, shown) = expanded(
            "<address type='to' jid='a@here.example' desc='A'/><address type='cc' jid='b@there.example' delivered='true'/>\
             <address type='bcc' jid='c@here.example/r'/><address type='noreply'/>",
        )
        .unwrap();
        assert_eq!(recipients, ["a@here.example", "c@here.example/r"]);
        assert!(!shown.contains("c@here"), "{shown}");
        assert_eq!(shown.matches("delivered='true'").count(), 2, "{shown}");
        assert!(shown.contains("desc='A'") && shown.contains("noreply"), "{shown}");
        let (_, shown) = expanded("<address type='bcc' jid='c@here.example'/>").unwrap();
        assert_eq!(shown, "", "nothing is left to show");
    }

    #[test]
    fn what_is_refused() {
        let six = "<address type='bcc' jid='c@here.example'/>".repeat(6);
        for (inside, condition) in [
            ("<address jid='a@here.example'/>", Condition::BadRequest),
            ("<address type='from' jid='a@here.example'/>", Condition::BadRequest),
            ("<address type='to' desc='nobody'/>", Condition::BadRequest),
            ("<address type='to' jid='a@here.example' uri='im:a@here.example'/>", Condition::BadRequest),
            ("<address type='to' uri='im:a@here.example'/>", Condition::JidMalformed),
            ("<address type='to' jid='@'/>", Condition::JidMalformed),
            ("<address type='to' jid='a@there.example'/>", Condition::Forbidden),
            ("<address type='to' jid='here.example'/>", Condition::Forbidden),
            (
                "<address type='to' jid='a@here.example'/><address type='bcc' jid='b@there.example'/>",
                Condition::Forbidden,
            ),
            (six.as_str(), Condition::NotAcceptable),
        ] {
            assert_eq!(expanded(inside), Err(condition), "{inside}");
        }
        let twice = Content::from_bytes_checked(
            [content("").as_bytes().to_vec(), content("").as_bytes().to_vec()].concat().into(),
        );
        assert_eq!(expand(&twice.unwrap(), is_ours, MAX).map_err(|error| error.condition), Err(Condition::BadRequest));
    }

    fn addresses() -> impl Strategy<Value = String> {
        let kind = prop::sample::select(vec!["to", "cc", "bcc", "replyto", "ofrom", "strange"]);
        let user = prop::sample::select(vec!["a@", "b@", "c@", ""]);
        let domain = prop::sample::select(vec!["here.example", "there.example", "here.example/r", "sub.here.example"]);
        let delivered = prop::sample::select(vec!["", " delivered='true'", " delivered='false'"]);
        let one = (kind, user, domain, delivered).prop_map(|(kind, user, domain, delivered)| {
            format!("<address type='{kind}' jid='{user}{domain}'{delivered}/>")
        });
        proptest::collection::vec(one, 0..8).prop_map(|all| all.concat())
    }

    proptest! {
        /// Whatever a server writes: nobody elsewhere, nobody twice, no more than the bound, no blind copy shown.
        #[test]
        fn an_expansion_stays_here_and_within_its_bound(inside in addresses()) {
            if let Ok(expansion) = expand(&content(&inside), is_ours, MAX) {
                prop_assert!(expansion.recipients.len() <= MAX);
                prop_assert!(expansion.recipients.iter().all(is_ours));
                let distinct: BTreeSet<_> = expansion.recipients.iter().collect();
                prop_assert_eq!(distinct.len(), expansion.recipients.len());
                let shown = String::from_utf8_lossy(expansion.content.as_bytes()).into_owned();
                prop_assert!(!shown.contains("bcc"));
            }
        }

        /// Bytes that are no addresses at all do no harm.
        #[test]
        fn anything_goes_in(inside in "[<>/a-z='@ .&;]{0,60}") {
            let list = format!("<addresses xmlns='{}'>{inside}</addresses>", ns::ADDRESS);
            if let Ok(content) = Content::from_bytes_checked(list.into()) {
                let _refused_or_not = expand(&content, is_ours, MAX);
            }
        }
    }
}
