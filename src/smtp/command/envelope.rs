//! `MAIL FROM:<…>` and `RCPT TO:<…>`: the path, and the parameters of the extensions that we offer (RFC 5321 §4.1.2).

use crate::mail::{
    BodyType, EnvId, Envelope, ForwardPath, Notify, Orcpt, Recipient, Ret, ReversePath,
};

use super::{Command, CommandError, MAIL_FORM, Mail, RCPT_FORM};

/// Reads what stands behind `MAIL`.
pub(super) fn mail(argument: &str) -> Result<Mail, CommandError> {
    let malformed = CommandError::Syntax(MAIL_FORM);
    let (path, rest) = path(argument, "FROM:").ok_or(malformed)?;
    let reverse_path = ReversePath::parse(path).map_err(CommandError::ReversePath)?;
    let mut mail = Mail {
        envelope: Envelope::new(reverse_path),
        size: None,
        auth: false,
    };
    let mut seen = Vec::new();
    for word in rest.split_ascii_whitespace() {
        let (keyword, value) = parameter(word, &mut seen).ok_or(malformed)?;
        mail.set(keyword, value, seen_twice(&seen))?;
    }
    if !argument.is_ascii() && !mail.envelope.smtputf8 {
        return Err(CommandError::NeedsSmtpUtf8);
    }
    Ok(mail)
}

impl Mail {
    fn set(&mut self, keyword: &str, value: Option<&str>, twice: bool) -> Result<(), CommandError> {
        let name = known_keyword(keyword, MAIL_KEYWORDS)?;
        let bad = CommandError::BadParameter(name);
        if twice {
            return Err(bad);
        }
        let envelope = &mut self.envelope;
        match (name, value) {
            ("SIZE", Some(value)) => self.size = Some(octets(value).ok_or(bad)?),
            ("BODY", Some(value)) => envelope.body = body(value)?,
            ("RET", Some(value)) => envelope.ret = Some(Ret::parse(value).ok_or(bad)?),
            ("ENVID", Some(value)) => envelope.env_id = Some(EnvId::parse(value).ok_or(bad)?),
            ("AUTH", Some(value)) if !value.is_empty() => self.auth = true,
            ("SMTPUTF8", None) => envelope.smtputf8 = true,
            ("REQUIRETLS", None) => envelope.require_tls = true,
            ("MT-PRIORITY", Some(value)) => {
                envelope.mt_priority = Some(priority(value).ok_or(bad)?);
            }
            _ => return Err(bad),
        }
        Ok(())
    }
}

/// Reads what stands behind `RCPT`.
pub(super) fn rcpt(argument: &str) -> Result<Command, CommandError> {
    let malformed = CommandError::Syntax(RCPT_FORM);
    let (path, rest) = path(argument, "TO:").ok_or(malformed)?;
    let forward_path = ForwardPath::parse(path).map_err(CommandError::ForwardPath)?;
    let mut recipient = Recipient::new(forward_path);
    let mut seen = Vec::new();
    for word in rest.split_ascii_whitespace() {
        let (keyword, value) = parameter(word, &mut seen).ok_or(malformed)?;
        let name = known_keyword(keyword, RCPT_KEYWORDS)?;
        let bad = CommandError::BadParameter(name);
        let value = value.filter(|_| !seen_twice(&seen)).ok_or(bad)?;
        match name {
            "NOTIFY" => recipient.notify = Some(Notify::parse(value).ok_or(bad)?),
            _ => recipient.orcpt = Some(Orcpt::parse(value).ok_or(bad)?),
        }
    }
    Ok(Command::Rcpt {
        recipient,
        utf8: !argument.is_ascii(),
    })
}

/// Splits `FROM:<path> parameters` into path and parameters. The path ends at the first `>` that is
/// not inside quotes, and only a space may follow it.
fn path<'a>(argument: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    let named = argument.get(..word.len())?.eq_ignore_ascii_case(word);
    let bracketed = argument[word.len()..]
        .trim_start_matches(' ')
        .strip_prefix('<')?;
    let end = end_of_path(bracketed)?;
    let rest = &bracketed[end + 1..];
    let parted = rest.is_empty() || rest.starts_with(' ');
    (named && parted).then_some((&bracketed[..end], rest))
}

fn end_of_path(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, octet) in text.bytes().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// Reads `keyword` or `keyword=value` (RFC 5321 §4.1.2, RFC 6531 §3.3) and notes the keyword.
fn parameter<'a>(word: &'a str, seen: &mut Vec<&'a str>) -> Option<(&'a str, Option<&'a str>)> {
    let (keyword, value) = match word.split_once('=') {
        Some((keyword, value)) => (keyword, Some(value)),
        None => (word, None),
    };
    let shaped = keyword.starts_with(|c: char| c.is_ascii_alphanumeric())
        && keyword
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let valued = value.is_none_or(|value| !value.contains('='));
    seen.push(keyword);
    (shaped && valued).then_some((keyword, value))
}

/// Whether the last keyword was there before.
fn seen_twice(seen: &[&str]) -> bool {
    let Some((last, before)) = seen.split_last() else {
        return false;
    };
    before
        .iter()
        .any(|keyword| keyword.eq_ignore_ascii_case(last))
}

fn known_keyword(keyword: &str, known: &[&'static str]) -> Result<&'static str, CommandError> {
    let mut known = known.iter().copied();
    known
        .find(|name| name.eq_ignore_ascii_case(keyword))
        .ok_or(CommandError::UnknownParameter)
}

/// A number of octets; one too large for us to count is simply very large.
fn octets(text: &str) -> Option<u64> {
    let shaped = (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    shaped.then(|| text.parse().unwrap_or(u64::MAX))
}

/// A number from -9 to 9, without a sign or zeros that say nothing (RFC 6710 §6).
fn priority(text: &str) -> Option<i8> {
    let number: i8 = text.parse().ok()?;
    ((-9..=9).contains(&number) && number.to_string() == text).then_some(number)
}

fn body(value: &str) -> Result<BodyType, CommandError> {
    match value.to_ascii_uppercase().as_str() {
        "7BIT" => Ok(BodyType::SevenBit),
        "8BITMIME" => Ok(BodyType::EightBitMime),
        "BINARYMIME" => Err(CommandError::UnservedValue("BODY")),
        _ => Err(CommandError::BadParameter("BODY")),
    }
}

const MAIL_KEYWORDS: &[&str] = &[
    "SIZE",
    "BODY",
    "SMTPUTF8",
    "RET",
    "ENVID",
    "AUTH",
    "REQUIRETLS",
    "MT-PRIORITY",
];
const RCPT_KEYWORDS: &[&str] = &["NOTIFY", "ORCPT"];
