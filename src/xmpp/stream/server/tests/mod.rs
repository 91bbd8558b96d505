//! Conversations between servers.
