//! The server's side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677).
//!
//! Three values, one after the other: what the client said first, what it must prove, and who it has proved to be. No
//! secret is in any of them that would open anything by itself.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::mail::scram::{ScramKeys, Sum};

/// What ties an exchange to the TLS connection that it runs in (RFC 5056); `None` where it is not known.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Bindings {
    /// `tls-exporter` (RFC 9266).
    pub exporter: Option<[u8; 32]>,
    /// `tls-server-end-point` (RFC 5929 §4).
    pub end_point: Option<Vec<u8>>,
}

impl Bindings {
    /// Whether -PLUS can be offered.
    pub fn are_known(&self) -> bool {
        self.exporter.is_some() || self.end_point.is_some()
    }

    fn named(&self, name: &str) -> Option<&[u8]> {
        match name {
            "tls-exporter" => self.exporter.as_ref().map(|octets| &octets[..]),
            "tls-server-end-point" => self.end_point.as_deref(),
            _ => None,
        }
    }
}

/// The first message of a client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientFirst {
    /// The account.
    pub username: String,
    /// Everything after the gs2 header.
    bare: String,
    nonce: String,
    /// What `c=` of the last message must be, before base64.
    binding: Vec<u8>,
}

/// What is wrong with a message of a client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ScramError {
    /// It is not of the form of RFC 5802 §7.
    Malformed,
    /// It is bound to another connection, or thinks that we cannot bind: somebody may stand in between (§6).
    Binding,
}

impl ClientFirst {
    /// Reads `gs2-header client-first-message-bare`. `plus` says whether the mechanism is the one with binding.
    pub fn parse(message: &str, plus: bool, bindings: &Bindings) -> Result<Self, ScramError> {
        let mut parts = message.splitn(3, ',');
        let mut part = || parts.next().ok_or(ScramError::Malformed);
        let (flag, authzid, bare) = (part()?, part()?, part()?);
        let bound = match (flag.strip_prefix("p="), flag, plus) {
            (Some(name), _, true) => bindings.named(name).ok_or(ScramError::Binding)?,
            (None, "n", false) => &[][..],
            // It could bind, and believes that we could not (§6).
            (None, "y", false) if !bindings.are_known() => &[],
            (None, "y", false) => return Err(ScramError::Binding),
            _ => return Err(ScramError::Malformed),
        };
        let binding = [flag.as_bytes(), b",", authzid.as_bytes(), b",", bound].concat();
        let mut fields = bare.split(',');
        let username = field(fields.next(), "n=").and_then(unescape)?;
        let nonce = field(fields.next(), "r=")?;
        // Nobody acts for another here.
        let acts_for = match authzid {
            "" => None,
            text => Some(field(Some(text), "a=").and_then(unescape)?),
        };
        let is_itself = acts_for.is_none_or(|name| name == username);
        let shaped = !username.is_empty()
            && username.len() <= NAME_MAX
            && is_nonce(nonce)
            && is_itself
            // An extension that must be understood is none that we understand.
            && fields.all(|field| !field.starts_with("m="));
        if !shaped {
            return Err(ScramError::Malformed);
        }
        Ok(Self {
            nonce: nonce.to_owned(),
            bare: bare.to_owned(),
            username,
            binding,
        })
    }

    /// The answer to it. `keys` are those of all secrets that the account may have, with one salt.
    pub fn challenge(self, keys: Vec<ScramKeys>, nonce: &str) -> Option<ServerFirst> {
        let first = keys.first()?;
        let nonce = format!("{}{nonce}", self.nonce);
        let salt = STANDARD.encode(&first.salt);
        let message = format!("r={nonce},s={salt},i={}", first.iterations);
        Some(ServerFirst {
            client: self,
            message,
            nonce,
            keys,
        })
    }
}

/// Our challenge, and what is needed to judge the answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerFirst {
    client: ClientFirst,
    /// What is sent.
    pub message: String,
    nonce: String,
    keys: Vec<ScramKeys>,
}

/// What the last message of a client shows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Judged {
    /// The account that it is about.
    pub username: String,
    /// `v=…`: shows the client that we know the keys; `None` if nothing was proved.
    pub server_final: Option<String>,
}

impl ServerFirst {
    /// Judges `c=…,r=…,p=…`.
    pub fn judge(self, message: &str) -> Result<Judged, ScramError> {
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or(ScramError::Malformed)?;
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| ScramError::Malformed);
        let proof: Sum = decode(proof)?
            .try_into()
            .map_err(|_| ScramError::Malformed)?;
        let mut fields = without_proof.split(',');
        let binding = decode(field(fields.next(), "c=")?)?;
        let nonce = field(fields.next(), "r=")?;
        if binding != self.client.binding {
            return Err(ScramError::Binding);
        }
        if nonce != self.nonce {
            return Err(ScramError::Malformed);
        }
        let auth_message = format!("{},{},{without_proof}", self.client.bare, self.message);
        let auth_message = auth_message.as_bytes();
        let proved = self
            .keys
            .iter()
            .find(|keys| keys.proves(&proof, auth_message));
        Ok(Judged {
            server_final: proved
                .map(|keys| format!("v={}", STANDARD.encode(keys.signature(auth_message)))),
            username: self.client.username,
        })
    }
}

/// A nonce of our own; `None` if the system gives no random numbers.
pub fn nonce() -> Option<String> {
    let mut octets = [0; 18];
    getrandom::fill(&mut octets).ok()?;
    Some(STANDARD.encode(octets))
}

/// The value of a field with this name.
fn field<'m>(field: Option<&'m str>, name: &str) -> Result<&'m str, ScramError> {
    let value = field.and_then(|field| field.strip_prefix(name));
    value.ok_or(ScramError::Malformed)
}

/// Printable, without a comma (§7); not so long that it fills memory.
fn is_nonce(text: &str) -> bool {
    (1..=NONCE_MAX).contains(&text.len()) && text.bytes().all(|octet| (0x21..0x7f).contains(&octet))
}

/// `=2C` is a comma and `=3D` an equals sign; any other use of it is an error (§5.1).
fn unescape(text: &str) -> Result<String, ScramError> {
    let mut name = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('=') {
        name.push_str(before);
        let (c, after) = match after.split_at_checked(2) {
            Some(("2C", after)) => (',', after),
            Some(("3D", after)) => ('=', after),
            _ => return Err(ScramError::Malformed),
        };
        name.push(c);
        rest = after;
    }
    name.push_str(rest);
    Ok(name)
}

const NAME_MAX: usize = 254;
const NONCE_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::scram::client_sums;
    use proptest::prelude::*;
    use std::num::NonZeroU32;

    const ROUNDS: NonZeroU32 = NonZeroU32::new(4_096).unwrap();

    fn keys(password: &str) -> Vec<ScramKeys> {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        vec![ScramKeys::derive(password, salt, ROUNDS).unwrap()]
    }

    fn first(message: &str) -> Result<ClientFirst, ScramError> {
        ClientFirst::parse(message, false, &Bindings::default())
    }

    /// RFC 7677 §3, with its nonces.
    #[test]
    fn the_example_of_the_rfc_is_understood() {
        let first = first("n,,n=user,r=rOprNGfwEbeRWgbNEkqO").unwrap();
        assert_eq!(first.username, "user");
        let server = first.challenge(keys("pencil"), "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
        let server = server.unwrap();
        assert_eq!(
            server.message,
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let judged = server.clone().judge(last).unwrap();
        let signature = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(judged.server_final.as_deref(), Some(signature));
        let wrong = last.replace("p=dHzb", "p=AHzb");
        assert_eq!(server.clone().judge(&wrong).unwrap().server_final, None);
        let unbound = last.replace("c=biws", "c=eSws");
        assert_eq!(server.clone().judge(&unbound), Err(ScramError::Binding));
        let replayed = last.replace("r=rOp", "r=xOp");
        assert_eq!(server.judge(&replayed), Err(ScramError::Malformed));
    }

    #[test]
    fn a_bound_exchange_holds_on_its_own_connection_alone() {
        let bindings = |octet| Bindings {
            exporter: Some([octet; 32]),
            end_point: None,
        };
        let plus = |message, bindings: &Bindings| ClientFirst::parse(message, true, bindings);
        let begun = plus("p=tls-exporter,,n=user,r=abc", &bindings(1)).unwrap();
        let server = begun.challenge(keys("pencil"), "def").unwrap();
        let answer = |binding: &[u8]| {
            let coded = STANDARD.encode([b"p=tls-exporter,,", binding].concat());
            let without = format!("c={coded},r=abcdef");
            let auth = format!("n=user,r=abc,{},{without}", server.message);
            let (proof, _) = client_sums("pencil", &server.keys[0].salt, ROUNDS, auth.as_bytes());
            format!("{without},p={}", STANDARD.encode(proof))
        };
        let judged = server.clone().judge(&answer(&[1; 32]));
        assert!(judged.unwrap().server_final.is_some());
        let elsewhere = server.clone().judge(&answer(&[2; 32]));
        assert_eq!(elsewhere, Err(ScramError::Binding));

        let unknown = plus("p=tls-unique,,n=user,r=abc", &bindings(1));
        assert_eq!(unknown, Err(ScramError::Binding));
        let stripped = ClientFirst::parse("y,,n=user,r=abc", false, &bindings(1));
        assert_eq!(
            stripped,
            Err(ScramError::Binding),
            "somebody took -PLUS off our list"
        );
        assert!(first("y,,n=user,r=abc").is_ok());
    }

    #[test]
    fn names_are_unescaped_and_nobody_acts_for_another() {
        assert_eq!(first("n,,n=a=2Cb=3Dc,r=x").unwrap().username, "a,b=c");
        assert!(first("n,a=user,n=user,r=x").is_ok());
        for bad in [
            "",
            "n",
            "n,,",
            "n,,n=user",
            "n,,n=,r=x",
            "n,,n=user,r=",
            "n,,n=u=2c,r=x",
            "n,,n=u=,r=x",
            "n,a=other,n=user,r=x",
            "n,,m=1,n=user,r=x",
            "p=tls-exporter,,n=user,r=x",
            "n,,n=user,r=x,m=y",
            "N,,n=user,r=x",
        ] {
            assert_eq!(first(bad), Err(ScramError::Malformed), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(message in "([nyp=,acrm] ?){0,12}\\PC{0,30}", last in "(c=|r=|p=|,|[A-Za-z0-9+/=]){0,20}", plus: bool) {
            let bindings = Bindings { exporter: Some([1; 32]), end_point: None };
            let _ = ClientFirst::parse(&message, plus, &bindings);
            let begun = first("n,,n=user,r=abc").unwrap().challenge(keys("pencil"), "def").unwrap();
            if let Ok(judged) = begun.judge(&last) {
                prop_assert_eq!(judged.server_final, None);
            }
        }

        #[test]
        fn a_name_comes_back_as_it_was_escaped(name in "\\PC{1,40}") {
            let escaped = name.replace('=', "=3D").replace(',', "=2C");
            prop_assert_eq!(first(&format!("n,,n={escaped},r=x")).unwrap().username, name);
        }
    }
}
