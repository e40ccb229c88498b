//! Whose names a message of an account bears: the rule that `authenticate-sender` refuses by, and that the gateway puts
//! missing fields in by (RFC 5322 §3.6.2, RFC 6409 §8).
//!
//! `From` and `Sender` stand once at most and name mailboxes that every reader finds. Those of `From` are the account's
//! own (`may-send-from`), or with the account's own name in `Sender` of others (`on-behalf-of`). `Sender` has one
//! mailbox, and never that of somebody else.

use crate::accounts::{Account, ForeignFrom};
use crate::mail::{Header, HeaderField, Mailbox, mailbox_list};

/// What is to become of the names in the header of a submitted message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Names {
    /// They may stay.
    Stay,
    /// They may stay if `Sender`, which is missing, is put in.
    WantSender,
    /// There is no `From`: the account's own address is put in.
    WantFrom,
    /// The account's own address takes their place.
    Replace,
    /// The account may not use what stands in this field.
    Foreign(&'static str),
}

/// Judges the names that the header bears.
pub fn names(account: &Account, header: &Header<'_>) -> Names {
    match judge(account, header) {
        Names::Foreign(_)
            if account.contract.foreign_from == ForeignFrom::Fix && account.address().is_some() =>
        {
            Names::Replace
        }
        names => names,
    }
}

fn judge(account: &Account, header: &Header<'_>) -> Names {
    let Some(from) = read(header, "From") else {
        return Names::Foreign("From");
    };
    let is_own = from.iter().all(|mailbox| account.may_send_as(mailbox));
    let may =
        |mailbox: &Mailbox| account.may_send_as(mailbox) || account.may_send_on_behalf_of(mailbox);
    if !from.iter().all(may) {
        return Names::Foreign("From");
    }
    match read(header, "Sender").as_deref() {
        Some([]) if from.is_empty() => Names::WantFrom,
        // Several authors want a sender as well (RFC 5322 §3.6.2).
        Some([]) if is_own && from.len() == 1 => Names::Stay,
        Some([]) if account.address().is_some() => Names::WantSender,
        Some([]) if is_own => Names::Stay,
        Some([sender]) if is_sender(account, sender) && !from.is_empty() => Names::Stay,
        Some([sender]) if is_sender(account, sender) => Names::WantFrom,
        _ => Names::Foreign("Sender"),
    }
}

/// Its own address is always its own as sender: the gateway puts it in itself.
fn is_sender(account: &Account, mailbox: &Mailbox) -> bool {
    let is_itself = || {
        account
            .address()
            .is_some_and(|own| own.folded() == mailbox.folded())
    };
    account.may_send_as(mailbox) || is_itself()
}

/// The mailboxes of the field, none if there is no such field; `None` if it is not clear which they are.
fn read(header: &Header<'_>, name: &str) -> Option<Vec<Mailbox>> {
    let fields: Vec<&HeaderField<'_>> = header.all(name).collect();
    match fields[..] {
        [] => Some(Vec::new()),
        [field] => mailbox_list(field.raw_value()),
        _ => None,
    }
}
