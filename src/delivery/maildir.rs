//! Delivery into files: a Maildir for each recipient, `{folder}/DOMAIN/LOCAL-PART`.
//!
//! A message is written to `tmp`, made durable, moved to `new`, and the move made durable: it is there
//! whole or not at all. Names of folders are made of the address by an encoding that leaves no way out
//! of the folder. The octets are those of the message, after two fields for whoever reads it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use crate::mail::{EnhancedStatusCode, Envelope, ForwardPath, Message, ReversePath};
use crate::outcome::{After, DeliveryResult, Outcome};

/// Writes the message once for each recipient. Blocks.
pub(super) fn deliver(
    folder: &Path,
    envelope: &Envelope,
    message: &Message,
    hostname: &str,
    now: Timestamp,
) -> Vec<Outcome> {
    let recipients = envelope.recipients.iter();
    recipients
        .map(|recipient| {
            let path = &recipient.forward_path;
            let maildir = folder_of(folder, path, hostname);
            let fields = fields(&envelope.reverse_path, path);
            let name = unique_name(hostname, now);
            match write(&maildir, &name, fields.as_bytes(), message.octets()) {
                Ok(()) => stored(),
                Err(error) => not_stored(&error),
            }
        })
        .collect()
}

/// RFC 5321 §4.4: the last one to handle a message writes its reverse path down.
fn fields(reverse_path: &ReversePath, path: &ForwardPath) -> String {
    format!("Return-Path: <{reverse_path}>\r\nDelivered-To: {path}\r\n")
}

/// The folder of a recipient. Local parts are one name in any case of ASCII letters, as everywhere.
fn folder_of(folder: &Path, path: &ForwardPath, hostname: &str) -> PathBuf {
    let (domain, local) = match path {
        ForwardPath::Postmaster => (hostname.to_owned(), "postmaster".to_owned()),
        ForwardPath::Mailbox(mailbox) => {
            let local = mailbox.local_part().as_str().to_ascii_lowercase();
            (mailbox.host().to_string(), local)
        }
    };
    folder.join(file_name(&domain)).join(file_name(&local))
}

/// A name that is no more than a name: letters, digits and a few signs stand for themselves, a dot does
/// so inside alone, every other octet is `%XX`. Different texts have different names.
fn file_name(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for (i, octet) in text.bytes().enumerate() {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'+' | b'=' => {
                name.push(char::from(octet));
            }
            b'.' if i > 0 => name.push('.'),
            other => name.push_str(&format!("%{other:02X}")),
        }
    }
    name
}

/// A name that no other delivery bears: time, process, counter, random number, host.
fn unique_name(hostname: &str, now: Timestamp) -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let mut random = [0; 8];
    // Without it the counter, the process and the time still tell the files apart, and a file that is
    // there is never written over.
    let _ = getrandom::fill(&mut random);
    format!(
        "{}.M{:06}P{}Q{count}R{:016x}.{}",
        now.as_second(),
        now.subsec_microsecond(),
        std::process::id(),
        u64::from_le_bytes(random),
        file_name(hostname)
    )
}

fn write(maildir: &Path, name: &str, fields: &[u8], octets: &[u8]) -> io::Result<()> {
    let (tmp, new) = (maildir.join("tmp"), maildir.join("new"));
    if !new.is_dir() {
        make(maildir)?;
    }
    let temporary = tmp.join(name);
    let written = write_durably(&temporary, fields, octets)
        .and_then(|()| std::fs::rename(&temporary, new.join(name)))
        .and_then(|()| sync_folder(&new));
    if written.is_err() {
        // It may not be there: then there is nothing to take away.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

fn write_durably(file: &Path, fields: &[u8], octets: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    // Whatever the mask and the folder: others than the group never read it.
    options.write(true).create_new(true).mode(FILE_MODE);
    let mut file = options.open(file)?;
    file.write_all(fields)?;
    file.write_all(octets)?;
    file.sync_all()
}

/// Makes the folders of a Maildir, for its owner alone, and makes their names durable. `new` comes last:
/// whoever sees it can deliver.
fn make(maildir: &Path) -> io::Result<()> {
    for name in ["tmp", "cur", "new"] {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(maildir.join(name))?;
    }
    // The Maildir, its domain's folder, the folder of all, and that in which this may be new.
    for folder in maildir.ancestors().take(4) {
        if folder.as_os_str().is_empty() {
            break;
        }
        sync_folder(folder)?;
    }
    Ok(())
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn stored() -> Outcome {
    Outcome {
        result: DeliveryResult::Delivered {
            dsn_passed_on: false,
        },
        status: EnhancedStatusCode::success(1, 5),
        reply: None,
        because: Some("stored in the mailbox".to_owned()),
        next_hop: None,
        tls: None,
        no_secured_path: false,
        after: After::Schedule,
        downgrade: None,
        in_doubt: false,
        broke_off: false,
    }
}

/// Everything that a disk can refuse may be put right.
fn not_stored(error: &io::Error) -> Outcome {
    let full = matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    );
    let status = EnhancedStatusCode::transient(if full { 2 } else { 3 }, if full { 2 } else { 0 });
    let because = format!("the mailbox could not be written: {}", error.kind());
    Outcome::without_reply(status, because)
}

/// A message of a Maildir: for its owner, and for his group where the mask allows it.
const FILE_MODE: u32 = 0o640;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Recipient;
    use proptest::prelude::*;
    use std::path::Component;

    fn path(text: &str) -> ForwardPath {
        ForwardPath::parse(text).unwrap()
    }

    fn envelope(recipients: &[&str]) -> Envelope {
        let mut envelope = Envelope::new(ReversePath::parse("s@a.example").unwrap());
        envelope.recipients = recipients.iter().map(|r| Recipient::new(path(r))).collect();
        envelope
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn a_message_is_stored_octet_by_octet_after_two_fields() {
        let folder = tempfile::tempdir().unwrap();
        let message = Message::new(&b"Subject: x\r\n\r\n.dot\r\nno end"[..]);
        let to_two = envelope(&["Ann@B.example", "\"../c\"@[192.0.2.1]"]);

        let outcomes = deliver(
            folder.path(),
            &to_two,
            &message,
            "gw.example",
            Timestamp::UNIX_EPOCH,
        );

        assert!(
            outcomes
                .iter()
                .all(|o| matches!(o.result, DeliveryResult::Delivered { .. }))
        );
        let stored = files(&folder.path().join("b.example/ann/new"));
        assert_eq!(
            std::fs::read_to_string(&stored[0]).unwrap(),
            "Return-Path: <s@a.example>\r\nDelivered-To: Ann@b.example\r\nSubject: x\r\n\r\n.dot\r\nno end"
        );
        assert_eq!(
            files(&folder.path().join("%5B192.0.2.1%5D/%2E.%2Fc/new")).len(),
            1
        );
        assert!(files(&folder.path().join("b.example/ann/tmp")).is_empty());
    }

    #[test]
    fn the_bare_postmaster_is_ours() {
        let folder = folder_of(Path::new("m"), &ForwardPath::Postmaster, "gw.example");
        assert_eq!(folder, Path::new("m/gw.example/postmaster"));
    }

    #[test]
    fn a_folder_that_cannot_be_written_means_try_again() {
        let folder = tempfile::tempdir().unwrap();
        let blocked = folder.path().join("file");
        std::fs::write(&blocked, "").unwrap();
        let message = Message::new(&b"x\r\n"[..]);
        let outcomes = deliver(
            &blocked,
            &envelope(&["a@b.example"]),
            &message,
            "gw",
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(outcomes[0].result, DeliveryResult::Transient);
    }

    proptest! {
        #[test]
        fn no_address_leads_out_of_the_folder(local in "[ -~]{1,40}") {
            let quoted = format!("\"{}\"@b.example", local.replace('\\', "\\\\").replace('"', "\\\""));
            let found = folder_of(Path::new("m"), &path(&quoted), "gw");
            let parts: Vec<_> = found.components().collect();
            prop_assert_eq!(parts.len(), 3);
            prop_assert!(parts.iter().all(|part| matches!(part, Component::Normal(_))));
        }

        #[test]
        fn different_names_have_different_folders(a in "\\PC{1,12}", b in "\\PC{1,12}") {
            prop_assert_eq!(a == b, file_name(&a) == file_name(&b));
        }
    }
}
