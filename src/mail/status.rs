//! Replies and status codes: what one server says to another (RFC 5321 §4.2, RFC 3463).

use std::fmt;

/// A reply of an SMTP server: a code, an enhanced code where one applies, and lines of text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    code: ReplyCode,
    enhanced: Option<EnhancedStatusCode>,
    lines: Vec<String>,
}

impl Reply {
    /// A reply of one line.
    pub fn new(code: u16, enhanced: EnhancedStatusCode, text: impl Into<String>) -> Self {
        Self::from_parts(ReplyCode(code), Some(enhanced), vec![text.into()])
    }

    /// A reply without an enhanced code: greetings, EHLO, 354 (RFC 2034 §4).
    pub fn plain(code: u16, text: impl Into<String>) -> Self {
        Self::from_parts(ReplyCode(code), None, vec![text.into()])
    }

    /// A reply of several lines. Control octets in the lines become spaces, so that no text can
    /// end a line; an empty list is one empty line.
    pub fn from_parts(
        code: ReplyCode,
        enhanced: Option<EnhancedStatusCode>,
        lines: Vec<String>,
    ) -> Self {
        let mut lines: Vec<String> = lines
            .into_iter()
            .map(|line| line.replace(|c: char| c.is_control(), " "))
            .collect();
        if lines.is_empty() {
            lines.push(String::new());
        }
        Self {
            code,
            enhanced,
            lines,
        }
    }

    /// The three-digit code.
    pub fn code(&self) -> ReplyCode {
        self.code
    }

    /// The enhanced status code, if the reply carried one.
    pub fn enhanced(&self) -> Option<EnhancedStatusCode> {
        self.enhanced
    }

    /// The lines of text, without codes; at least one.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The text in one line.
    pub fn text(&self) -> String {
        self.lines.join(" ")
    }

    /// The enhanced code that this reply amounts to: its own if its class agrees with the code's,
    /// else `class.0.0` (RFC 3463 §2; servers are known to answer `550 2.0.0`).
    pub fn status(&self) -> EnhancedStatusCode {
        let class = self.code.class();
        match self.enhanced {
            Some(enhanced) if enhanced.class == class => enhanced,
            _ => EnhancedStatusCode {
                class,
                subject: 0,
                detail: 0,
            },
        }
    }

    /// Appends the reply as it goes over the wire (RFC 5321 §4.2.1, RFC 2034 §4).
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let last = self.lines.len() - 1;
        for (i, line) in self.lines.iter().enumerate() {
            let separator = if i == last { ' ' } else { '-' };
            out.extend_from_slice(format!("{}{separator}", self.code).as_bytes());
            if let Some(enhanced) = self.enhanced {
                out.extend_from_slice(format!("{enhanced} ").as_bytes());
            }
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

impl fmt::Display for Reply {
    /// In one line, for logs, reports and the audit trail.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        write!(f, " {}", self.text())
    }
}

/// A three-digit reply code (RFC 5321 §4.2.1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ReplyCode(u16);

impl ReplyCode {
    /// A code between 200 and 599; `None` outside.
    pub fn new(code: u16) -> Option<Self> {
        (200..600).contains(&code).then_some(Self(code))
    }

    /// The number.
    pub fn value(self) -> u16 {
        self.0
    }

    /// What the first digit says.
    pub fn class(self) -> Class {
        match self.0 / 100 {
            2 | 3 => Class::Success,
            4 => Class::Transient,
            _ => Class::Permanent,
        }
    }

    /// 2xx.
    pub fn is_positive(self) -> bool {
        self.0 / 100 == 2
    }
}

impl fmt::Display for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03}", self.0)
    }
}

/// The first digit of an enhanced status code (RFC 3463 §3.1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Class {
    /// 2: done.
    Success,
    /// 4: try again.
    Transient,
    /// 5: do not try again.
    Permanent,
}

/// An enhanced status code: class, subject and detail (RFC 3463 §2).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct EnhancedStatusCode {
    class: Class,
    subject: u16,
    detail: u16,
}

impl EnhancedStatusCode {
    /// `2.subject.detail`.
    pub const fn success(subject: u16, detail: u16) -> Self {
        Self {
            class: Class::Success,
            subject,
            detail,
        }
    }

    /// `4.subject.detail`.
    pub const fn transient(subject: u16, detail: u16) -> Self {
        Self {
            class: Class::Transient,
            subject,
            detail,
        }
    }

    /// `5.subject.detail`.
    pub const fn permanent(subject: u16, detail: u16) -> Self {
        Self {
            class: Class::Permanent,
            subject,
            detail,
        }
    }

    /// Reads `5.1.1`; each number after the first has one to three digits.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let class = match parts.next()? {
            "2" => Class::Success,
            "4" => Class::Transient,
            "5" => Class::Permanent,
            _ => return None,
        };
        let mut number = || {
            let part = parts.next()?;
            let shaped = (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            shaped.then(|| part.parse::<u16>().ok()).flatten()
        };
        let (subject, detail) = (number()?, number()?);
        parts.next().is_none().then_some(Self {
            class,
            subject,
            detail,
        })
    }

    /// What the first digit says.
    pub fn class(self) -> Class {
        self.class
    }

    /// The second number (RFC 3463 §3.2 on).
    pub fn subject(self) -> u16 {
        self.subject
    }

    /// The third number.
    pub fn detail(self) -> u16 {
        self.detail
    }
}

impl fmt::Display for EnhancedStatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = match self.class {
            Class::Success => 2,
            Class::Transient => 4,
            Class::Permanent => 5,
        };
        write!(f, "{class}.{}.{}", self.subject, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_of_several_lines_carries_the_enhanced_code_on_each() {
        let reply = Reply::from_parts(
            ReplyCode(550),
            Some(EnhancedStatusCode::permanent(7, 1)),
            vec!["one".into(), "two\r\n250 ok".into()],
        );
        let mut wire = Vec::new();
        reply.write_to(&mut wire);
        assert_eq!(wire, b"550-5.7.1 one\r\n550 5.7.1 two  250 ok\r\n");
    }

    #[test]
    fn an_enhanced_code_of_another_class_is_not_believed() {
        let reply = Reply::new(550, EnhancedStatusCode::success(0, 0), "all is well");
        assert_eq!(reply.status().to_string(), "5.0.0");
    }

    #[test]
    fn enhanced_codes_parse_back() {
        for text in ["2.0.0", "4.7.123", "5.1.10"] {
            assert_eq!(EnhancedStatusCode::parse(text).unwrap().to_string(), text);
        }
        for bad in ["", "3.0.0", "5.1", "5.1.1.1", "5.1.1234", "5..1", "5.a.1"] {
            assert!(EnhancedStatusCode::parse(bad).is_none(), "{bad}");
        }
    }
}
