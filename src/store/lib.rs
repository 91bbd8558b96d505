//! The memory: ordered keys and atomic, asserting batches. Knows no XMPP at all.
#![forbid(unsafe_code)]
