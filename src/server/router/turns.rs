//! Order among the stanzas of one sender on another server, when one of them is for many.
//!
//! Stanzas of different pairs of addresses may be handled side by side (RFC 6120 section 10.1 asks for order within a
//! pair). One that is for many (XEP-0033) belongs to as many pairs as it has recipients: it waits for those of its
//! sender that came before, and those that come after wait for it. Whoever hands stanzas over begins them in the order
//! in which they came.

use std::hash::{BuildHasher, RandomState};

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use xmpp::{Jid, Stanza, ns};

const TURNS: usize = 256;

/// Locks shared by all senders, so that nothing grows with them.
pub(super) struct Turns {
    turns: Vec<RwLock<()>>,
    hasher: RandomState,
}

impl Default for Turns {
    fn default() -> Self {
        Self { turns: (0..TURNS).map(|_| RwLock::default()).collect(), hasher: RandomState::new() }
    }
}

/// Held while a stanza is handled.
#[expect(dead_code, reason = "held, not looked at")]
pub(super) enum Turn<'a> {
    /// Nothing need be waited for: errors start nothing, and come from within as well.
    Any,
    /// Beside others for one.
    ForOne(RwLockReadGuard<'a, ()>),
    /// Alone.
    ForMany(RwLockWriteGuard<'a, ()>),
}

impl Turns {
    /// Waits for the turn of `stanza`. First come, first served.
    #[expect(clippy::indexing_slicing, reason = "the index is taken modulo the length")]
    pub(super) async fn of(&self, stanza: &Stanza) -> Turn<'_> {
        let (Some(from), false) = (&stanza.head.from, stanza.head.kind.is_error()) else { return Turn::Any };
        let at = usize::try_from(self.hasher.hash_one(from.as_bare_str()) % TURNS as u64).unwrap_or(0);
        let turn = &self.turns[at];
        let is_for_many =
            stanza.head.to.as_ref().is_some_and(Jid::is_domain) && stanza.content.has("addresses", ns::ADDRESS);
        if is_for_many { Turn::ForMany(turn.write().await) } else { Turn::ForOne(turn.read().await) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::{Turn, Turns};
    use xmpp::Stanza;
    use xmpp::limits::Limits;

    #[test]
    fn what_is_for_many_overtakes_nothing_and_is_not_overtaken() {
        let stanza = |text: &str| Stanza::parse(text.to_owned().into(), &Limits::server()).unwrap();
        let one = stanza("<message from='mercutio@verona.example/street' to='romeo@here.example'/>");
        let other = stanza("<presence from='mercutio@verona.example' to='nurse@here.example'/>");
        let many = stanza(
            "<message from='mercutio@verona.example' to='here.example'>\
             <addresses xmlns='http://jabber.org/protocol/address'/></message>",
        );
        let error = stanza("<message type='error' from='mercutio@verona.example' to='romeo@here.example'/>");
        let turns = Turns::default();
        let mut cx = Context::from_waker(Waker::noop());
        let mut begin = |stanza: &Stanza| match pin!(turns.of(stanza)).poll(&mut cx) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        };
        let first = begin(&one).unwrap();
        let second = begin(&other).unwrap();
        assert!(begin(&many).is_none(), "two came before");
        drop((first, second));
        let alone = begin(&many).unwrap();
        assert!(begin(&one).is_none() && begin(&many).is_none(), "it is not done");
        assert!(matches!(begin(&error), Some(Turn::Any)));
        drop(alone);
        assert!(begin(&one).is_some());

        let mut cx = Context::from_waker(Waker::noop());
        let first = pin!(turns.of(&one)).poll(&mut cx);
        let mut waiting = pin!(turns.of(&many));
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        assert!(pin!(turns.of(&other)).poll(&mut cx).is_pending(), "it came after the one for many");
        drop(first);
        assert!(waiting.poll(&mut cx).is_ready());
    }
}
