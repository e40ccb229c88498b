//! The service extensions of an SMTP server: what it says to EHLO, and what a client reads there.
//!
//! One type for both sides: our server prints it, our client parses what the next hop printed, and
//! what is printed parses back.

/// What a server offers (RFC 5321 §2.2).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Extensions {
    /// Commands may be sent in groups (RFC 2920).
    pub pipelining: bool,
    /// The largest message taken, in octets; 0 is no fixed limit (RFC 1870). `None`: not offered.
    pub size: Option<u64>,
    /// 8-bit messages (RFC 6152).
    pub eight_bit_mime: bool,
    /// UTF-8 in addresses and header fields (RFC 6531).
    pub smtputf8: bool,
    /// BDAT (RFC 3030).
    pub chunking: bool,
    /// RET, ENVID, NOTIFY, ORCPT (RFC 3461).
    pub dsn: bool,
    /// Enhanced status codes in replies (RFC 2034).
    pub enhanced_status_codes: bool,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// REQUIRETLS (RFC 8689).
    pub require_tls: bool,
    /// MT-PRIORITY (RFC 6710), of the profile MIXER.
    pub mt_priority: bool,
    /// SASL mechanisms, in upper case (RFC 4954). Empty: AUTH is not offered.
    pub auth: Vec<String>,
    /// The most recipients in a transaction (RFC 9422).
    pub recipients_max: Option<u32>,
    /// The most transactions in a session (RFC 9422).
    pub transactions_max: Option<u32>,
}

impl Extensions {
    /// Reads the lines of a reply to EHLO after its first one. What is not known is passed over;
    /// keywords are taken in any case.
    pub fn parse<'l>(lines: impl IntoIterator<Item = &'l str>) -> Self {
        let mut offered = Self::default();
        for line in lines {
            let mut words = line.split_ascii_whitespace();
            let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
            offered.read(&keyword, words);
        }
        offered
    }

    fn read<'l>(&mut self, keyword: &str, mut words: impl Iterator<Item = &'l str>) {
        match keyword {
            "PIPELINING" => self.pipelining = true,
            "SIZE" => self.size = Some(words.next().and_then(|n| n.parse().ok()).unwrap_or(0)),
            "8BITMIME" => self.eight_bit_mime = true,
            "SMTPUTF8" => self.smtputf8 = true,
            "CHUNKING" => self.chunking = true,
            "DSN" => self.dsn = true,
            "ENHANCEDSTATUSCODES" => self.enhanced_status_codes = true,
            "STARTTLS" => self.starttls = true,
            "REQUIRETLS" => self.require_tls = true,
            "MT-PRIORITY" => self.mt_priority = true,
            "AUTH" => self.auth.extend(words.map(str::to_ascii_uppercase)),
            "LIMITS" => words.for_each(|limit| self.read_limit(limit)),
            // Servers of the last century write `AUTH=LOGIN`.
            _ => {
                if let Some(mechanism) = keyword.strip_prefix("AUTH=") {
                    self.auth.push(mechanism.to_owned());
                    self.auth.extend(words.map(str::to_ascii_uppercase));
                }
            }
        }
    }

    fn read_limit(&mut self, limit: &str) {
        let Some((name, value)) = limit.split_once('=') else {
            return;
        };
        let value = value.parse().ok().filter(|value| *value > 0);
        match name.to_ascii_uppercase().as_str() {
            "RCPTMAX" => self.recipients_max = value,
            "MAILMAX" => self.transactions_max = value,
            _ => {}
        }
    }

    /// The lines of a reply to EHLO after its first one.
    pub fn lines(&self) -> Vec<String> {
        let flags = [
            (self.pipelining, "PIPELINING"),
            (self.eight_bit_mime, "8BITMIME"),
            (self.smtputf8, "SMTPUTF8"),
            (self.chunking, "CHUNKING"),
            (self.dsn, "DSN"),
            (self.enhanced_status_codes, "ENHANCEDSTATUSCODES"),
            (self.starttls, "STARTTLS"),
            (self.require_tls, "REQUIRETLS"),
            (self.mt_priority, "MT-PRIORITY"),
        ];
        let offered = flags.iter().filter(|(on, _)| *on);
        let mut lines: Vec<String> = offered.map(|(_, keyword)| (*keyword).to_owned()).collect();
        lines.extend(self.size.map(|octets| format!("SIZE {octets}")));
        if !self.auth.is_empty() {
            lines.push(format!("AUTH {}", self.auth.join(" ")));
        }
        let recipients = self.recipients_max.map(|max| format!(" RCPTMAX={max}"));
        let transactions = self.transactions_max.map(|max| format!(" MAILMAX={max}"));
        if recipients.is_some() || transactions.is_some() {
            let limits = [transactions, recipients].into_iter().flatten();
            lines.push(format!("LIMITS{}", limits.collect::<String>()));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_another_server_offers_is_read_in_any_case() {
        let offered = Extensions::parse([
            "pipelining",
            "Size 35882577",
            "AUTH plain LOGIN",
            "AUTH=LOGIN",
            "X-ANYTHING at all",
            "",
            "LIMITS RCPTMAX=100 MAILMAX=x FOO=1",
        ]);
        assert!(offered.pipelining && !offered.chunking);
        assert_eq!(offered.size, Some(35_882_577));
        assert_eq!(offered.auth, ["PLAIN", "LOGIN", "LOGIN"]);
        assert_eq!(
            (offered.recipients_max, offered.transactions_max),
            (Some(100), None)
        );
        assert_eq!(Extensions::parse(["SIZE"]).size, Some(0));
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_back(flags in any::<[bool; 9]>(), size in any::<Option<u64>>(), auth in proptest::collection::vec("[A-Z]{1,8}", 0..3), recipients in proptest::option::of(1u32..999_999), transactions in proptest::option::of(1u32..999_999)) {
            let [pipelining, eight_bit_mime, smtputf8, chunking, dsn, enhanced_status_codes, starttls, require_tls, mt_priority] = flags;
            let offered = Extensions {
                pipelining, eight_bit_mime, smtputf8, chunking, dsn, enhanced_status_codes, starttls, require_tls, mt_priority,
                size, auth, recipients_max: recipients, transactions_max: transactions,
            };
            let lines = offered.lines();
            prop_assert_eq!(Extensions::parse(lines.iter().map(String::as_str)), offered);
        }

        #[test]
        fn parsing_never_panics(lines in proptest::collection::vec("\\PC{0,40}", 0..5)) {
            Extensions::parse(lines.iter().map(String::as_str));
        }
    }
}
