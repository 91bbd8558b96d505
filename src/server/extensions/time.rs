//! XEP-0202: Entity Time.
//!
//! Tells the server's time in UTC, with an offset of zero: where the machine stands is not told.

use std::sync::Arc;

use xmpp::{Element, ns};

use crate::extension::{Answer, Asked, Extension, Kit, Mount, Reply, Spec, To, Xep};
use crate::runtime::{Clock, rfc3339};

/// Answers what time it is.
pub struct Time {
    clock: Arc<dyn Clock>,
}

static SPEC: Spec = Spec { name: "time", xeps: &[Xep::complete(202, "2.0")], config: "" };

impl Time {
    /// Tells the time of the kit's clock.
    #[must_use]
    pub fn new(kit: &Kit) -> Arc<Self> {
        Arc::new(Self { clock: Arc::clone(&kit.clock) })
    }

    async fn tell(self: Arc<Self>, _: Asked) -> Answer {
        let part = |name: &str, text: String| Element::builder(name, ns::TIME).append(text).build();
        let time = Element::builder("time", ns::TIME)
            .append(part("tzo", "+00:00".to_owned()))
            .append(part("utc", rfc3339(self.clock.now())))
            .build();
        Ok(Reply::Element(time))
    }
}

impl Extension for Time {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        at.iq_get(To::DOMAIN, ("time", ns::TIME), &self, Self::tell);
    }
}
