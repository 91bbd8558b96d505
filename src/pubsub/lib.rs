//! The library's rules: who may publish, read and subscribe; what changes; who must be told (XEP-0060, XEP-0163).
//!
//! Pure functions over plain data: no socket, disk, clock or chance.
#![forbid(unsafe_code)]
