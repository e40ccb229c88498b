//! On whose paper the gateway itself writes: its name, and the signature under every report and notice.

use std::fmt;
use std::sync::Arc;

use crate::mail::Message;

/// The name of the gateway and what signs in it. Cheap to clone. Every report and notice goes over one on its
/// way into the queue.
#[derive(Clone)]
pub struct Letterhead {
    hostname: Arc<str>,
    sign: Option<Sign>,
}

/// Signs a message, or gives it back as it is: a report that cannot be signed is still a report.
type Sign = Arc<dyn Fn(Message) -> Message + Send + Sync>;

impl Letterhead {
    /// Writes in this name and signs nothing.
    pub fn new(hostname: impl fmt::Display) -> Self {
        Self {
            hostname: hostname.to_string().into(),
            sign: None,
        }
    }

    /// The same with a signature.
    #[must_use]
    pub fn signing(mut self, sign: impl Fn(Message) -> Message + Send + Sync + 'static) -> Self {
        self.sign = Some(Arc::new(sign));
        self
    }

    /// The name of the gateway.
    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    /// The message as it goes into the queue.
    pub fn sign(&self, message: Message) -> Message {
        match &self.sign {
            Some(sign) => sign(message),
            None => message,
        }
    }
}

impl From<&str> for Letterhead {
    fn from(hostname: &str) -> Self {
        Self::new(hostname)
    }
}

impl PartialEq for Letterhead {
    fn eq(&self, other: &Self) -> bool {
        self.hostname == other.hostname
    }
}

impl Eq for Letterhead {}

impl fmt::Debug for Letterhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Letterhead({})", self.hostname)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_bears_the_signature_if_there_is_one() {
        let message = || Message::new(&b"A: b\r\n\r\nx"[..]);
        let plain = Letterhead::new("gate.example");
        assert_eq!(plain.sign(message()), message());
        let signing = plain.signing(|message| message.with_fields_on_top("S: x\r\n"));
        assert_eq!(
            &signing.sign(message()).octets()[..],
            b"S: x\r\nA: b\r\n\r\nx"
        );
        assert_eq!(signing.hostname(), "gate.example");
    }
}
