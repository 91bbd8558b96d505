//! What an element inherits from the stream header: its namespaces and its language.

use std::borrow::Cow;

use crate::ns;

/// Namespaces and language in force where an element stands (RFC 6120 sections 4.7.4 and 4.8).
///
/// The usual header, with `jabber:client` or `jabber:server` as default namespace and `stream` as the only
/// prefix, allocates nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The namespace stanzas are in: `jabber:client` or `jabber:server`.
    pub content_ns: Cow<'static, str>,
    /// The default namespace, empty if there is none.
    pub default_ns: Cow<'static, str>,
    /// The language of stanzas that name none.
    pub lang: Option<Box<str>>,
    pub(super) prefixes: Prefixes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Prefixes {
    None,
    /// `stream`, for the namespace of streams, and no other.
    Usual,
    /// Prefix and namespace.
    These(Box<[(Box<str>, Box<str>)]>),
}

impl Context {
    /// The usual client stream.
    #[must_use]
    pub const fn client() -> Self {
        Self {
            content_ns: Cow::Borrowed(ns::CLIENT),
            default_ns: Cow::Borrowed(ns::CLIENT),
            lang: None,
            prefixes: Prefixes::Usual,
        }
    }

    /// The usual server stream.
    #[must_use]
    pub const fn server() -> Self {
        Self {
            content_ns: Cow::Borrowed(ns::SERVER),
            default_ns: Cow::Borrowed(ns::SERVER),
            lang: None,
            prefixes: Prefixes::Usual,
        }
    }

    /// The same with a default language.
    #[must_use]
    pub fn with_lang(mut self, lang: impl Into<Box<str>>) -> Self {
        self.lang = Some(lang.into());
        self
    }

    /// Nothing but a default namespace: where finished bytes stand inside an element.
    #[must_use]
    pub(crate) fn bare(default_ns: &str) -> Self {
        let default_ns = known(default_ns);
        Self { content_ns: default_ns.clone(), default_ns, lang: None, prefixes: Prefixes::None }
    }

    /// Whether a prefix stands for this namespace: before there were features, some were announced so.
    #[must_use]
    pub(crate) fn declares(&self, ns: &str) -> bool {
        self.prefixes().any(|(_, declared)| declared == ns)
    }

    /// The prefixes in force, with their namespaces.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = (&str, &str)> {
        let usual = matches!(self.prefixes, Prefixes::Usual).then_some(("stream", ns::STREAM));
        let these = match &self.prefixes {
            Prefixes::These(these) => &**these,
            _ => &[],
        };
        usual.into_iter().chain(these.iter().map(|(prefix, ns)| (&**prefix, &**ns)))
    }
}

impl Default for Context {
    fn default() -> Self {
        Self::client()
    }
}

/// A namespace without an allocation if it is one of the three that streams are made of.
pub(super) fn known(ns: &str) -> Cow<'static, str> {
    match ns {
        "" => Cow::Borrowed(""),
        ns::CLIENT => Cow::Borrowed(ns::CLIENT),
        ns::SERVER => Cow::Borrowed(ns::SERVER),
        ns::STREAM => Cow::Borrowed(ns::STREAM),
        _ => Cow::Owned(ns.to_owned()),
    }
}
