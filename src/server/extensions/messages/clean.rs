//! What is taken out of messages because only we may say it: ids in our archives (XEP-0359 section 3, rule 2), when we
//! held a message up (XEP-0203), and copies of other messages (XEP-0280 section 11: they "MUST be ignored").

use xmpp::stanza::{Child, Content};
use xmpp::{Jid, Stanza, ns};

use crate::session::Session;

/// A message for a local account. `None` when it was nothing but a forgery.
pub(super) fn arriving(sender: Option<&Session>, mut stanza: Stanza) -> Option<Stanza> {
    let Some(to) = &stanza.head.to else { return Some(stanza) };
    let (account, domain) = (to.as_bare_str(), to.domain());
    let sender = sender.map(|sender| sender.jid.as_bare_str());
    let content = without(&stanza.content, |child| match (child.name(), child.ns()) {
        ("sent" | "received", ns::CARBONS) => true,
        ("stanza-id", ns::STANZA_IDS) => is_by(child, account) || sender.is_some_and(|sender| is_by(child, sender)),
        ("delay", ns::DELAY) => child.open().is_ok_and(|delay| delay.attr("from") == Some(domain)),
        _ => false,
    });
    if let Some(content) = content {
        content.children().next()?;
        stanza.content = content;
    }
    Some(stanza)
}

/// A message of ours for another server.
pub(super) fn departing(sender: &Session, mut stanza: Stanza) -> Stanza {
    let account = sender.jid.as_bare_str();
    let is_ours = |child: &Child| child.is("stanza-id", ns::STANZA_IDS) && is_by(child, account);
    if let Some(content) = without(&stanza.content, is_ours) {
        stanza.content = content;
    }
    stanza
}

/// Whether a stanza-id says that `account` gave it, however the address is written.
pub(super) fn is_by(child: &Child, account: &str) -> bool {
    child.open().is_ok_and(|id| {
        id.attr("by").is_some_and(|by| by == account || Jid::new(by).is_ok_and(|by| by.as_str() == account))
    })
}

/// `None` when nothing is to be taken out, which is the rule.
fn without(content: &Content, mut is_forged: impl FnMut(&Child) -> bool) -> Option<Content> {
    if !content.children().any(&mut is_forged) {
        return None;
    }
    Some(content.without(is_forged))
}
