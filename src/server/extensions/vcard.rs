//! XEP-0054: vcard-temp.
//!
//! Keeps a vCard for each account, unopened, and tells it to whoever asks. Avatars in PEP (XEP-0084) and vCard4
//! (XEP-0292) are kept by PEP; turning one into the other is another protocol's work.

use std::sync::Arc;

use xmpp::{BareJid, StanzaError, ns};

use crate::config::Config;
use crate::extension::{Answer, Asked, Extension, Kit, Listener, Mount, Pending, Reply, Spec, To, Xep, fault};
use crate::tables::elements::Vcards;

/// Keeps vCards.
pub struct Vcard {
    vcards: Vcards,
    bytes_max: usize,
}

static SPEC: Spec = Spec { name: "vcard", xeps: &[Xep::complete(54, "1.3.0")], config: "" };

impl Vcard {
    /// Keeps vCards of at most `limits.vcard_bytes_max` bytes.
    #[must_use]
    pub fn new(kit: &Kit, config: &Config) -> Arc<Self> {
        Arc::new(Self { vcards: Vcards::new(Arc::clone(&kit.store)), bytes_max: config.limits.vcard_bytes_max })
    }

    async fn get(self: Arc<Self>, asked: Asked) -> Answer {
        match self.vcards.get(asked.to.as_str()).await.map_err(|error| fault("vCards", &error))? {
            Some(bytes) => Ok(Reply::Bytes { name: "vCard", ns: ns::VCARD, bytes }),
            // Both answers are allowed where there is none (section 3.1, example 4); for others it must be the same
            // whether the account exists or not.
            None if asked.caller.owns(&asked.to) => {
                let empty = xmpp::Element::builder("vCard", ns::VCARD).build();
                Ok(Reply::Element(empty))
            }
            None => Err(StanzaError::service_unavailable()),
        }
    }

    async fn set(self: Arc<Self>, asked: Asked) -> Answer {
        // Nobody sets another's (section 3.2, example 8).
        asked.require_owner()?;
        let bytes = asked.payload().bytes();
        if bytes.len() > self.bytes_max {
            let text = format!("At most {} bytes are kept as a vCard", self.bytes_max);
            return Err(StanzaError::not_acceptable().with_text(text));
        }
        self.vcards.put(asked.to.as_str(), bytes).await.map_err(|error| fault("vCards", &error))?;
        Ok(Reply::Empty)
    }
}

impl Listener for Vcard {
    fn account_removed(&self, account: &BareJid) -> Pending<()> {
        let (vcards, account) = (self.vcards.clone(), account.clone());
        Pending::later(async move {
            if let Err(error) = vcards.delete(account.as_str()).await {
                let _told = fault("vCards", &error);
            }
        })
    }
}

impl Extension for Vcard {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        at.iq_get(To::ACCOUNT, ("vCard", ns::VCARD), &self, Self::get);
        at.iq_set(To::ACCOUNT, ("vCard", ns::VCARD), &self, Self::set);
        at.feature(To::DOMAIN, ns::VCARD);
        at.listener(self);
    }
}
