//! The stream machine: for now only the conditions that others name.

/// RFC 6120 section 4.9.3, as far as it is named elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Section 4.9.3.3.
    Conflict,
    /// Section 4.9.3.4.
    ConnectionTimeout,
    /// Section 4.9.3.10.
    InternalServerError,
    /// Section 4.9.3.12.
    NotAuthorized,
    /// Section 4.9.3.17.
    ResourceConstraint,
    /// Section 4.9.3.19.
    SystemShutdown,
}
