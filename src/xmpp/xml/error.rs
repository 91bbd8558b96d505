//! Why bytes are refused, and which stream error says so (RFC 6120 section 4.9.3).

use std::fmt;

/// Why bytes are not the XML we accept. Each ends the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum XmlError {
    /// Not well-formed by XML 1.0 or by Namespaces in XML.
    NotWellFormed,
    /// A comment, a processing instruction, a document type or a reference to an entity other than the five
    /// predefined ones (RFC 6120 section 11.1).
    Restricted,
    /// Not UTF-8 (RFC 6120 section 11.6).
    BadEncoding,
    /// An XML declaration for a version other than 1.0.
    UnsupportedVersion,
    /// Character data between stanzas, or a first element that is no stream header.
    BadFormat,
    /// The stream header is not in the namespace of streams.
    InvalidNamespace,
    /// A stanza's `from` is no address.
    InvalidFrom,
    /// Longer than [`stanza_bytes_max`](crate::limits::Limits::stanza_bytes_max) or, for the header,
    /// [`header_bytes_max`](crate::limits::Limits::header_bytes_max).
    TooBig,
    /// Nested deeper than [`depth_max`](crate::limits::Limits::depth_max).
    TooDeep,
    /// More attributes than [`attributes_max`](crate::limits::Limits::attributes_max) on one element, or
    /// more declarations in scope than [`declarations_max`](crate::limits::Limits::declarations_max).
    TooManyAttributes,
    /// More elements than [`elements_max`](crate::limits::Limits::elements_max) in one stanza.
    TooManyElements,
    /// A name longer than [`name_bytes_max`](crate::limits::Limits::name_bytes_max).
    NameTooLong,
}

impl XmlError {
    /// The name of the stream error's condition, as RFC 6120 section 4.9.3 has it.
    #[must_use]
    pub const fn condition_name(self) -> &'static str {
        match self {
            Self::NotWellFormed => "not-well-formed",
            Self::Restricted => "restricted-xml",
            Self::BadEncoding => "unsupported-encoding",
            Self::UnsupportedVersion | Self::BadFormat => "bad-format",
            Self::InvalidNamespace => "invalid-namespace",
            Self::InvalidFrom => "invalid-from",
            Self::TooBig | Self::TooDeep | Self::TooManyAttributes | Self::TooManyElements | Self::NameTooLong => {
                "policy-violation"
            }
        }
    }
}

impl fmt::Display for XmlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotWellFormed => "the XML is not well-formed",
            Self::Restricted => "comments, processing instructions, document types and entities are not allowed",
            Self::BadEncoding => "the stream is not UTF-8",
            Self::UnsupportedVersion => "the XML declaration is not one of XML 1.0",
            Self::BadFormat => "this is not an XMPP stream",
            Self::InvalidNamespace => "the stream header is not in the namespace of XMPP streams",
            Self::InvalidFrom => "the sender's address is not an address",
            Self::TooBig => "the element is too big",
            Self::TooDeep => "the elements are nested too deep",
            Self::TooManyAttributes => "an element has too many attributes or namespace declarations",
            Self::TooManyElements => "the stanza has too many elements",
            Self::NameTooLong => "a name is too long",
        })
    }
}

impl std::error::Error for XmlError {}
