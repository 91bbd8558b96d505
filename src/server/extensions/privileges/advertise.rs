//! What a component is told of its privileges when it connects (XEP-0356 sections 4.2, 5.2, 6.2, 7.2).

use xmpp::stanza::{Kind, MessageType};
use xmpp::xml::WithAttribute as _;
use xmpp::{BareJid, Element, Jid, Stanza, ns};

use crate::config::components::{Access, MessageAccess, PresenceAccess, Privileges};

/// The message to a component; `None` if its domain is no address.
pub(super) fn message(host: &BareJid, domain: &str, rules: &Privileges, id: &str) -> Option<Stanza> {
    let to = Jid::new(domain).ok()?;
    let perm = |access: &str| Element::builder("perm", ns::PRIVILEGE).attribute("access", access);
    let mut privilege = Element::builder("privilege", ns::PRIVILEGE);
    if rules.roster != Access::None {
        let push = if rules.pushes_roster() { "true" } else { "false" };
        privilege =
            privilege.append(perm("roster").attribute("type", rules.roster.name()).attribute("push", push).build());
    }
    if rules.message == MessageAccess::Outgoing {
        privilege = privilege.append(perm("message").attribute("type", "outgoing").build());
    }
    if !rules.iq.is_empty() {
        let namespaces = rules.iq.iter().map(|rule| {
            let namespace = Element::builder("namespace", ns::PRIVILEGE).attribute("ns", rule.namespace.as_str());
            namespace.attribute("type", rule.access.name()).build()
        });
        privilege = privilege.append(perm("iq").append_all(namespaces).build());
    }
    let presence = match rules.presence {
        PresenceAccess::None => None,
        PresenceAccess::ManagedEntity => Some("managed_entity"),
        PresenceAccess::Roster => Some("roster"),
    };
    if let Some(type_) = presence {
        privilege = privilege.append(perm("presence").attribute("type", type_).build());
    }
    let stanza = Stanza::new(Kind::Message(MessageType::Normal)).from(host.clone()).to(to).id(id);
    Some(stanza.with(&privilege.build()))
}
