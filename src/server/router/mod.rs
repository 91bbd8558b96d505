//! Where stanzas go.

pub mod rules;
