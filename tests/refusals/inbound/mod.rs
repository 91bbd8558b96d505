//! What other servers do that connect to us.

pub mod certificates_shown_to_us;
pub mod dialback;
pub mod negotiation;
pub mod stanzas;
