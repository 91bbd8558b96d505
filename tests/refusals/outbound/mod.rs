//! What becomes of our stanzas to other servers that are not as they should be.

pub mod certificates_they_show;
pub mod names;
pub mod negotiating;
pub mod stanzas_they_send;
