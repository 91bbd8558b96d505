//! XEP-0092: Software Version.
//!
//! Tells name and version. The operating system, which the specification leaves optional, is nobody's business.

use std::sync::Arc;

use xmpp::{Element, ns};

use crate::extension::{Answer, Asked, Extension, Mount, Reply, Spec, To, Xep};

/// Answers what software this is.
#[derive(Debug)]
pub struct Version;

static SPEC: Spec = Spec { name: "version", xeps: &[Xep::complete(92, "1.1")], config: "" };

impl Extension for Version {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        at.iq_get(To::DOMAIN, ("query", ns::VERSION), &self, Self::tell);
    }
}

impl Version {
    async fn tell(self: Arc<Self>, _: Asked) -> Answer {
        let part = |name: &str, text: &str| Element::builder(name, ns::VERSION).append(text).build();
        let query = Element::builder("query", ns::VERSION)
            .append(part("name", "Chirrup"))
            .append(part("version", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Reply::Element(query))
    }
}
