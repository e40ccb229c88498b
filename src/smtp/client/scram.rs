//! The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), without binding.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::mail::scram::client_sums;

/// An exchange that has begun.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Begun {
    bare: String,
    nonce: String,
}

/// Begins: the exchange, and the first message in base64.
pub(super) fn begin(username: &str, nonce: String) -> (Begun, String) {
    let name = username.replace('=', "=3D").replace(',', "=2C");
    let bare = format!("n={name},r={nonce}");
    let line = BASE64.encode(format!("n,,{bare}"));
    (Begun { bare, nonce }, line)
}

impl Begun {
    /// Answers the server's challenge: the last message in base64, and what the server must then show. `None` if the
    /// challenge is not one: not of this exchange, or so cheap or so dear that something is wrong with it.
    pub(super) fn answer(&self, challenge: &str, password: &str) -> Option<(String, String)> {
        let challenge = String::from_utf8(BASE64.decode(challenge.trim()).ok()?).ok()?;
        let mut fields = challenge.split(',');
        let mut field = |name: &str| fields.next()?.strip_prefix(name);
        let (nonce, salt, rounds) = (field("r=")?, field("s=")?, field("i=")?);
        let is_ours = nonce.starts_with(&self.nonce) && nonce.len() > self.nonce.len();
        let salt = BASE64.decode(salt).ok()?;
        let rounds: NonZeroU32 = rounds.parse().ok()?;
        let fits = (ROUNDS_MIN..=ROUNDS_MAX).contains(&rounds.get());
        let printable = password.bytes().all(|octet| (0x20..0x7f).contains(&octet));
        if !is_ours || !fits || !printable {
            return None;
        }
        let without = format!("c=biws,r={nonce}");
        let auth = format!("{},{challenge},{without}", self.bare);
        let (proof, signature) = client_sums(password, &salt, rounds, auth.as_bytes());
        let line = format!("{without},p={}", BASE64.encode(proof));
        let expected = format!("v={}", BASE64.encode(signature));
        Some((BASE64.encode(line), BASE64.encode(expected)))
    }
}

/// RFC 7677 §4.
const ROUNDS_MIN: u32 = 4_096;
/// Some seconds of a processor: no honest server asks for more.
const ROUNDS_MAX: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677 §3.
    #[test]
    fn the_example_of_the_rfc_comes_out() {
        let (begun, line) = begin("user", "rOprNGfwEbeRWgbNEkqO".to_owned());
        assert_eq!(line, BASE64.encode("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"));
        let challenge = |text: &str| begun.answer(&BASE64.encode(text), "pencil");
        let good = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let (line, expected) = challenge(good).unwrap();
        assert!(
            String::from_utf8(BASE64.decode(line).unwrap())
                .unwrap()
                .ends_with(",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
        );
        assert_eq!(
            BASE64.decode(expected).unwrap(),
            b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
        for bad in [
            good.replace("r=rOp", "r=xOp"),
            good.replace("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", ""),
            good.replace("i=4096", "i=1"),
            good.replace("i=4096", "i=4000000000"),
            good.replace("s=W22Za", "s=*"),
            String::new(),
        ] {
            assert_eq!(challenge(&bad), None, "{bad}");
        }
    }
}
