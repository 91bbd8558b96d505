//! What an extension claims: which specifications it follows, how far, and its part of the configuration file.
//!
//! The pages in `xeps/`, the table in `xeps/README.md` and `doap.xml` are held against these claims by a test.

/// An extension's claims.
#[derive(Debug)]
pub struct Spec {
    /// Its common word, as its file is named.
    pub name: &'static str,
    /// The specifications it follows.
    pub xeps: &'static [Xep],
    /// Its section of `config.example.toml`: every key with its default and one line of explanation; or empty.
    pub config: &'static str,
}

/// One XMPP Extension Protocol, as far as it is served.
#[derive(Debug, PartialEq, Eq)]
pub struct Xep {
    /// Its number.
    pub number: u16,
    /// The version followed.
    pub version: &'static str,
    /// How far.
    pub support: Support,
}

/// How much of a specification is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Everything that concerns a server.
    Complete,
    /// What its page says.
    Partial,
    /// Nothing, and its page says what serves instead.
    Declined,
}

impl Xep {
    /// Everything in `version` of XEP-`number` that concerns a server.
    #[must_use]
    pub const fn complete(number: u16, version: &'static str) -> Self {
        Self { number, version, support: Support::Complete }
    }

    /// A part of it, which its page delimits.
    #[must_use]
    pub const fn partial(number: u16, version: &'static str) -> Self {
        Self { number, version, support: Support::Partial }
    }

    /// Nothing of XEP-`number`, for reasons that its page gives; `version` is the one that was read.
    #[must_use]
    pub const fn declined(number: u16, version: &'static str) -> Self {
        Self { number, version, support: Support::Declined }
    }
}
