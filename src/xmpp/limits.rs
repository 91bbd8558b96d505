//! Every bound on what a stranger may send, in one place.
//!
//! RFC 6120 section 13.12 asks that a server be able to bound what one client can make it do, and that
//! `stanza_bytes_max` be no less than 10 000 bytes. What is over a bound ends the stream with
//! `policy-violation`. Bounds on rates and times belong to the server, which has a clock.

/// Bounds on the XML of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest stanza or other top-level element, in bytes from its `<` to its `>`.
    pub stanza_bytes_max: usize,
    /// The longest stream header with all that comes before it, in bytes.
    pub header_bytes_max: usize,
    /// How deep elements may be nested; a stanza itself is at depth 1.
    pub depth_max: usize,
    /// How many attributes, namespace declarations included, an element may have.
    pub attributes_max: usize,
    /// How many elements one stanza may contain, itself included.
    pub elements_max: usize,
    /// The longest name of an element or attribute, prefix included, in bytes.
    pub name_bytes_max: usize,
    /// The longest name of a namespace, in bytes: elements that use it repeat it in a tree.
    pub namespace_bytes_max: usize,
    /// How many namespace declarations may be in scope at once.
    pub declarations_max: usize,
}

impl Limits {
    /// What a client that has not logged in may send.
    #[must_use]
    pub const fn unauthenticated() -> Self {
        Self { stanza_bytes_max: 16 * 1024, depth_max: 16, elements_max: 128, ..Self::client() }
    }

    /// What a client that has logged in may send.
    #[must_use]
    pub const fn client() -> Self {
        Self {
            stanza_bytes_max: 256 * 1024,
            header_bytes_max: 4 * 1024,
            depth_max: 64,
            attributes_max: 64,
            elements_max: 8 * 1024,
            name_bytes_max: 256,
            namespace_bytes_max: 512,
            declarations_max: 128,
        }
    }

    /// What another server may send: more than a client, since it relays what its own clients were allowed.
    #[must_use]
    pub const fn server() -> Self {
        Self { stanza_bytes_max: 512 * 1024, elements_max: 16 * 1024, ..Self::client() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::client()
    }
}
