//! What `postern resolve --json` prints (`design.md` §4.2).

use serde_json::{Value, json};

use crate::mail::{ForwardPath, Mailbox};

use super::{Directory, End, Hop, Resolution};

/// Answers for one address as a user wrote it: the object to print, and whether the answer is
/// "yes". A source route, a trailing dot and angle brackets are taken off.
pub fn answer(directory: &Directory, input: &str) -> (Value, bool) {
    match read_address(input) {
        Ok(mailbox) => {
            let resolution = directory.resolve(&mailbox);
            (object(input, &resolution), leads_somewhere(&resolution.end))
        }
        Err(because) => {
            let object = json!({
                "input": input, "outcome": "invalid", "because": because, "path": []
            });
            (object, false)
        }
    }
}

/// Whether mail for this end goes anywhere: exit status 0 of `postern resolve`. A list without
/// members goes nowhere (5.2.4).
pub fn leads_somewhere(end: &End) -> bool {
    match end {
        End::Mailbox(_) | End::Unlisted(_) | End::External(_) => true,
        End::List(members) => !members.is_empty(),
        _ => false,
    }
}

/// The object for a resolution of what a user wrote.
pub fn object(input: &str, resolution: &Resolution) -> Value {
    let mut object = json!({
        "input": input,
        "outcome": resolution.end.word(),
        "path": resolution.path.iter().map(hop).collect::<Vec<_>>(),
    });
    match &resolution.end {
        End::Mailbox(mailbox) | End::Unlisted(mailbox) | End::External(mailbox) => {
            object["mailbox"] = text(mailbox);
        }
        End::List(members) => object["members"] = texts(members),
        End::Moved(successor) => object["successor"] = text(successor),
        End::Ambiguous(candidates) => object["candidates"] = texts(candidates),
        End::Unknown(Some(suggestion)) => object["suggestion"] = text(suggestion),
        End::Unknown(None) | End::Closed | End::Loop => {}
    }
    if let Some(sentence) = sentence(&resolution.end) {
        object["because"] = sentence.into();
    }
    object
}

/// What a person would want to be told where mail goes nowhere.
fn sentence(end: &End) -> Option<&'static str> {
    match end {
        End::Mailbox(_) | End::Unlisted(_) | End::External(_) => None,
        End::List(members) => members
            .is_empty()
            .then_some("no member of the list leads to a mailbox"),
        End::Moved(_) => {
            Some("the organisation has a successor, and the sender is to be told of it")
        }
        End::Closed => Some("known and shut, and nobody has confirmed a successor"),
        End::Ambiguous(_) => {
            Some("it could be more than one, or the name speaks of another than the code")
        }
        End::Unknown(_) => Some("there is no such mailbox"),
        End::Loop => Some("the chain of aliases comes back to itself or is too long"),
    }
}

fn read_address(input: &str) -> Result<Mailbox, String> {
    let bare = input.trim();
    let bare = bare
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'))
        .unwrap_or(bare);
    match ForwardPath::parse(bare) {
        Ok(ForwardPath::Mailbox(mailbox)) => Ok(mailbox),
        Ok(ForwardPath::Postmaster) => {
            Err("the postmaster without a domain is whoever runs this gateway".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

fn hop(hop: &Hop) -> Value {
    json!({
        "from": text(&hop.from),
        "to": text(&hop.to),
        "because": hop.because.word(),
        "source": hop.source.to_string(),
    })
}

fn text(mailbox: &Mailbox) -> Value {
    mailbox.to_string().into()
}

fn texts(mailboxes: &[Mailbox]) -> Value {
    mailboxes.iter().map(text).collect()
}
