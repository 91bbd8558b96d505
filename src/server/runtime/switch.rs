//! The switch that stops a house from within: whoever runs it waits for it beside signals.

use tokio::sync::watch;

/// Why a house is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// For good.
    ShutDown,
    /// To begin anew.
    Restart,
}

/// Thrown once.
#[derive(Debug)]
pub struct Switch(watch::Sender<Option<Stop>>);

impl Default for Switch {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Switch {
    /// Throws it. The first one counts.
    pub fn throw(&self, stop: Stop) {
        self.0.send_if_modified(|thrown| thrown.is_none() && thrown.replace(stop).is_none());
    }

    /// Waits until it is thrown.
    pub async fn thrown(&self) -> Stop {
        let mut thrown = self.0.subscribe();
        // The sender is ours, so there is always a value to come.
        let found = thrown.wait_for(Option::is_some).await;
        found.ok().and_then(|stop| *stop).unwrap_or(Stop::ShutDown)
    }
}

#[cfg(test)]
mod tests {
    use super::{Stop, Switch};

    #[tokio::test]
    async fn the_first_one_counts() {
        let switch = Switch::default();
        switch.throw(Stop::Restart);
        switch.throw(Stop::ShutDown);
        assert_eq!(switch.thrown().await, Stop::Restart);
    }
}
