//! The conditions of the rules that no expression can ask: each a word in `scoring.toml` and a question to a
//! message.

use std::sync::LazyLock;

use jiff::Timestamp;
use regex::Regex;

use crate::mail::mime::Encoding;

use super::lateness;
use super::look::Look;

/// A condition without parameters.
#[derive(Clone, Copy)]
pub struct Sign {
    /// What `when` calls it.
    pub word: &'static str,
    ask: fn(&Look<'_>) -> bool,
}

impl std::fmt::Debug for Sign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word)
    }
}

impl Sign {
    /// Whether it holds.
    pub fn holds(self, look: &Look<'_>) -> bool {
        (self.ask)(look)
    }

    /// All of them.
    pub const ALL: &'static [Self] = &[
        sign("html-only", |look| has_html(look) && !has_plain(look)),
        sign("alternative-without-text", alternative_without_text),
        sign("structure-odd", |look| {
            look.parts().iter().any(|part| !part.oddities.is_empty())
        }),
        sign("text-in-base64", |look| {
            look.parts().iter().any(|part| {
                part.content_type.kind == "text"
                    && part.encoding == Encoding::Base64
                    && !part.is_attachment()
            })
        }),
        sign("picture-with-little-text", |look| {
            let picture = |part: &crate::mail::mime::Part| part.content_type.kind == "image";
            look.parts().iter().any(picture) && look.words() < 120
        }),
        sign("html-picture-with-little-text", |look| {
            has_html(look) && look.words() < 60 && holds(&PICTURE, look.html())
        }),
        sign("html-without-start", |look| {
            has_html(look) && !holds(&HTML_START, look.html())
        }),
        sign("link-mismatch", link_mismatch),
        sign("subject-empty", |look| {
            look.mail.content.subject.trim().is_empty()
        }),
        sign("subject-raw-octets", |look| {
            let subject = look.field("Subject");
            !subject.is_ascii() && !subject.contains("=?")
        }),
        sign("reply-without-thread", |look| {
            holds(&REPLY, &look.mail.content.subject) && !is_threaded(look)
        }),
        sign("threaded", is_threaded),
        sign("threaded-reply", |look| {
            is_threaded(look) && holds(&REPLY_OF_LIST, &look.mail.content.subject)
        }),
        sign("quotes-text", |look| {
            let quoted = |text: &str| text.lines().filter(|line| line.starts_with('>')).count();
            look.plain().map(quoted).sum::<usize>() >= 2
        }),
        sign("author-is-recipient", author_is_recipient),
        sign("message-id-added-late", message_id_added_late),
        sign("message-id-of-author", message_id_of_author),
        sign("outlook-message-id-alone", |look| {
            holds(&OUTLOOK_ID, &look.field("Message-ID")) && !mailer(look).contains("Outlook")
        }),
        sign("priority-without-outlook", |look| {
            look.has("X-Priority") && !look.has("X-MimeOLE")
        }),
        sign("msmail-without-outlook", |look| {
            look.has("X-MSMail-Priority") && !look.has("X-MimeOLE")
        }),
        sign("text-capitals", |look| capitals(look) >= 40),
        sign("text-some-capitals", |look| capitals(look) >= 20),
        sign("text-other-script", |look| {
            // Letters from afar are outside ASCII.
            if look.text.is_ascii() {
                return false;
            }
            let letters = look.text.chars().filter(|c| c.is_alphabetic()).count();
            let far = look
                .text
                .chars()
                .filter(|c| *c > '\u{24F}' && c.is_alphabetic())
                .count();
            far * 4 > letters.max(20)
        }),
        sign("date-unreadable", |look| {
            look.has("Date") && lateness::date(look).is_none()
        }),
    ];

    /// The one of this word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|sign| sign.word == word)
    }
}

const fn sign(word: &'static str, ask: fn(&Look<'_>) -> bool) -> Sign {
    Sign { word, ask }
}

/// Whether `Date` lies so many seconds ahead of when the message was received, or behind if they are negative.
pub(in crate::policy) fn is_date_beyond(look: &Look<'_>, seconds: i64, now: Timestamp) -> bool {
    lateness::ahead(look, now).is_some_and(|ahead| match seconds >= 0 {
        true => ahead > seconds,
        false => ahead < seconds,
    })
}

fn has_html(look: &Look<'_>) -> bool {
    look.parts().iter().any(|part| part.is("text", "html"))
}

fn has_plain(look: &Look<'_>) -> bool {
    look.parts()
        .iter()
        .any(|part| part.is("text", "plain") && part.is_leaf())
}

fn alternative_without_text(look: &Look<'_>) -> bool {
    let root = look.parts().first();
    let alternative = root.is_some_and(|root| root.is("multipart", "alternative"));
    alternative && has_html(look) && look.plain().all(|text| text.trim().len() < 10)
}

fn is_threaded(look: &Look<'_>) -> bool {
    look.has("In-Reply-To") || look.has("References")
}

fn mailer(look: &Look<'_>) -> String {
    match look.has("X-Mailer") {
        true => look.field("X-Mailer"),
        false => look.field("User-Agent"),
    }
}

/// The share of capitals among the letters, in per cent; 0 for a text of a few letters.
fn capitals(look: &Look<'_>) -> usize {
    match letters(&look.text) {
        (_, 0..40) => 0,
        (capitals, letters) => capitals * 100 / letters,
    }
}

/// The capitals of a text, and all its letters.
fn letters(text: &str) -> (usize, usize) {
    // Octets are counted many at a time; letter by letter only what is beyond ASCII.
    let (mut capitals, mut letters) = (0, 0);
    for block in text.as_bytes().chunks(COUNTED_OCTETS) {
        let count = |bits: u8| {
            let is = |octet: &u8| u8::from((octet & bits).wrapping_sub(b'A') < 26);
            block.iter().map(is).sum::<u8>()
        };
        capitals += usize::from(count(0xFF));
        letters += usize::from(count(!0x20)); // small letters without the bit that makes them so
    }
    if !text.is_ascii() {
        for c in text.chars().filter(|c| !c.is_ascii()) {
            letters += usize::from(c.is_alphabetic());
            capitals += usize::from(c.is_uppercase());
        }
    }
    (capitals, letters)
}

/// Octets whose count fits into one.
const COUNTED_OCTETS: usize = 128;

/// A link whose text shows an address at another site than where it leads.
fn link_mismatch(look: &Look<'_>) -> bool {
    let Some(links) = LINK_WITH_TEXT.as_ref() else {
        return false;
    };
    let mut found = links.captures_iter(look.html()).take(50);
    found.any(|link| site(&link[1]) != site(&link[2]))
}

/// The last two labels, three where the last but one is a short one such as `co.uk`: enough to tell sites apart.
fn site(host: &str) -> String {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let labels: Vec<&str> = host.rsplit('.').collect();
    let short = labels.len() > 2 && labels[1].len() <= 3 && labels[0].len() == 2;
    let count = if short { 3 } else { 2 };
    let site: Vec<&str> = labels.into_iter().take(count).collect();
    site.join(".")
}

fn author_is_recipient(look: &Look<'_>) -> bool {
    let to = crate::policy::author::authors(look.mail.header, "To");
    let author = look.from.iter().find_map(|author| author.mailbox.as_ref());
    author.is_some_and(|author| {
        let mut others = to.iter().filter_map(|to| to.mailbox.as_ref());
        others.any(|to| to.folded() == author.folded())
    })
}

/// A Message-ID with a trace above which another one stands: a server on the way added it, the author's program did
/// not.
fn message_id_added_late(look: &Look<'_>) -> bool {
    let fields = look.mail.header.fields();
    let id = fields.iter().position(|field| field.is("Message-ID"));
    id.is_some_and(|at| fields[at + 1..].iter().any(|field| field.is("Received")))
}

fn message_id_of_author(look: &Look<'_>) -> bool {
    let id = look.field("Message-ID");
    let of = id
        .rsplit_once('@')
        .map(|(_, domain)| site(domain.trim().trim_end_matches('>')));
    let author = look
        .from
        .iter()
        .find_map(|author| author.mailbox.as_ref()?.domain());
    author.is_some_and(|author| of == Some(site(author.as_str())))
}

fn holds(regex: &LazyLock<Option<Regex>>, text: &str) -> bool {
    regex.as_ref().is_some_and(|regex| regex.is_match(text))
}

type Lazy = LazyLock<Option<Regex>>;
static PICTURE: Lazy = LazyLock::new(|| Regex::new("(?i)<img").ok());
static HTML_START: Lazy = LazyLock::new(|| Regex::new("(?i)<html").ok());
static REPLY: Lazy = LazyLock::new(|| Regex::new(r"(?i)^re\s*:").ok());
static REPLY_OF_LIST: Lazy =
    LazyLock::new(|| Regex::new(r"(?i)^(\[[^]]{1,60}\]\s*)?(re|aw|sv|fwd?)\s*:").ok());
static OUTLOOK_ID: Lazy =
    LazyLock::new(|| Regex::new(r"^<[0-9a-f]{12}\$[0-9a-f]{8}\$[0-9a-f]{8}@").ok());
static LINK_WITH_TEXT: Lazy = LazyLock::new(|| {
    Regex::new(
        r#"(?i)<a\s[^>]*href\s*=\s*["']?https?://([a-z0-9.-]+)[^>]*>\s*(?:<[^>]+>\s*)*(?:https?://)?((?:[a-z0-9-]+\.)+[a-z]{2,})"#,
    )
    .ok()
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::spam::Specimen;
    use proptest::prelude::*;

    fn speaks(message: &str, word: &str) -> bool {
        let specimen = Specimen::read(message.replace('\n', "\r\n").into_bytes());
        specimen.ask(|mail| Sign::of(word).unwrap().holds(&Look::new(*mail)))
    }

    proptest! {
        #[test]
        fn letters_are_counted_as_one_by_one(text in "(\\PC|[A-Za-z@\\[`{ÀÅå]){0,300}") {
            let count = |is: fn(char) -> bool| text.chars().filter(|c| is(*c)).count();
            prop_assert_eq!(letters(&text), (count(char::is_uppercase), count(char::is_alphabetic)));
        }
    }

    #[test]
    fn every_expression_compiles() {
        for regex in [
            &PICTURE,
            &HTML_START,
            &REPLY,
            &REPLY_OF_LIST,
            &OUTLOOK_ID,
            &LINK_WITH_TEXT,
        ] {
            assert!(regex.is_some());
        }
    }

    #[test]
    fn each_sign_speaks_for_what_it_says_and_not_for_what_is_near_it() {
        let html = "MIME-Version: 1.0\nContent-Type: text/html\n\n";
        let both = "MIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain\n\n";
        let rest = "\n--b\nContent-Type: text/html\n\n<html>hello</html>\n--b--\n";
        let shout = "BUY ALL OF THIS NOW AND BE HAPPY EVER AFTER IN THIS LIFE";
        for (expected, word, message) in [
            (true, "html-only", format!("{html}<html>x</html>")),
            (false, "html-only", format!("{both}hello{rest}")),
            (true, "alternative-without-text", format!("{both}{rest}")),
            (false, "alternative-without-text", format!("{both}hello, how are you{rest}")),
            (true, "structure-odd", "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n".into()),
            (false, "structure-odd", format!("{both}hello{rest}")),
            (true, "text-in-base64", "MIME-Version: 1.0\nContent-Type: text/plain\nContent-Transfer-Encoding: base64\n\naGVsbG8=\n".into()),
            (false, "text-in-base64", "Subject: x\n\nhello\n".into()),
            (true, "html-picture-with-little-text", format!("{html}<html><IMG src=x></html>")),
            (false, "html-picture-with-little-text", format!("{html}<html><img src=x>{}</html>", "word ".repeat(80))),
            (true, "html-without-start", format!("{html}<p>x")),
            (false, "html-without-start", format!("{html}<HTML><p>x")),
            (true, "link-mismatch", format!("{html}<a class=c href='http://evil.example/x'><b>www.bank.example</b></a>")),
            (false, "link-mismatch", format!("{html}<a href='http://login.bank.co.uk/x'>www.bank.co.uk</a>")),
            (false, "link-mismatch", format!("{html}<a href='http://evil.example/x'>click here</a>")),
            (true, "subject-empty", "Subject: \n\nx\n".into()),
            (false, "subject-empty", "Subject: x\n\nx\n".into()),
            (true, "subject-raw-octets", "Subject: caf\u{e9}\n\nx\n".into()),
            (false, "subject-raw-octets", "Subject: =?utf-8?q?caf=C3=A9?=\n\nx\n".into()),
            (true, "reply-without-thread", "Subject: Re: x\n\nx\n".into()),
            (false, "reply-without-thread", "Subject: Re: x\nReferences: <a@b>\n\nx\n".into()),
            (true, "threaded-reply", "Subject: [list] Re: x\nIn-Reply-To: <a@b>\n\nx\n".into()),
            (true, "quotes-text", "Subject: x\n\n> a\n> b\n".into()),
            (false, "quotes-text", "Subject: x\n\n> a\n".into()),
            (true, "author-is-recipient", "From: a@b.example\nTo: x <A@b.example>\n\nx\n".into()),
            (false, "author-is-recipient", "From: a@b.example\nTo: c@b.example\n\nx\n".into()),
            (true, "message-id-added-late", "Message-ID: <a@b>\nReceived: x\n\nx\n".into()),
            (false, "message-id-added-late", "Received: x\nMessage-ID: <a@b>\n\nx\n".into()),
            (true, "message-id-of-author", "From: a@b.example\nMessage-ID: <1@mail.b.example>\n\nx\n".into()),
            (false, "message-id-of-author", "From: a@b.example\nMessage-ID: <1@c.test>\n\nx\n".into()),
            (true, "outlook-message-id-alone", "Message-ID: <000001c2a1b2$0a0b0c0d$01020304@x>\n\nx\n".into()),
            (false, "outlook-message-id-alone", "X-Mailer: Microsoft Outlook 16\nMessage-ID: <000001c2a1b2$0a0b0c0d$01020304@x>\n\nx\n".into()),
            (true, "text-capitals", format!("Subject: x\n\n{shout}\n")),
            (false, "text-capitals", format!("Subject: x\n\n{}\n", shout.to_lowercase())),
            (false, "text-capitals", "Subject: x\n\nMDT FRI OK\n".into()),
            (true, "text-other-script", format!("Content-Type: text/plain; charset=utf-8\n\n{}\n", "\u{43f}\u{440}\u{438} ".repeat(20))),
            (false, "text-other-script", "Content-Type: text/plain; charset=utf-8\n\nFlügel, naïve, Łódź and so on and so on\n".into()),
            (true, "date-unreadable", "Date: yesterday\n\nx\n".into()),
            (false, "date-unreadable", "Date: Fri, 20 Nov 2026 10:00:00 GMT (UTC)\n\nx\n".into()),
        ] {
            assert_eq!(speaks(&message, word), expected, "{word}: {message}");
        }
    }

    #[test]
    fn date_is_held_against_the_last_server_that_had_the_message() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let beyond = |header: &str, seconds| {
            let specimen = Specimen::read(format!("{header}\r\n\r\nx\r\n").into_bytes());
            specimen.ask(|mail| is_date_beyond(&Look::new(*mail), seconds, now))
        };
        let trace = "Received: from a by b; Fri, 20 Nov 2026 10:00:00 +0000 (GMT)\r\n";
        assert!(beyond(
            &format!("{trace}Date: Fri, 20 Nov 2026 11:00:00 +0000"),
            1_200
        ));
        assert!(!beyond(
            &format!("{trace}Date: Fri, 20 Nov 2026 10:10:00 +0000"),
            1_200
        ));
        assert!(beyond(
            &format!("{trace}Date: Mon, 2 Nov 2026 10:00:00 +0000"),
            -172_800
        ));
        assert!(!beyond("Date: Fri, 20 Nov 2026 11:00:00 +0000", 1_200));
        assert!(!beyond("Date: never", 1_200));
    }
}
