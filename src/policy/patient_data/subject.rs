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
    let word_end = text.find(|c: char| !c.is_ascii_alphabetic())?;
    let (word, mut rest) = text.split_at(word_end);
    if !REPLIES.iter().any(|reply| word.eq_ignore_ascii_case(reply)) {
        return None;
    }
    // `Re[2]:`, `Re^3:`, `Re (2):`.
    rest = rest.trim_start_matches([' ', '[', ']', '(', ')', '^']);
    rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    rest = rest.trim_start_matches([' ', ']', ')']);
    rest.strip_prefix([':', '\u{FF1A}'])
}

fn without_note(text: &str) -> Option<&str> {
    let (note, rest) = text.strip_prefix('[')?.split_once(']')?;
    NOTES
        .iter()
        .any(|known| note.trim().eq_ignore_ascii_case(known))
        .then_some(rest)
}

/// What mail programs write before the subject of a reply or of forwarded mail.
const REPLIES: &[&str] = &[
    "re", "fw", "fwd", "aw", "wg", "sv", "vs", "vb", "antw", "tr", "rv", "ref", "res", "enc",
    "odp", "ynt",
];
/// What gateways write before subjects.
const NOTES: &[&str] = &[
    "external",
    "ext",
    "external email",
    "external sender",
    "spam",
    "suspected spam",
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
