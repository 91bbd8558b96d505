//! XEP-0441: Message Archive Management Preferences.

use std::sync::Arc;

use xmpp::xml::WithAttribute as _;
use xmpp::{Element, Jid, StanzaError, ns};

use super::Service;
use crate::extension::{Answer, Asked, Reply, fault};
use crate::tables::archive::{Policy, Preferences};

impl Service {
    pub(super) async fn preferences(self: Arc<Self>, asked: Asked) -> Answer {
        asked.require_owner()?;
        let ledger = self.open(&asked.to).await?;
        Ok(Reply::Element(render(&ledger.preferences())))
    }

    pub(super) async fn prefer(self: Arc<Self>, asked: Asked) -> Answer {
        asked.require_owner()?;
        let mut preferences = parse(&asked.open()?, self.archive.settings.preferences_max)?;
        let ledger = self.open(&asked.to).await?;
        // This protocol does not know of it, so it does not change it.
        preferences.days_max = ledger.preferences().days_max;
        let answer = render(&preferences);
        let kept = self.archive.ledgers.prefer(&ledger, preferences).await;
        kept.map_err(|error| fault("archiving preferences", &error))?;
        Ok(Reply::Element(answer))
    }
}

fn parse(prefs: &Element, addresses_max: usize) -> Result<Preferences, StanzaError> {
    let default = prefs.attr("default").and_then(Policy::parse);
    let default = default.ok_or_else(|| {
        StanzaError::bad_request().with_text("the default is one of \"always\", \"never\" and \"roster\"")
    })?;
    let list = |name: &str| -> Result<Vec<Jid>, StanzaError> {
        let Some(list) = prefs.get_child(name, ns::ARCHIVE) else { return Ok(Vec::new()) };
        let mut jids = Vec::new();
        for jid in list.children().filter(|child| child.is("jid", ns::ARCHIVE)) {
            if jids.len() >= addresses_max {
                return Err(too_many(addresses_max));
            }
            jids.push(Jid::new(jid.text().trim()).map_err(|_| StanzaError::jid_malformed())?);
        }
        jids.sort_unstable();
        jids.dedup();
        Ok(jids)
    };
    let preferences = Preferences { default, always: list("always")?, never: list("never")?, days_max: 0 };
    if preferences.always.len() + preferences.never.len() > addresses_max {
        return Err(too_many(addresses_max));
    }
    Ok(preferences)
}

fn too_many(addresses_max: usize) -> StanzaError {
    StanzaError::not_acceptable().with_text(format!("at most {addresses_max} addresses can be listed"))
}

fn render(preferences: &Preferences) -> Element {
    let list = |name: &str, jids: &[Jid]| {
        let jid = |jid: &Jid| Element::builder("jid", ns::ARCHIVE).append(jid.as_str()).build();
        Element::builder(name, ns::ARCHIVE).append_all(jids.iter().map(jid)).build()
    };
    Element::builder("prefs", ns::ARCHIVE)
        .attribute("default", preferences.default.name())
        .append(list("always", &preferences.always))
        .append(list("never", &preferences.never))
        .build()
}
