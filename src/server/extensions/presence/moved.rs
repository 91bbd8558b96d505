//! XEP-0283: a contact that has moved asks from its new address, and says which was the old one.
//!
//! If the old one may see the user's presence, it is asked whether that is true: its node `urn:xmpp:moved:1` says so, or
//! its server that it is gone to there. Then the new address takes the place of the old without bothering the user.
//! Otherwise the request is one like others, and goes on as it came.

use xmpp::stanza::{Condition, IqType, Kind, PresenceType};
use xmpp::xml::WithAttribute as _;
use xmpp::{BareJid, Element, Jid, Stanza, ns};

use super::Presence;
use crate::extensions::roster::subscription::Action;
use crate::tables::roster::Subscription;

/// The address that a request says its sender has moved from.
fn old_address(request: &Stanza) -> Option<BareJid> {
    let moved = request.content.child("moved", ns::MOVED)?.open().ok()?;
    address(&moved, "old-jid")
}

fn address(moved: &Element, name: &str) -> Option<BareJid> {
    let jid = Jid::new(moved.get_child(name, ns::MOVED)?.text().trim()).ok()?;
    (jid.is_bare() && jid.localpart().is_some()).then(|| jid.to_bare())
}

/// Where its owner, or its server, says that an address has moved to.
fn new_address(answer: &Stanza) -> Option<BareJid> {
    if let Some(error) = answer.error() {
        let uri = error.address.as_deref().filter(|_| error.condition == Condition::Gone)?;
        let path = uri.strip_prefix("xmpp:")?.split(['?', '#']).next()?;
        return Jid::new(path).ok().filter(Jid::is_bare).map(|jid| jid.to_bare());
    }
    let pubsub = answer.content.child("pubsub", ns::PUBSUB)?.open().ok()?;
    let items = pubsub.get_child("items", ns::PUBSUB).filter(|items| items.attr("node") == Some(ns::MOVED))?;
    let item = items.get_child("item", ns::PUBSUB).filter(|item| item.attr("id") == Some("current"))?;
    address(item.get_child("moved", ns::MOVED)?, "new-jid")
}

/// What the old address is asked, in the user's name.
fn question(account: &BareJid) -> Stanza {
    let item = Element::builder("item", ns::PUBSUB).attribute("id", "current").build();
    let items = Element::builder("items", ns::PUBSUB).attribute("node", ns::MOVED).append(item).build();
    let pubsub = Element::builder("pubsub", ns::PUBSUB).append(items).build();
    Stanza::new(Kind::Iq(IqType::Get)).from(account.clone()).with(&pubsub)
}

impl Presence {
    /// Takes a subscription request of somebody who has moved, and gives back any other.
    pub(super) async fn may_have_moved(&self, account: &BareJid, request: Stanza) -> Option<Stanza> {
        let (Some(old), Some(new)) = (old_address(&request), request.head.from.as_ref().map(Jid::to_bare)) else {
            return Some(request);
        };
        let book = match self.books.open(account).await {
            Ok(book) => book,
            Err(error) => {
                tracing::error!(%account, %error, "a roster could not be read");
                return Some(request);
            }
        };
        let Some(router) = self.router.upgrade() else { return Some(request) };
        if old == new || !book.is_seen_by(old.as_str()) || book.is_seen_by(new.as_str()) {
            return Some(request);
        }
        let (presence, user) = (self.clone(), account.clone());
        let question = question(account);
        let then_old = old.clone();
        let then = Box::new(move |answer: Option<Stanza>| {
            let is_true = answer.as_ref().and_then(new_address).is_some_and(|said| said == new);
            // It goes on when the answer is there, in a task that ends with it: at most one for each question that is out.
            crate::runtime::start(async move {
                if is_true {
                    presence.replace_contact(user, &then_old, &new, request).await;
                } else {
                    presence.subscription_in(user, request, Action::Subscribe).await;
                }
            });
        });
        router.ask(old.into(), question, then).await;
        None
    }

    /// The new address gets what the old one had.
    async fn replace_contact(&self, account: BareJid, old: &BareJid, new: &BareJid, request: Stanza) {
        let before = self.books.open(&account).await.ok().and_then(|book| book.contact(old.as_str()));
        let Some(before) = before.map(|contact| contact.subscription).filter(|before| before.has_from()) else {
            // It was revoked meanwhile: each address moves once.
            return self.subscription_in(account, request, Action::Subscribe).await;
        };
        tracing::info!(%account, %old, %new, "a contact has moved");
        let say = |type_, to: &BareJid| Stanza::new(Kind::Presence(type_)).from(account.clone()).to(to.clone());
        // What is approved in advance is granted without asking (RFC 6121 section 3.4).
        let approval = say(PresenceType::Subscribed, new);
        self.subscription_out(account.clone(), approval, Action::Subscribed).await;
        self.subscription_in(account.clone(), request, Action::Subscribe).await;
        let revocation = say(PresenceType::Unsubscribed, old);
        self.subscription_out(account.clone(), revocation, Action::Unsubscribed).await;
        if before == Subscription::Both {
            let wish = say(PresenceType::Subscribe, new);
            self.subscription_out(account.clone(), wish, Action::Subscribe).await;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use xmpp::Stanza;
    use xmpp::limits::Limits;

    use super::{new_address, old_address};

    fn stanza(text: &str) -> Stanza {
        Stanza::parse(text.to_owned().into(), &Limits::server()).unwrap()
    }

    #[test]
    fn only_an_account_has_moved() {
        for (old, expected) in [
            ("juliet@im.example.net", Some("juliet@im.example.net")),
            (" Juliet@im.example.net\n", Some("juliet@im.example.net")),
            ("juliet@im.example.net/balcony", None),
            ("im.example.net", None),
            ("", None),
        ] {
            let text = format!(
                "<presence type='subscribe' from='a@b'><moved xmlns='urn:xmpp:moved:1'><old-jid>{old}</old-jid></moved></presence>"
            );
            assert_eq!(old_address(&stanza(&text)).map(|jid| jid.to_string()).as_deref(), expected, "{old}");
        }
    }

    #[test]
    fn what_counts_as_a_statement() {
        let item = |node: &str, id: &str, jid: &str| {
            format!(
                "<iq type='result' id='q' from='a@b'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='{node}'>\
                 <item id='{id}'><moved xmlns='urn:xmpp:moved:1'><new-jid>{jid}</new-jid></moved></item></items></pubsub></iq>"
            )
        };
        let error = |condition: &str, uri: &str| {
            format!(
                "<iq type='error' id='q' from='a@b'><error type='cancel'>\
                 <{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>{uri}</{condition}></error></iq>"
            )
        };
        for (answer, expected) in [
            (item("urn:xmpp:moved:1", "current", "new@c"), Some("new@c")),
            (item("urn:xmpp:moved:1", "other", "new@c"), None),
            (item("urn:xmpp:other", "current", "new@c"), None),
            (item("urn:xmpp:moved:1", "current", "new@c/resource"), None),
            (error("gone", "xmpp:new@c"), Some("new@c")),
            (error("gone", "xmpp:new@c?message"), Some("new@c")),
            (error("gone", ""), None),
            (error("gone", "mailto:new@c"), None),
            (error("item-not-found", ""), None),
            ("<iq type='result' id='q' from='a@b'/>".to_owned(), None),
        ] {
            assert_eq!(new_address(&stanza(&answer)).map(|jid| jid.to_string()).as_deref(), expected, "{answer}");
        }
    }
}
