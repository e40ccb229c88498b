//! The fields that a submitted message lacks or may not have (RFC 6409 §8), spliced in; the rest of its octets stay.

use crate::accounts::Account;
use crate::base::Reference;
use crate::mail::{Edit, EditKind, Header, MailTransaction, trace};
use crate::policy::submitter::{Names, names};

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
    let names = names(account, header);
    if let Some(own) = account.address() {
        if names == Names::Replace {
            let foreign = header.all("From").chain(header.all("Sender"));
            edits.extend(foreign.map(|field| Edit::removal(field.range())));
        }
        if matches!(names, Names::WantFrom | Names::Replace) {
            fields.push_str(&format!("From: <{own}>\r\n"));
        }
        if names == Names::WantSender {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Accounts;
    use crate::config::{Diagnostics, SourceFile};
    use crate::mail::{Message, edit};
    use std::sync::Arc;

    /// What is left of the header and put on top of it.
    fn of(keys: &str, header: &str) -> String {
        let text = format!(
            "[[account]]\nname = \"app@nhs.net\"\nsecret = \"stored\"\nauto-submitted = false\n\
             may-send-from = [\"app@nhs.net\", \"shop@nhs.net\"]\non-behalf-of = [\"ward@nhs.net\"]\n{keys}"
        );
        let file = Arc::new(SourceFile {
            path: "accounts.toml".into(),
            text,
        });
        let accounts = Accounts::read(&file, &Diagnostics::default());
        let header = header.replace('\n', "\r\n");
        let (mut fields, mut edits) = (String::new(), Vec::new());
        let account = accounts.get("app@nhs.net").expect("it");
        let parsed = Header::parse(header.as_bytes());
        of_account(account, &parsed, &mut fields, &mut edits);
        edits.push(Edit::prepend_fields(EditKind::Trace, fields));
        let message = Message::new(format!("{header}\r\n").into_bytes());
        let edited = edit::apply(&message, &edits).expect("edits that fit");
        String::from_utf8_lossy(edited.octets()).replace('\r', "")
    }

    #[test]
    fn sender_is_put_in_where_the_author_is_not_one_alone() {
        for (header, put_in) in [
            ("Subject: x\n", "From: <app@nhs.net>\n"),
            ("From: shop@nhs.net\n", ""),
            ("From: ward@nhs.net\n", "Sender: <app@nhs.net>\n"),
            ("From: ward@nhs.net\nSender: shop@nhs.net\n", ""),
            (
                "From: app@nhs.net, shop@nhs.net\n",
                "Sender: <app@nhs.net>\n",
            ),
        ] {
            assert_eq!(of("", header), format!("{put_in}{header}\n"));
        }
    }

    #[test]
    fn foreign_names_are_replaced_where_the_contract_says_so() {
        for header in [
            "From: boss@nhs.net\n",
            "From: app@nhs.net\nSender: boss@nhs.net\n",
            "From: app@nhs.net\nFrom: boss@nhs.net\n",
            "From: boss:;\nSender: app@nhs.net\nSender: boss@nhs.net\n",
        ] {
            let left = of("foreign-from = \"fix\"\n", header);
            assert_eq!(left, "From: <app@nhs.net>\n\n", "{header}");
            assert_eq!(of("", header), format!("{header}\n"), "it is refused");
        }
    }
}
