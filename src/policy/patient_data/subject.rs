//! Subjects: what stands before the words that the sender chose.

/// Takes off reply and forward prefixes in the languages that mail programs write them in (`Re:`, `RE[2]:`,
/// `Fwd:`, `AW:` …), and notes that gateways put before them (`[External]`).
pub fn without_prefixes(subject: &str) -> &str {
    let mut rest = subject.trim_start();
    while let Some(next) = without_reply(rest).or_else(|| without_note(rest)) {
        rest = next.trim_start();
    }
    rest
}

fn without_reply(text: &str) -> Option<&str> {
    REPLIES.iter().find_map(|reply| {
        let rest = without_word(text, reply)?;
        // `Re[2]:`, `Re^3:`, `Re (2):`.
        let rest = rest.trim_start_matches([' ', '\u{a0}', '[', ']', '(', ')', '^']);
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let rest = rest.trim_start_matches([' ', '\u{a0}', ']', ')']);
        rest.strip_prefix([':', '\u{FF1A}'])
    })
}

/// What follows a word at the start, in any case.
fn without_word<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let mut left = text.char_indices();
    for expected in word.chars() {
        let (_, c) = left.next()?;
        if c != expected && !c.to_lowercase().eq(std::iter::once(expected)) {
            return None;
        }
    }
    Some(left.as_str())
}

fn without_note(text: &str) -> Option<&str> {
    let (note, rest) = text.strip_prefix('[')?.split_once(']')?;
    NOTES
        .iter()
        .any(|known| note.trim().eq_ignore_ascii_case(known))
        .then_some(rest)
}

/// What mail programs write before the subject of a reply or of forwarded mail, in small letters; and what calendars and
/// programs that answer by themselves do.
const REPLIES: &[&str] = &[
    "re",
    "fw",
    "fwd",
    "forward",
    "aw",
    "antwort",
    "wg",
    "wtr",
    "sv",
    "vs",
    "vl",
    "vb",
    "fs",
    "antw",
    "doorst",
    "tr",
    "r\u{e9}p",
    "r\u{e9}ponse",
    "r\u{e9}f",
    "rv",
    "ref",
    "res",
    "enc",
    "r",
    "i",
    "rif",
    "odp",
    "pd",
    "ynt",
    "ilt",
    "\u{130}lt",
    "v\u{e1}",
    "tov",
    "tov\u{e1}bb\u{ed}t\u{e1}s",
    "bls",
    "trs",
    "tl",
    "ct",
    // Welsh.
    "atb",
    "yml",
    // Greek, Russian, Chinese, Japanese.
    "\u{3b1}\u{3c0}",
    "\u{3c3}\u{3c7}\u{3b5}\u{3c4}",
    "\u{3c0}\u{3c1}\u{3b8}",
    "\u{43e}\u{442}\u{432}",
    "\u{43f}\u{435}\u{440}\u{435}\u{441}\u{43b}",
    "\u{56de}\u{590d}",
    "\u{7b54}\u{590d}",
    "\u{56de}\u{8986}",
    "\u{8f6c}\u{53d1}",
    "\u{8f49}\u{5bc4}",
    "\u{8fd4}\u{4fe1}",
    "\u{8ee2}\u{9001}",
    "accepted",
    "declined",
    "tentative",
    "tentatively accepted",
    "canceled",
    "cancelled",
    "updated",
    "invitation",
    "updated invitation",
    "new time proposed",
    "following",
    "task request",
    "automatic reply",
    "auto",
    "out of office",
    "undeliverable",
    "read",
    "not read",
    "delivered",
    "delayed",
    "relayed",
    "expanded",
    "recall",
    "external",
    "ext",
];
/// What gateways write before subjects.
const NOTES: &[&str] = &[
    "external",
    "ext",
    "external email",
    "external sender",
    "spam",
    "suspected spam",
    "caution",
    "bulk",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_taken_off_and_nothing_else() {
        for (subject, rest) in [
            ("Re: Fw: RE[2]: hello", "hello"),
            ("[External] re : hello", "hello"),
            ("AW: Re^3: hello", "hello"),
            ("Re\u{FF1A} hello", "hello"),
            ("ATB: YML: hello", "hello"),
            ("R\u{c9}P\u{a0}: I: hello", "hello"),
            ("\u{130}LT: \u{56de}\u{590d}\u{ff1a}hello", "hello"),
            ("Automatic reply: Accepted: hello", "hello"),
            ("Not read hello", "Not read hello"),
            ("Regarding: x", "Regarding: x"),
            ("Re hello", "Re hello"),
            ("[secure] x", "[secure] x"),
            ("Re:", ""),
            ("", ""),
        ] {
            assert_eq!(without_prefixes(subject), rest, "{subject}");
        }
    }
}
