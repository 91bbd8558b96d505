//! What every scenario is given: the target, the server's processes, and logging
//! many accounts in at once.

use crate::Res;
use crate::client::{Client, Target, err};
use crate::measure::Server;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// The surroundings of a scenario.
pub(crate) struct Context {
    pub(crate) target: Target,
    pub(crate) server: Server,
    /// Number of the first account.
    pub(crate) first: usize,
    /// Logins in flight at once.
    pub(crate) concurrency: usize,
}

impl Context {
    /// Work on accounts, `concurrency` at a time; the results in the accounts' order.
    pub(crate) async fn each<T, F, Fut>(&self, users: impl Iterator<Item = usize>, f: F) -> Res<Vec<T>>
    where
        T: Send + 'static,
        F: Fn(usize, Target) -> Fut,
        Fut: Future<Output = Res<T>> + Send + 'static,
    {
        let gate = Arc::new(Semaphore::new(self.concurrency.max(1)));
        let (mut set, mut out) = (JoinSet::new(), Vec::new());
        for (at, n) in users.enumerate() {
            let permit = gate.clone().acquire_owned().await.map_err(err)?;
            let work = f(n, self.target.clone());
            set.spawn(async move {
                let r = work.await;
                drop(permit);
                r.map(|v| (at, v))
            });
            while let Some(done) = set.try_join_next() {
                out.push(done.map_err(err)??);
            }
        }
        while let Some(done) = set.join_next().await {
            out.push(done.map_err(err)??);
        }
        out.sort_by_key(|(at, _)| *at);
        Ok(out.into_iter().map(|(_, v)| v).collect())
    }

    /// Log accounts in; each says `hello` if there is one.
    pub(crate) async fn login_all(
        &self,
        users: impl Iterator<Item = usize>,
        hello: Option<String>,
    ) -> Res<Vec<Client>> {
        self.each(users, move |n, t| {
            let hello = hello.clone();
            async move {
                let mut c = Client::login(&t, n).await?;
                if let Some(h) = hello {
                    c.send(&h).await?;
                }
                Ok(c)
            }
        })
        .await
    }
}
