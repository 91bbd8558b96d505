//! XEP-0465: the names of the nodes on which public subscriptions are listed, and which node decides who reads one.
//!
//! What is listed there, and when, is the server's affair; here it is only known by its name.

use super::attachments::is_kept;

/// Whose items are what an account publicly subscribed to.
pub const SUBSCRIPTIONS: &str = "urn:xmpp:pps:subscriptions:0";
/// Before the name of a node: whose items are who publicly subscribed to it.
pub const SUBSCRIBERS: &str = "urn:xmpp:pps:subscribers:0/";

/// Whether only the server changes the items of a node.
#[must_use]
pub fn is_list(node: &str) -> bool {
    node == SUBSCRIPTIONS || node.starts_with(SUBSCRIBERS)
}

/// The node whose public subscribers a node of that name lists.
#[must_use]
pub fn listed(node: &str) -> Option<&str> {
    node.strip_prefix(SUBSCRIBERS)
}

/// The name of the list of a node's public subscribers; `None` where none are listed: of what the service keeps.
#[must_use]
pub fn subscribers_of(node: &str) -> Option<String> {
    (!is_list(node) && !is_kept(node)).then(|| format!("{SUBSCRIBERS}{node}"))
}

/// Whether the readers of a node of that name are another node's readers.
#[must_use]
pub fn is_guarded(node: &str) -> bool {
    is_kept(node) || listed(node).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::attachments::summary_of;

    #[test]
    fn of_what_is_kept_nobody_is_listed() {
        assert_eq!(subscribers_of("n").as_deref(), Some("urn:xmpp:pps:subscribers:0/n"));
        for name in [SUBSCRIPTIONS.to_owned(), format!("{SUBSCRIBERS}n"), summary_of("n")] {
            assert_eq!(subscribers_of(&name), None, "{name}");
        }
    }
}
