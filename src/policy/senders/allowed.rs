//! Senders whom somebody let through when a message of theirs was released from the quarantine: for that mailbox
//! alone, beside the `[[allow]]` lines of `senders.toml`, and with the same limits. It helps an author who is proven to be who
//! he says, against the score alone: malware, what DMARC asks for and `[[block]]` count all the same.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use crate::mail::Mailbox;

use super::store::{SenderStoreError, Store, moment, seconds};

/// One author who is let through to one mailbox.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Allowance {
    /// To whom, as [`comparable`] writes it.
    pub mailbox: String,
    /// Who, likewise.
    pub author: String,
    /// The message that was released.
    pub reference: String,
    /// Who let him through.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// An address as it is compared here.
pub fn comparable(mailbox: &Mailbox) -> String {
    mailbox.folded().to_string().to_lowercase()
}

impl Store {
    /// Lets an author through. One who is already stays as he was written down.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn allow(&self, one: Allowance) -> Result<(), SenderStoreError> {
        self.write(move |db| {
            db.execute(
                "INSERT INTO allowed (mailbox, author, reference, by, at) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT DO NOTHING",
                params![one.mailbox, one.author, one.reference, one.by, seconds(one.at)],
            )
            .map(drop)
        })
        .await
    }

    /// Takes it back; what was written down, or `None` if there was nothing.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn disallow(
        &self,
        mailbox: String,
        author: String,
    ) -> Result<Option<Allowance>, SenderStoreError> {
        if self.read(|_| Ok(())).await?.is_none() {
            return Ok(None);
        }
        self.write(move |db| {
            let condition = "WHERE mailbox = ?1 AND author = ?2";
            let found = select(db, condition, &[&mailbox, &author])?.pop();
            db.execute(
                "DELETE FROM allowed WHERE mailbox = ?1 AND author = ?2",
                params![mailbox, author],
            )?;
            Ok(found)
        })
        .await
    }

    /// All of them, by mailbox and author.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn allowances(&self) -> Result<Vec<Allowance>, SenderStoreError> {
        let all = self.read(|db| select(db, "ORDER BY mailbox, author", &[]));
        Ok(all.await?.unwrap_or_default())
    }

    /// For each mailbox, whether this author is let through to it.
    pub(super) async fn are_allowed(
        &self,
        mailboxes: Vec<String>,
        author: String,
    ) -> Result<Vec<bool>, SenderStoreError> {
        let nobody = vec![false; mailboxes.len()];
        let found = self.read(move |db| {
            let mut query =
                db.prepare_cached("SELECT 1 FROM allowed WHERE mailbox = ?1 AND author = ?2")?;
            let each = mailboxes.iter();
            each.map(|mailbox| query.exists(params![mailbox, author]))
                .collect()
        });
        Ok(found.await?.unwrap_or(nobody))
    }
}

/// `more` is a constant of this file.
fn select(
    db: &Connection,
    more: &str,
    values: &[&dyn rusqlite::ToSql],
) -> rusqlite::Result<Vec<Allowance>> {
    let sql = format!("SELECT mailbox, author, reference, by, at FROM allowed {more}");
    let mut query = db.prepare_cached(&sql)?;
    let rows = query.query_map(values, |row| {
        Ok(Allowance {
            mailbox: row.get(0)?,
            author: row.get(1)?,
            reference: row.get(2)?,
            by: row.get(3)?,
            at: moment(row.get(4)?),
        })
    })?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(author: &str) -> Allowance {
        Allowance {
            mailbox: "a@b.example".into(),
            author: author.into(),
            reference: "PX-7F3K2Q9A".into(),
            by: "smith".into(),
            at: moment(1_000_000),
        }
    }

    #[tokio::test]
    async fn an_author_is_let_through_to_one_mailbox_until_it_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        let known = async |store: &Store| {
            let mailboxes = vec!["a@b.example".to_owned(), "c@b.example".to_owned()];
            let known = store.are_allowed(mailboxes, "x@y.example".into()).await;
            known.unwrap()
        };
        let take_back = async || {
            store
                .disallow("a@b.example".into(), "x@y.example".into())
                .await
        };
        assert_eq!(take_back().await.unwrap(), None);
        assert_eq!(known(&store).await, [false, false]);
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
        store.allow(one("z@y.example")).await.unwrap();
        store.allow(one("x@y.example")).await.unwrap();
        let mut again = one("x@y.example");
        again.by = "jones".into();
        store.allow(again).await.unwrap();
        let later = Store::at(folder.path());
        assert_eq!(known(&later).await, [true, false]);
        let all = [one("x@y.example"), one("z@y.example")];
        assert_eq!(later.allowances().await.unwrap(), all);
        assert_eq!(take_back().await.unwrap(), Some(one("x@y.example")));
        assert_eq!(known(&later).await, [false, false]);
    }
}
