//! Rosters as pubsub sees them.

use std::sync::Arc;

use pubsub::Home;
use pubsub::request::Relation;
use store::Fault;
use xmpp::BareJid;

use super::{Pep, home_of};
use crate::extension::BoxFuture;
use crate::extensions::roster::Books;
use crate::fanout::contacts::Contacts;

/// The rosters that the roster extension keeps open.
pub struct Rosters(Arc<Books>);

impl Rosters {
    /// Asks `books`.
    #[must_use]
    pub fn new(books: &Arc<Books>) -> Self {
        Self(Arc::clone(books))
    }
}

impl Contacts for Rosters {
    fn relation(&self, account: &BareJid, contact: &BareJid) -> BoxFuture<Result<Relation, Fault>> {
        let (books, account, contact) = (Arc::clone(&self.0), account.clone(), contact.clone());
        Box::pin(async move {
            let book = books.open(&account).await?;
            Ok(book.contact(contact.as_str()).map_or_else(Relation::default, |contact| Relation {
                sees_presence: contact.subscription.has_from(),
                groups: contact.groups.to_vec(),
            }))
        })
    }

    fn watchers(&self, account: &BareJid) -> BoxFuture<Result<Vec<BareJid>, Fault>> {
        let (books, account) = (Arc::clone(&self.0), account.clone());
        Box::pin(async move { Ok(books.open(&account).await?.contacts(|contact| contact.subscription.has_from())) })
    }

    fn watched(&self, account: &BareJid) -> BoxFuture<Result<Vec<BareJid>, Fault>> {
        let (books, account) = (Arc::clone(&self.0), account.clone());
        Box::pin(async move { Ok(books.open(&account).await?.contacts(|contact| contact.subscription.has_to())) })
    }
}

impl Pep {
    /// How somebody stands to an account; to a service, and to oneself, in no way.
    pub(super) async fn relation(&self, home: &BareJid, who: &BareJid) -> Result<Relation, Fault> {
        match home_of(home) == Home::Account && who != home {
            true => self.contacts.relation(home, who).await,
            false => Ok(Relation::default()),
        }
    }
}
