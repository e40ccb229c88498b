//! What is refused at sight, before the policy is asked: a message that nobody could read in one way,
//! and one that goes round in circles.

use tracing::warn;

use crate::mail::{EnhancedStatusCode as Code, Message, Reply, trace};

use super::settings::Limits;

/// Why the message is not taken, if so.
pub fn refusal(message: &Message, hostname: &str, limits: &Limits) -> Option<Reply> {
    if message.header_octets().len() > limits.header_octets {
        // Fields cost far more in memory than on the wire.
        let text = "the header of the message is too big";
        return Some(Reply::new(552, Code::permanent(3, 4), text));
    }
    // RFC 5322 §2.2.3: such a line folds the field before it. There is none but those that we put on top,
    // and the client would write the end of ours.
    if message.octets().starts_with(b" ") || message.octets().starts_with(b"\t") {
        let text = "the message begins with white space, so its first field has no name";
        return Some(Reply::new(550, Code::permanent(6, 0), text));
    }
    goes_in_circles(message, hostname, limits.received_hops)
}

/// RFC 5321 §6.3.
fn goes_in_circles(message: &Message, hostname: &str, hops_max: usize) -> Option<Reply> {
    let header = message.header();
    let hops = trace::received_count(&header);
    let own = trace::own_received_count(&header, hostname);
    if hops <= hops_max && own < OWN_HOPS_MAX {
        return None;
    }
    warn!(hops, own, "a message goes round in circles: refused");
    let text = "this message goes round in circles";
    Some(Reply::new(554, Code::permanent(4, 6), text))
}

/// So many times may mail have been here before: out to a list and back is once.
const OWN_HOPS_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn code(message: impl Into<Vec<u8>>) -> Option<u16> {
        let limits = Limits {
            header_octets: 1_000,
            received_hops: 10,
            ..Limits::default()
        };
        let refused = refusal(&Message::new(message.into()), "gw.example", &limits);
        refused.map(|reply| reply.code().value())
    }

    #[test]
    fn a_header_has_its_limit_and_a_body_has_not() {
        let fields = "a:\r\n".repeat(250);
        assert_eq!(code(format!("{fields}\r\n{}", "x".repeat(9_000))), None);
        assert_eq!(code(format!("{fields}a:\r\n\r\nx")), Some(552));
        assert_eq!(code(format!("{fields}a:\r\n")), Some(552));
    }

    #[test]
    fn nobody_goes_on_with_a_field_of_ours() {
        for begun in [" ; dmarc=pass\r\nA: b\r\n\r\nx", "\tx\r\n", " "] {
            assert_eq!(code(begun), Some(550), "{begun:?}");
        }
        for taken in [
            "",
            "\r\n",
            "\r\n folded body",
            "A: b\r\n c\r\n\r\nx",
            "no header",
        ] {
            assert_eq!(code(taken), None, "{taken:?}");
        }
    }

    #[test]
    fn what_was_here_or_anywhere_too_often_is_refused() {
        let own = "Received: from by ([192.0.2.1])\r\n\tby gw.example with ESMTP; x\r\n";
        assert_eq!(code(own.repeat(2)), None);
        assert_eq!(code(own.repeat(3)), Some(554));
        let other = "Received: from a by b; x\r\n";
        assert_eq!(code(other.repeat(10)), None);
        assert_eq!(code(other.repeat(11)), Some(554));
    }
}
