//! The fields that a submitted message lacks or may not have (RFC 6409 §8), spliced in; the rest of its octets stay.

use crate::accounts::{Account, ForeignFrom};
use crate::base::Reference;
use crate::mail::{Edit, EditKind, Header, MailTransaction, trace};
use crate::policy::author::authors;

use super::{Parts, once};

/// What is put on top, and what is taken out.
pub(super) fn submission_edits(
    parts: &Parts,
    transaction: &MailTransaction,
    account: Option<&Account>,
    reference: &Reference,
) -> Vec<Edit> {
    let header = transaction.message.header();
    let mut fields = String::new();
    if header.first("Date").is_none() {
        let date = trace::date(transaction.received_at);
        fields.push_str(&format!("Date: {date}\r\n"));
    }
    if header.first("Message-ID").is_none() {
        fields.push_str(&format!("Message-ID: <{reference}@{}>\r\n", parts.hostname));
    }
    let mut edits = Vec::new();
    if let Some(account) = account {
        of_account(account, &header, &mut fields, &mut edits);
    }
    if !fields.is_empty() {
        edits.push(Edit::prepend_fields(EditKind::Trace, fields));
    }
    edits
}

fn of_account(account: &Account, header: &Header<'_>, fields: &mut String, edits: &mut Vec<Edit>) {
    let own = account.address();
    let from = header.all("From").collect::<Vec<_>>();
    let authors = authors(header, "From");
    let is_known = |ask: &dyn Fn(&crate::mail::Mailbox) -> bool| {
        !authors.is_empty()
            && authors
                .iter()
                .all(|one| one.mailbox.as_ref().is_some_and(ask))
    };
    let is_own = is_known(&|mailbox| account.may_send_as(mailbox));
    let on_behalf = !is_own
        && is_known(&|mailbox| {
            account.may_send_as(mailbox) || account.may_send_on_behalf_of(mailbox)
        });
    let is_fixed = !is_own && !on_behalf && account.contract.foreign_from == ForeignFrom::Fix;
    if let Some(own) = &own {
        if from.is_empty() || is_fixed {
            edits.extend(from.iter().map(|field| Edit::removal(field.range())));
            fields.push_str(&format!("From: <{own}>\r\n"));
        }
        if on_behalf && header.first("Sender").is_none() {
            fields.push_str(&format!("Sender: <{own}>\r\n"));
        }
    }
    // RFC 3834 §5: so that nobody's absence notice answers a reminder.
    if account.contract.is_automatic && header.first("Auto-Submitted").is_none() {
        fields.push_str("Auto-Submitted: auto-generated\r\n");
    }
    // It is between the application and us; some make it of what is nobody else's business.
    let keys = header.all(once::FIELD);
    edits.extend(keys.map(|field| Edit::removal(field.range())));
}
