//! What likes need to be found by: whose heart among the comments is where, and which post a node of comments is about.

use bytes::Bytes;
use pubsub::profile::uri::Place;
use store::{Batch, Fault};
use xmpp::BareJid;

use super::super::Table;
use super::super::row::{Reader, Writer};
use super::{Nodes, Number};

const FORMAT: u8 = 1;
const WHAT: &str = "commented posts";

fn heart_key(number: &Number, bare: &BareJid) -> Bytes {
    Table::Hearts.key().fixed(number).str(bare.as_str()).build()
}

fn post_key(comments: &Place, author: &BareJid) -> Bytes {
    Table::CommentedPosts.key().str(comments.service.as_str()).str(&comments.node).str(author.as_str()).build()
}

fn attached_key(person: &BareJid, home: &BareJid, node: &str) -> Bytes {
    Table::AttachedBy.key().str(person.as_str()).str(home.as_str()).str(node).build()
}

impl Nodes {
    /// Notes that somebody here has attached something to what the attachment node is about, or nothing any more.
    pub fn set_attached(batch: &mut Batch, person: &BareJid, home: &BareJid, node: &str, is_attached: bool) {
        let key = attached_key(person, home, node);
        match is_attached {
            true => batch.put(key, Bytes::new()),
            false => batch.delete(key),
        };
    }

    /// Attachment nodes in which somebody here has something: their homes and names, going on after one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn attached_by(
        &self,
        person: &BareJid,
        after: Option<&(BareJid, Box<str>)>,
        rows_max: usize,
    ) -> Result<Vec<(BareJid, Box<str>)>, Fault> {
        let mut range = Table::AttachedBy.key().str(person.as_str()).range();
        if let Some((home, node)) = after {
            range = range.after(&attached_key(person, home, node));
        }
        let rows = self.store.scan(range, store::Page::rows(rows_max)).await?;
        rows.into_iter()
            .map(|(key, _)| {
                let mut reader = store::KeyReader::new(&key, Table::AttachedBy as u8)?;
                let _person = reader.str()?;
                let home = reader.str()?;
                let home = BareJid::new(&home)
                    .map_err(|error| Fault::new(format!("an attachment is at {home}, which is no address: {error}")))?;
                Ok((home, reader.str()?.into()))
            })
            .collect()
    }

    /// Commits notes of what somebody has attached.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn note_attached(&self, batch: Batch) -> Result<(), store::CommitError> {
        self.store.commit_durably(batch).await
    }

    /// The id of the item that is somebody's heart among the comments of the node with that number.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn heart(&self, number: &Number, bare: &BareJid) -> Result<Option<Box<str>>, Fault> {
        let Some(row) = self.store.get(&heart_key(number, bare)).await? else { return Ok(None) };
        Ok(Some(Reader::new(row, FORMAT, "hearts")?.text()?))
    }

    /// Notes where somebody's heart is now, or that it is gone.
    pub fn set_heart(batch: &mut Batch, number: &Number, bare: &BareJid, id: Option<&str>) {
        match id {
            Some(id) => batch.put(heart_key(number, bare), Writer::new(FORMAT).text(id).finish()),
            None => batch.delete(heart_key(number, bare)),
        };
    }

    /// The post of `author` that says its comments are there.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn commented_post(&self, comments: &Place, author: &BareJid) -> Result<Option<Place>, Fault> {
        let Some(row) = self.store.get(&post_key(comments, author)).await? else { return Ok(None) };
        let mut row = Reader::new(row, FORMAT, WHAT)?;
        let service = BareJid::new(&row.text()?).map_err(|_| Fault::new("a commented post has no address"))?;
        Ok(Some(Place { service, node: row.text()?, item: Some(row.text()?) }))
    }

    /// Notes which post of `author` says that its comments are there, or that none does.
    pub fn set_commented_post(batch: &mut Batch, comments: &Place, author: &BareJid, post: Option<&Place>) {
        match post {
            Some(post) => {
                let row = Writer::new(FORMAT).text(post.service.as_str()).text(&post.node);
                batch.put(post_key(comments, author), row.text(post.item.as_deref().unwrap_or_default()).finish())
            }
            None => batch.delete(post_key(comments, author)),
        };
    }
}
