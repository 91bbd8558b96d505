//! One file or folder per protocol.

pub mod roster;
