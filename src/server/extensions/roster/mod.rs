//! The roster (RFC 6121 section 2) and presence subscriptions (section 3).

pub mod subscription;
