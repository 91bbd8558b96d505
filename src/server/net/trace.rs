//! What happens on the way to another server, in plain language: one line for each step, for whoever wants to see.
//!
//! `chirrup check connectivity` prints the lines; an ordinary link keeps none, and then none is even written.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// A place for lines such as "connected to 192.0.2.1:5269". Cheap to clone; clones share the place.
#[derive(Clone, Default)]
pub struct Trace(Option<Arc<dyn Fn(String) + Send + Sync>>);

impl Trace {
    /// Keeps nothing.
    #[must_use]
    pub fn silent() -> Self {
        Self(None)
    }

    /// Gives every line to `sink`, as it happens. Must not block.
    pub fn to(sink: impl Fn(String) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(sink)))
    }

    /// Collects the lines.
    #[must_use]
    pub fn kept() -> (Self, Arc<Mutex<Vec<String>>>) {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        (Self::to(move |line| kept.lock().unwrap_or_else(PoisonError::into_inner).push(line)), lines)
    }

    /// Adds a line; `line` is not called when nobody wants to see it.
    pub fn say(&self, line: impl FnOnce() -> String) {
        if let Some(sink) = &self.0 {
            sink(line());
        }
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Trace(seen)" } else { "Trace(silent)" })
    }
}
