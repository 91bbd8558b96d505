//! Attributes by plain name while an element is built.

use minidom::ElementBuilder;
use minidom::rxml::NcName;

/// Lets an [`ElementBuilder`] take attribute names as they stand in our code.
pub trait WithAttribute: Sized {
    /// Sets an attribute of no namespace; nothing when there is no value. `name` must be an XML name without
    /// a colon; another is left out, and a debug build stops.
    #[must_use]
    fn attribute<'v>(self, name: &'static str, value: impl Into<Option<&'v str>>) -> Self;
}

impl WithAttribute for ElementBuilder {
    fn attribute<'v>(self, name: &'static str, value: impl Into<Option<&'v str>>) -> Self {
        let Some(value) = value.into() else { return self };
        let name = NcName::try_from(name);
        debug_assert!(name.is_ok(), "an attribute name of ours is not an XML name");
        match name {
            Ok(name) => self.attr(name, value),
            Err(_) => self,
        }
    }
}
