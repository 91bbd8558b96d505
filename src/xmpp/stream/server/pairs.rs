//! What has been proven on a stream, in both directions, and what is being asked.

use super::event::Pair;

/// The pairs of one stream. Every list is bounded by [`Settings::pairs_max`](super::Settings) where it grows.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    /// A domain the peer has proven to be by SASL: from it to every domain of ours.
    pub(super) external: Option<Box<str>>,
    /// What the peer has proven by dialback, from a domain of its own to one of ours; sorted.
    heard: Vec<Pair>,
    /// What we have proven, from a domain of ours to one of the peer's; sorted.
    spoken: Vec<Pair>,
    /// What the peer asks for by dialback, not answered yet.
    pub(super) asked_of_us: Vec<Pair>,
    /// What we ask for by dialback, not answered yet.
    pub(super) asked_by_us: Vec<Pair>,
    /// Keys the peer is asked about: the pair asserted and the identifier of the stream it was asserted on.
    pub(super) questions: Vec<(Pair, Box<str>)>,
    /// Whether stanzas may go both ways.
    pub(super) is_bidi: bool,
}

impl Pairs {
    pub(super) const fn is_any_proven(&self) -> bool {
        self.external.is_some() || !self.heard.is_empty() || !self.spoken.is_empty()
    }

    /// Whether the peer has proven anything.
    pub(super) const fn is_any_heard(&self) -> bool {
        self.external.is_some() || !self.heard.is_empty()
    }

    pub(super) fn has_heard(&self, from: &str, to: &str) -> bool {
        has(&self.heard, from, to)
    }

    pub(super) fn has_spoken(&self, from: &str, to: &str) -> bool {
        has(&self.spoken, from, to)
    }

    /// Whether stanzas of a pair are to be taken. That `to` is ours is for the caller to see.
    pub(super) fn may_hear(&self, from: &str, to: &str) -> bool {
        self.external.as_deref() == Some(from)
            || has(&self.heard, from, to)
            || self.is_bidi && has(&self.spoken, to, from)
    }

    /// Whether stanzas of a pair may be sent (XEP-0288 section 2.2): with SASL and bidi only from the domain the
    /// stream is to, `local`.
    pub(super) fn may_send(&self, from: &str, to: &str, local: &str) -> bool {
        let is_answer = || has(&self.heard, to, from) || from == local && self.external.as_deref() == Some(to);
        has(&self.spoken, from, to) || self.is_bidi && is_answer()
    }

    /// Whether the peer is this domain for some domain of ours.
    pub(super) fn is_peer(&self, domain: &str) -> bool {
        self.external.as_deref() == Some(domain)
            || self.heard.iter().any(|pair| *pair.from == *domain)
            || self.is_bidi && self.spoken.iter().any(|pair| *pair.to == *domain)
    }

    /// Whether the peer has taken stanzas for this domain, or has been asked to.
    pub(super) fn is_target(&self, domain: &str) -> bool {
        self.spoken.iter().chain(&self.asked_by_us).any(|pair| *pair.to == *domain)
    }

    /// How many pairs the peer has or asks for.
    pub(super) fn of_peer(&self) -> usize {
        self.heard.len() + self.asked_of_us.len()
    }

    /// How many pairs we have or ask for.
    pub(super) fn of_us(&self) -> usize {
        self.spoken.len() + self.asked_by_us.len()
    }

    pub(super) fn hear(&mut self, pair: Pair) {
        insert(&mut self.heard, pair);
    }

    pub(super) fn speak(&mut self, pair: Pair) {
        insert(&mut self.spoken, pair);
    }

    /// Takes a pair out of one of the lists of questions.
    pub(super) fn take(list: &mut Vec<Pair>, pair: &Pair) -> bool {
        let found = list.iter().position(|asked| asked == pair);
        found.map(|at| list.swap_remove(at)).is_some()
    }
}

fn place(list: &[Pair], from: &str, to: &str) -> Result<usize, usize> {
    list.binary_search_by(|pair| (&*pair.from, &*pair.to).cmp(&(from, to)))
}

fn has(list: &[Pair], from: &str, to: &str) -> bool {
    place(list, from, to).is_ok()
}

fn insert(list: &mut Vec<Pair>, pair: Pair) {
    if let Err(at) = place(list, &pair.from, &pair.to) {
        list.insert(at, pair);
    }
}
