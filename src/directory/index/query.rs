//! What is asked for: words, hosts, and perhaps a whole address.

use crate::mail::Mailbox;

use super::Index;
use super::letters::each_word;

/// What is asked for.
pub(super) struct Query {
    /// The words, each once.
    pub(super) words: Vec<String>,
    /// The hosts that it must be at; empty for all.
    pub(super) hosts: Vec<u32>,
    /// The whole of it, if that is an address.
    pub(super) exact: Option<Mailbox>,
}

impl Query {
    pub(super) fn read(text: &str, index: &Index) -> Self {
        let (mut words, mut hosts) = (Vec::new(), Vec::new());
        let mut buffer = String::new();
        for part in text.split_whitespace() {
            let (local, host) = part.rsplit_once('@').unwrap_or((part, ""));
            each_word(local, &mut buffer, |word| {
                if words.len() < WORDS_MAX && !words.iter().any(|known| known == word) {
                    words.push(word.to_owned());
                }
            });
            let host = host.to_ascii_lowercase();
            let all = index.hosts.iter().zip(0..);
            // A host that there is not is a slip as well, and does not count.
            let meant = all.filter(|(one, _)| one.host.to_string().starts_with(&host));
            if !host.is_empty() {
                hosts.extend(meant.map(|(_, number)| number));
            }
        }
        let exact = text.trim().parse::<Mailbox>().ok();
        Self {
            words,
            hosts,
            exact: exact.map(|mailbox| mailbox.folded()),
        }
    }
}

/// More words than that narrow nothing down.
const WORDS_MAX: usize = 8;
