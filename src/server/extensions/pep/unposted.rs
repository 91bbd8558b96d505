//! The feed of an account that nobody has posted to yet (XEP-0277): every account has one.
//!
//! Its first follower makes it, in the same step in which it follows: that is decided by the engine. Here is what is not:
//! who reads it before that finds it empty, and an account that goes takes it along.

use std::sync::Arc;

use pubsub::decide::unposted;
use pubsub::profile::is_everybodys;
use pubsub::{Caller, Change, Refusal, Request};
use store::Fault;
use xmpp::{BareJid, ns};

use super::serve::Failure;
use super::{Pep, home_of};
use crate::tables::nodes::{Entry, Held, Number};

impl Pep {
    /// Whether there is such an account, and its nodes are here and not at a component or elsewhere (XEP-0355).
    pub(super) async fn keeps_feed(&self, home: &BareJid) -> Result<bool, Fault> {
        let router = self.router.upgrade();
        let delegate = router.as_ref().and_then(|router| router.wiring().delegate.as_ref());
        let is_elsewhere = delegate.is_some_and(|delegate| delegate.manages(home, ns::PUBSUB));
        Ok(!is_elsewhere && self.accounts.exists(home).await?)
    }

    /// The node that is read: the one there is, or a feed as it would be. Nothing is made.
    pub(super) async fn held_to_read(&self, entry: &Entry, request: &Request) -> Result<Option<Arc<Held>>, Fault> {
        let held = self.nodes.held(entry).await?;
        let reads =
            matches!(request, Request::Items { .. } | Request::NodeItems { .. } | Request::NodeInformation { .. });
        if held.is_some() || !reads || !is_everybodys(home_of(&entry.home), &entry.name) {
            return Ok(held);
        }
        if !self.keeps_feed(&entry.home).await? || self.nodes.moved(&entry.home, &entry.name).await?.is_some() {
            return Ok(None);
        }
        let node = unposted(&entry.home, &Arc::from(&*entry.name), &self.limits, self.now());
        let (number, above) = (Number::default(), Vec::new());
        Ok(Some(Arc::new(Held { node, number, floor: 0, guard: None, above, linked: None })))
    }

    /// After a follower made a feed: if the account went meanwhile, and did not see it, it goes too.
    pub(super) async fn keep_if_account(
        &self,
        entry: &Entry,
        request: &Request,
        changes: &[Change],
    ) -> Result<(), Failure> {
        let (home, name) = (&entry.home, &entry.name);
        let is_made = changes.iter().any(|change| matches!(change, Change::CreateNode(_)));
        if !is_made || !matches!(request, Request::Subscribe { .. }) || self.accounts.exists(home).await? {
            return Ok(());
        }
        let request = Request::Delete { node: Arc::from(&**name), redirect: None };
        Box::pin(self.do_change(home, &Caller::new(home.into()), request)).await?;
        Err(Refusal::ItemNotFound.into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use std::sync::Arc;

    use xmpp::BareJid;

    use super::super::tests::Stage;

    const ROMEO: &str = "romeo@example.net/orchard";
    const JULIET: &str = "juliet@example.com/balcony";
    const HOME: &str = "juliet@example.com";
    const BLOG: &str = "urn:xmpp:microblog:0";

    fn follow(who: &str) -> String {
        format!("<subscribe node='{BLOG}' jid='{who}'/>")
    }

    #[tokio::test]
    async fn a_feed_that_was_followed_first_is_there_after_a_restart() {
        let store: Arc<dyn store::Store> = Arc::new(store::Memory::new());
        let stage = Stage::over(Arc::clone(&store)).await;
        let romeo = stage.log_in(ROMEO, &[]).await;
        assert!(romeo.set(HOME, &follow("romeo@example.net")).await.contains("subscribed"));
        let stage = Stage::over(store).await;
        let (romeo, juliet) = (stage.log_in(ROMEO, &[]).await, stage.log_in(JULIET, &[]).await);
        let followers = juliet.own("get", &format!("<subscriptions node='{BLOG}'/>")).await;
        assert!(followers.contains("romeo@example.net"), "{followers}");
        juliet.post("1", "first").await;
        let came = romeo.read().await;
        assert!(came.iter().any(|stanza| stanza.contains("id='1'")), "{came:?}");
    }

    #[tokio::test]
    async fn whoever_is_followed_first_is_told_who_follows() {
        let stage = Stage::new().await;
        let (romeo, juliet) = (stage.log_in(ROMEO, &[]).await, stage.log_in(JULIET, &[]).await);
        romeo.set(HOME, &follow("romeo@example.net")).await;
        let said = juliet.get(HOME, &format!("<items node='{}'/>", xmpp::ns::NOTIFICATIONS)).await;
        assert!(said.contains("romeo@example.net"), "{said}");
    }

    #[tokio::test]
    async fn an_account_takes_it_along_even_while_it_is_made() {
        let stage = Stage::new().await;
        let (romeo, nurse) = (stage.log_in(ROMEO, &[]).await, stage.log_in("nurse@example.com/room", &[]).await);
        nurse.set(HOME, &follow("nurse@example.com")).await;
        romeo.set(HOME, &follow("romeo@example.net")).await;
        let juliet = BareJid::new(HOME).unwrap();
        assert!(stage.accounts.remove(&juliet).await.unwrap());
        stage.router.close_account(&juliet).await;
        let entry = stage.pep().nodes.entry(&juliet, BLOG);
        assert!(stage.pep().nodes.held(&entry).await.unwrap().is_none());
        assert!(romeo.set(HOME, &follow("romeo@example.net")).await.contains("type='error'"));
        assert!(romeo.get(HOME, &format!("<items node='{BLOG}'/>")).await.contains("item-not-found"));
        assert!(stage.pep().nodes.held(&entry).await.unwrap().is_none());
    }
}
