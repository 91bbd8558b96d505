//! What ends a stream, as a table (RFC 6120 section 4.9).

use std::borrow::Cow;
use std::fmt;

use crate::xml::{XmlError, escape_text, write_attr};
use crate::{Element, ns};

macro_rules! conditions {
    ($($(#[$doc:meta])+ $variant:ident => $name:literal,)+) => {
        /// The defined conditions (RFC 6120 section 4.9.3). `see-other-host` is absent: nothing here
        /// redirects, and one that is received reads as `undefined-condition`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Condition {
            $($(#[$doc])+ $variant,)+
        }

        impl Condition {
            /// Every condition.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The element's name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

conditions! {
    /// XML that cannot be processed, where nothing more specific fits.
    BadFormat => "bad-format",
    /// A namespace prefix that is not supported.
    BadNamespacePrefix => "bad-namespace-prefix",
    /// Another stream has taken this one's place.
    Conflict => "conflict",
    /// The peer has gone silent.
    ConnectionTimeout => "connection-timeout",
    /// The domain is no longer served here.
    HostGone => "host-gone",
    /// The domain is not served here.
    HostUnknown => "host-unknown",
    /// A stanza between servers lacks an address or has a bad one.
    ImproperAddressing => "improper-addressing",
    /// Ours.
    InternalServerError => "internal-server-error",
    /// `from` is not who the peer has proven to be.
    InvalidFrom => "invalid-from",
    /// The stream's or the content's namespace is not supported.
    InvalidNamespace => "invalid-namespace",
    /// XML that a schema refuses.
    InvalidXml => "invalid-xml",
    /// Stanzas before authentication.
    NotAuthorized => "not-authorized",
    /// Not XML.
    NotWellFormed => "not-well-formed",
    /// Against a rule of this service: a bound, for instance.
    PolicyViolation => "policy-violation",
    /// A server needed for this stream cannot be reached.
    RemoteConnectionFailed => "remote-connection-failed",
    /// The stream must be negotiated again.
    Reset => "reset",
    /// Too much is going on.
    ResourceConstraint => "resource-constraint",
    /// Comments, processing instructions, document types, entities.
    RestrictedXml => "restricted-xml",
    /// The server goes down.
    SystemShutdown => "system-shutdown",
    /// None of the others.
    UndefinedCondition => "undefined-condition",
    /// Not UTF-8.
    UnsupportedEncoding => "unsupported-encoding",
    /// A mandatory feature is not supported.
    UnsupportedFeature => "unsupported-feature",
    /// A top-level element that is no stanza and nothing we know.
    UnsupportedStanzaType => "unsupported-stanza-type",
    /// A version of XMPP other than 1.
    UnsupportedVersion => "unsupported-version",
}

/// An error that ends a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamError {
    /// What.
    pub condition: Condition,
    /// In words, for logs.
    pub text: Option<Cow<'static, str>>,
    /// An application-specific condition: name and namespace of an element without content.
    pub specific: Option<(&'static str, &'static str)>,
    /// The attributes of that element.
    pub numbers: Vec<(&'static str, u32)>,
}

impl StreamError {
    /// An error without words.
    #[must_use]
    pub const fn new(condition: Condition) -> Self {
        Self { condition, text: None, specific: None, numbers: Vec::new() }
    }

    /// Adds words.
    #[must_use]
    pub fn with_text(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// Appends `<stream:error/>`.
    pub fn render_into(&self, out: &mut Vec<u8>) {
        let tag = |out: &mut Vec<u8>, name: &str, ns: &str| {
            out.extend_from_slice(["<", name, " xmlns='", ns, "'"].concat().as_bytes());
        };
        out.extend_from_slice(b"<stream:error>");
        tag(out, self.condition.name(), ns::STREAM_ERRORS);
        out.extend_from_slice(b"/>");
        if let Some(text) = &self.text {
            tag(out, "text", ns::STREAM_ERRORS);
            out.extend_from_slice(b" xml:lang='en'>");
            escape_text(out, text);
            out.extend_from_slice(b"</text>");
        }
        if let Some((name, ns)) = self.specific {
            tag(out, name, ns);
            for (name, number) in &self.numbers {
                write_attr(out, name, &number.to_string());
            }
            out.extend_from_slice(b"/>");
        }
        out.extend_from_slice(b"</stream:error>");
    }

    /// Reads the children of a peer's `<stream:error/>`. A condition we do not know is `undefined-condition`,
    /// as RFC 6120 section 4.9.2 demands.
    #[must_use]
    pub fn parse(error: &Element) -> Self {
        let mut found = Self::new(Condition::UndefinedCondition);
        for child in error.children().filter(|child| child.has_ns(ns::STREAM_ERRORS)) {
            if child.name() == "text" {
                found.text = Some(clipped(&child.text()).to_owned().into());
            } else if child.name() == "see-other-host" {
                // Not followed: who redirects may be anybody. For a log it is worth knowing.
                let text = format!("see-other-host {}", clipped(&child.text()));
                found.text.get_or_insert(text.into());
            } else if let Some(condition) = Condition::ALL.iter().find(|condition| condition.name() == child.name()) {
                found.condition = *condition;
            }
        }
        found
    }
}

/// The beginning of what a peer says in words: as much as a log can bear.
pub(super) fn clipped(text: &str) -> &str {
    let mut end = text.len().min(512);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or(text)
}

impl From<Condition> for StreamError {
    fn from(condition: Condition) -> Self {
        Self::new(condition)
    }
}

impl From<XmlError> for StreamError {
    fn from(error: XmlError) -> Self {
        let name = error.condition_name();
        let condition = Condition::ALL.iter().copied().find(|condition| condition.name() == name);
        let mut found = Self::new(condition.unwrap_or(Condition::BadFormat)).with_text(error.to_string());
        if error == XmlError::TooBig {
            // As RFC 6120 section 4.9.3.14 prints it.
            found.specific = Some(("stanza-too-big", "urn:xmpp:errors"));
        }
        found
    }
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.condition.name())?;
        match &self.text {
            Some(text) => write!(f, " ({text})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for StreamError {}
