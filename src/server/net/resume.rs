//! Stream management for clients, as far as it is more than words on a stream (XEP-0198): what a session is given
//! when it is enabled, and how a session that lost its stream goes on in another.
//!
//! Independent of who asks: the nonzas of XEP-0198 on a stream, or the same within SASL2 and Bind2.

use std::sync::Arc;

use xmpp::BareJid;
use xmpp::stream::{Enabled, ResumeFailed, Resumed};

use crate::house::House;
use crate::session::Session;

/// A session that goes on in another stream.
#[derive(Debug)]
pub struct Resumption {
    /// The session.
    pub session: Arc<Session>,
    /// What the stream machine is told.
    pub resumed: Resumed,
}

/// Stream management is enabled for `session`: what its stream is to be told. `resume` when the client wants to be
/// able to resume, `max` for how many seconds, if it says.
pub fn enable(_house: &House, _session: &Arc<Session>, _resume: bool, _max: Option<u32>) -> Enabled {
    Enabled::default()
}

/// Resumes the session of `account` whose stream had the identifier `previd` and of which the client handled `h`
/// stanzas.
///
/// # Errors
/// When there is no such session, or the client claims to have handled what it was not sent.
pub async fn resume(
    _house: &Arc<House>,
    _account: &BareJid,
    _previd: &str,
    _h: u32,
) -> Result<Resumption, ResumeFailed> {
    Err(ResumeFailed::not_found(None))
}
