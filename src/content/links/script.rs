//! Scripts of letters, as far as names in two of them at once are concerned (UTS #39 §5.1).

/// Whether a label has letters of two scripts that nobody writes together: `аpple` with a Cyrillic а. Chinese,
/// Japanese and Korean names mix scripts, with Latin as well.
pub fn is_mixed(label: &str) -> bool {
    let mut first = None;
    for script in label.chars().filter_map(script) {
        match first {
            None => first = Some(script),
            Some(known) if known == script => {}
            Some(Script::Latin) if script == Script::EastAsian => {}
            Some(Script::EastAsian) if script == Script::Latin => {}
            Some(_) => return true,
        }
    }
    false
}

/// Scripts that are told apart; the others by where they begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Script {
    Latin,
    EastAsian,
    Other(u32),
}

fn script(c: char) -> Option<Script> {
    if !c.is_alphabetic() {
        return None;
    }
    Some(match u32::from(c) {
        0..=0x24F | 0x1E00..=0x1EFF | 0x2C60..=0x2C7F | 0xA720..=0xA7FF => Script::Latin,
        0x250..=0x2AF => Script::Latin, // IPA: ɑ and ɡ look like Latin and count as it; see the look-alikes
        0x370..=0x3FF | 0x1F00..=0x1FFF => Script::Other(0x370),
        0x400..=0x52F | 0x1C80..=0x1C8F | 0x2DE0..=0x2DFF => Script::Other(0x400),
        0x2E80..=0x9FFF | 0xAC00..=0xD7AF | 0xF900..=0xFAFF | 0x1100..=0x11FF | 0x20000.. => {
            Script::EastAsian
        }
        code => Script::Other(code >> 7),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_two_scripts_are_mixed() {
        for mixed in ["\u{430}pple", "nh\u{455}", "p\u{3bf}st"] {
            assert!(is_mixed(mixed), "{mixed}");
        }
        for plain in ["apple", "münchen", "пример", "東京とtokyo", "nhs-1"] {
            assert!(!is_mixed(plain), "{plain}");
        }
    }
}
