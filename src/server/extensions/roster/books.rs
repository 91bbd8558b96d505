//! The rosters that are open: one [`Book`] for each account, in memory while the account is online and as long as
//! there is room after that.

use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use store::Fault;
use xmpp::{BareJid, StanzaError};

use super::book::{Book, Counts, Decided};
use super::settler::{Job, Settler};
use crate::extension::Kit;
use crate::router::Router;
use crate::runtime::Clock;
use crate::tables::cache::Cache;
use crate::tables::roster::{Contact, Rosters};

/// Contacts of all rosters together that are kept in memory for accounts that are not online.
const CONTACTS_MAX: usize = 500_000;

/// The rosters.
#[expect(missing_debug_implementations, reason = "nobody prints rosters")]
pub struct Books {
    cache: Cache<Book>,
    rosters: Rosters,
    settler: Settler,
    router: Weak<Router>,
    clock: Arc<dyn Clock>,
    watch: OnceLock<Watch>,
}

/// Hears of changes that are durable: whose roster, and the push behind the recipient's address.
pub type Watch = Arc<dyn Fn(&BareJid, &Bytes) + Send + Sync>;

impl Books {
    /// The rosters in the kit's store.
    #[must_use]
    pub fn new(kit: &Kit) -> Arc<Self> {
        let router = Arc::downgrade(&kit.router);
        let online = Weak::clone(&router);
        let is_online = move |account: &str| online.upgrade().is_some_and(|router| router.sessions.any(account));
        let rosters = Rosters::new(Arc::clone(&kit.store));
        Arc::new(Self {
            cache: Cache::new(CONTACTS_MAX, is_online),
            settler: Settler::new(rosters.clone(), Weak::clone(&router)),
            rosters,
            router,
            clock: Arc::clone(&kit.clock),
            watch: OnceLock::new(),
        })
    }

    /// Has `watch` hear of every change from now on. Only the first call has an effect; it comes before the first roster
    /// is opened.
    pub fn watch(&self, watch: Watch) {
        let _watched_already = self.watch.set(watch);
    }

    /// The roster of `account`, if it is open; that of an account with an available resource always is.
    #[must_use]
    pub fn at_hand(&self, account: &str) -> Option<Arc<Book>> {
        self.cache.get(account).filter(|book| !book.is_closed())
    }

    /// The roster of `account`. That of an account nobody opened is empty.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn open(&self, account: &BareJid) -> Result<Arc<Book>, Fault> {
        if let Some(book) = self.cache.get(account.as_str()) {
            if !book.is_closed() {
                return Ok(book);
            }
            self.cache.forget(account.as_str());
        }
        let load = async || {
            Ok(Book::new(account.clone(), self.rosters.load(account.as_str()).await?)
                .watched(self.watch.get().cloned()))
        };
        self.cache.load(account, load).await
    }

    /// Decides about a contact. Resolves when what was decided is durable and the account's resources are told.
    pub(crate) async fn change<T, E: From<Fault>>(
        &self,
        account: &BareJid,
        contact: &BareJid,
        decide: impl FnOnce(&Contact, Counts) -> Result<Decided<T>, E>,
    ) -> Result<T, E> {
        let (unsettled, then) = self.begin(account, contact, decide).await?;
        let router = self.router.upgrade().ok_or_else(|| Fault::new("the house is closed"))?;
        if let Some(change) = unsettled.change {
            unsettled.book.pass(&self.rosters, &router.sessions, change).await?;
        }
        Ok(then)
    }

    /// Decides about a contact. The decision holds in memory; nobody may be told before it is settled.
    pub(crate) async fn begin<T, E: From<Fault>>(
        &self,
        account: &BareJid,
        contact: &BareJid,
        decide: impl FnOnce(&Contact, Counts) -> Result<Decided<T>, E>,
    ) -> Result<(Unsettled, T), E> {
        let book = self.open(account).await?;
        let (change, then) = book.decide(self.clock.now(), contact, decide)?;
        Ok((Unsettled { book, change }, then))
    }

    /// Has a decision made durable and the account's resources told, and then does what follows from it; resolves
    /// when that is in line. What follows must not leave anything here itself.
    pub(crate) async fn settle(&self, unsettled: Unsettled, then: impl Future<Output = ()> + Send + 'static) {
        let Unsettled { book, change } = unsettled;
        self.settler.leave(Job { change: change.map(|change| (book, change)), then: Box::pin(then) }).await;
    }

    /// The same, and resolves when what follows is done: for a contact on another server, whose next stanza must
    /// neither overtake this one nor be counted as handled before it.
    pub(crate) async fn settled(&self, unsettled: Unsettled, then: impl Future<Output = ()> + Send + 'static) {
        let (done, waiting) = tokio::sync::oneshot::channel();
        let then = async move {
            then.await;
            let _nobody_waits = done.send(());
        };
        self.settle(unsettled, then).await;
        // If the change could not be made durable, nothing follows from it.
        let _came_to_nothing = waiting.await;
    }

    /// Resolves when everything that is in line now is durable, and what follows from it done.
    pub(crate) async fn quiet(&self) {
        let (done, waiting) = tokio::sync::oneshot::channel();
        self.afterwards(async move {
            let _nobody_waits = done.send(());
        })
        .await;
        let _house_is_closing = waiting.await;
    }

    /// Does something after everything that is in line now.
    pub(crate) async fn afterwards(&self, then: impl Future<Output = ()> + Send + 'static) {
        self.settler.leave(Job { change: None, then: Box::pin(then) }).await;
    }

    /// Deletes the roster of an account.
    pub(super) async fn delete(&self, account: &BareJid) -> Result<(), Fault> {
        if let Some(book) = self.cache.get(account.as_str()) {
            book.close();
        }
        self.cache.forget(account.as_str());
        self.rosters.delete(account.as_str()).await.map_err(|error| Fault::new(error.to_string()))
    }
}

/// A decision that is not durable yet.
#[must_use = "a decision that is never settled is neither kept nor told"]
pub(crate) struct Unsettled {
    book: Arc<Book>,
    change: Option<u64>,
}

/// Why a decision about a contact did not come to be.
#[derive(Debug)]
pub enum Refused {
    /// It is not allowed, and the answer says why.
    Answer(StanzaError),
    /// The store failed.
    Fault(Fault),
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Refused> for StanzaError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Answer(error) => error,
            Refused::Fault(error) => fault(error),
        }
    }
}

/// The bound on contacts is reached.
pub(crate) fn full() -> StanzaError {
    StanzaError::resource_constraint().with_text("the roster is full")
}

pub(crate) fn fault(error: Fault) -> StanzaError {
    tracing::error!(%error, "a roster could not be read or written");
    StanzaError::internal_server_error()
}
