//! Messages in the names of accounts, or of the host (XEP-0356 section 5).

use std::sync::Arc;

use xmpp::stanza::Kind;
use xmpp::{Jid, Stanza, StanzaError, ns};

use super::{Privileges, forwarded};
use crate::config::components::MessageAccess;
use crate::extension::Caller;

impl Privileges {
    /// Sends what a component says in somebody's name, or answers why not.
    pub(super) async fn privileged_message(self: Arc<Self>, stanza: Stanza) {
        let Some(router) = self.router.upgrade() else { return };
        match self.in_the_name_of(&stanza).await {
            Ok((from, message)) => {
                tracing::debug!(component = ?stanza.head.from, %from, "a message in somebody's name");
                router.route(Caller { jid: from, session: None }, message).await;
            }
            Err(error) => router.bounce(&stanza, &error).await,
        }
    }

    /// "Forwarded message 'from' attribute MUST be a bare JID from the server, no resource is allowed."
    async fn in_the_name_of(&self, stanza: &Stanza) -> Result<(Jid, Stanza), StanzaError> {
        let (Some(caller), Some(to)) = (&stanza.head.from, &stanza.head.to) else {
            return Err(StanzaError::bad_request());
        };
        let host = to.to_bare();
        let privileged = self.of(caller, &host).ok_or_else(StanzaError::forbidden)?;
        if privileged.rules.message != MessageAccess::Outgoing {
            return Err(StanzaError::forbidden());
        }
        let privilege = stanza.content.child("privilege", ns::PRIVILEGE).ok_or_else(StanzaError::bad_request)?;
        let privilege = privilege.open().map_err(|_| StanzaError::bad_request())?;
        let message = forwarded(&privilege, "message")?;
        let from = message.head.from.clone().filter(|from| from.is_bare() && from.domain() == host.domain());
        let (Kind::Message(_), Some(from)) = (message.head.kind, from) else { return Err(StanzaError::forbidden()) };
        if from.localpart().is_some() {
            self.require_account(&from.to_bare()).await?;
        }
        Ok((from, message))
    }
}
