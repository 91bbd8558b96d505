//! Presence probes (RFC 6121 section 4.3.2, and 4.6.6 for directed presence).

use xmpp::stanza::{Kind, PresenceType};
use xmpp::{Jid, Stanza};

use super::Presence;
use super::announce::unavailable;
use crate::router::Router;

impl Presence {
    /// Answers a probe from `viewer` to an account of ours or one of its resources.
    ///
    /// Who may not see the account's presence gets the same answer whether the account exists or not.
    pub(super) async fn probed(&self, router: &Router, to: &Jid, viewer: &Jid, probe: Stanza) {
        let account = to.to_bare();
        let may_see = viewer.as_bare_str() == account.as_str()
            || match self.books.open(&account).await {
                Ok(book) => book.is_seen_by(viewer.as_bare_str()),
                Err(error) => {
                    tracing::error!(%account, %error, "a probe is not answered");
                    return;
                }
            };
        let session = to.to_full().and_then(|full| router.sessions.find(&full));
        if let Some(full) = to.to_full() {
            let was_directed = session.as_ref().is_some_and(|session| {
                let state = session.state();
                state.directed.contains(viewer.as_str()) || state.directed.contains(viewer.as_bare_str())
            });
            let is_available = session.is_some_and(|session| session.state().available.is_some());
            if may_see || was_directed {
                // Only that it is there, and nothing of what it says (sections 4.3.2 and 4.6.6).
                let answer = if was_directed || is_available {
                    Stanza::new(Kind::Presence(PresenceType::Available)).from(full)
                } else {
                    unavailable(&full)
                };
                return self.answer(answer, viewer, &probe).await;
            }
        } else if may_see {
            let is_here = router.sessions.of(account.as_str()).iter().any(|session| session.priority().is_some());
            if is_here {
                return self.announcer.disclose(&account, viewer).await;
            }
            let answer = Stanza::new(Kind::Presence(PresenceType::Unavailable)).from(account);
            return self.answer(answer, viewer, &probe).await;
        }
        let answer = Stanza::new(Kind::Presence(PresenceType::Unsubscribed)).from(account);
        self.answer(answer, viewer, &probe).await;
    }

    async fn answer(&self, mut answer: Stanza, viewer: &Jid, probe: &Stanza) {
        // Section 4.3.2.1: the id of the probe, since there is no presence stanza to take one from.
        answer.head.id.clone_from(&probe.head.id);
        self.announcer.send(answer.to(viewer.clone())).await;
    }
}
