//! Access tokens of issuers that `accounts.toml` names: JWTs (RFC 7519) signed with RS256 or ES256 (RFC 7518), checked
//! against keys in a file or at a URL (RFC 7517).
//!
//! Nothing of a token is believed before its signature is verified by a key of the issuer, and the algorithm is the
//! key's, never the token's choice alone: `none` and the symmetric ones are not known here.

use std::collections::HashMap;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::config::{Diagnostic, Located, Section};

use super::Account;

/// One that makes tokens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Issuer {
    /// `iss` of its tokens.
    pub name: String,
    /// What `aud` must have one of.
    pub audiences: Vec<String>,
    /// The claim that says for whom a token is.
    pub subject_claim: String,
    /// Where its keys are.
    pub keys: KeySource,
}

/// Where the keys of an issuer are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeySource {
    /// In the file: these were read.
    File(Keys),
    /// At a URL; fetched while the gateway runs.
    Url(String),
}

/// The keys of an issuer.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Keys(Vec<Key>);

#[derive(Clone, Debug, Eq, PartialEq)]
struct Key {
    id: Option<String>,
    kind: Kind,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Kind {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point.
    P256(Vec<u8>),
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TokenError {
    /// Not a JWT of a form that we know.
    #[error("the token is not one that is known here")]
    Malformed,
    /// Not of this issuer, not for us, not now.
    #[error("the token is of another issuer, for another audience, or out of its time")]
    NotForUs,
    /// No key of the issuer made the signature.
    #[error("the signature of the token does not verify")]
    BadSignature,
    /// The issuer may have a new key that is not here yet: try again.
    #[error("the key of the token is not known yet")]
    UnknownKey,
}

impl Issuer {
    /// Reads one `[[issuer]]`; what is wrong is reported.
    pub(super) fn read(section: Section<'_>) -> Option<Self> {
        let name = section.required_string("name");
        let audiences = section.strings("audience").unwrap_or_default();
        let subject_claim = section.string("subject-claim");
        let keys = read_keys(&section);
        if audiences.is_empty()
            && let Some(name) = &name
        {
            let help = "write audience = [\"…\"]: what the issuer puts into `aud` for this gateway";
            let message = "tokens for anybody would be taken";
            section.report("issuer", message, name, help.to_owned());
        }
        section.finish();
        Some(Self {
            name: name?.into_inner(),
            audiences: audiences.into_iter().map(Located::into_inner).collect(),
            subject_claim: subject_claim.map_or_else(|| "sub".to_owned(), Located::into_inner),
            keys: keys?,
        })
    }

    /// Returns for whom a token is, if it is one of this issuer, for us, and in its time.
    pub fn check(&self, token: &str, keys: &Keys, now: Timestamp) -> Result<String, TokenError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let header: Header =
            serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::Malformed)?;
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        keys.verify(&header, signed.as_bytes(), &decode(signature)?)?;
        let claims: Map<String, Value> =
            serde_json::from_slice(&decode(claims)?).map_err(|_| TokenError::Malformed)?;
        if !self.is_for_us(&claims, now) {
            return Err(TokenError::NotForUs);
        }
        let subject = claims.get(&self.subject_claim).and_then(Value::as_str);
        subject.map(str::to_owned).ok_or(TokenError::NotForUs)
    }

    fn is_for_us(&self, claims: &Map<String, Value>, now: Timestamp) -> bool {
        let is_ours = |one: &Value| {
            let one = one.as_str().unwrap_or_default();
            self.audiences.iter().any(|audience| audience == one)
        };
        let audience = match claims.get("aud") {
            Some(Value::Array(all)) => all.iter().any(is_ours),
            Some(one) => is_ours(one),
            None => false,
        };
        let time = |name: &str| claims.get(name).and_then(Value::as_f64);
        #[expect(
            clippy::cast_precision_loss,
            reason = "seconds since 1970 fit many times over"
        )]
        let now = now.as_second() as f64;
        let begun = match claims.get("nbf") {
            Some(_) => time("nbf").is_some_and(|from| from <= now + LEEWAY_SECS),
            None => true,
        };
        // A token without an end is good for ever, for whoever finds it.
        let ends = time("exp").is_some_and(|end| now < end + LEEWAY_SECS);
        claims.get("iss").and_then(Value::as_str) == Some(&self.name) && audience && begun && ends
    }
}

/// Whether a token of an issuer for a subject opens an account. With several issuers none does until the account says
/// whose its subjects are: each of them could make one.
pub(super) fn opens(issuers: &[Issuer], account: &Account, issuer: &str, subject: &str) -> bool {
    let is_clear = !account.contract.token_issuers.is_empty() || !are_several(issuers);
    is_clear && account.contract.takes_token(issuer, subject)
}

/// Two blocks of one name are one issuer, with two sets of keys or two audiences.
fn are_several(issuers: &[Issuer]) -> bool {
    let mut names = issuers.iter().map(|issuer| &issuer.name);
    let first = names.next();
    names.any(|name| Some(name) != first)
}

/// Reports who takes no token since it does not say whose, and subjects that open two accounts on one day. What is
/// disabled, or has ended before today, opens nothing.
pub(super) fn check_subjects(
    accounts: &HashMap<String, Account>,
    issuers: &[Issuer],
    today: Date,
    top: &Section<'_>,
) {
    let say = |account: &Account, said: Diagnostic, help: &str| {
        let said = said.at_maybe(account.place(), "").help(help);
        top.diagnostics().push(said);
    };
    let wrong = |message: String| Diagnostic::error("issuer", message);
    let is_in_use = |account: &&Account| {
        let contract = &account.contract;
        !account.disabled && contract.is_valid_with(contract, today)
    };
    let mut all: Vec<&Account> = accounts.values().filter(is_in_use).collect();
    all.sort_by(|a, b| a.name().cmp(b.name()));
    for (nth, account) in all.iter().enumerate() {
        let contract = &account.contract;
        let is_open = contract.token_issuers.is_empty() && are_several(issuers);
        if is_open && !contract.token_subjects.is_empty() {
            let message = "no token opens this account: each issuer could make one";
            let help = "write token-issuers = [\"…\"]: the names of those whose subjects these are";
            say(account, Diagnostic::warning("issuer", message), help);
        }
        let unknown = |name: &&String| !issuers.iter().any(|issuer| issuer.name == **name);
        if let Some(name) = contract.token_issuers.iter().find(unknown) {
            let help = "write the `name` of an [[issuer]], exactly";
            say(account, wrong(format!("there is no issuer {name:?}")), help);
        }
        for subject in &contract.token_subjects {
            let is_twice = |other: &&&Account| {
                let both = |issuer: &Issuer| {
                    [account, **other]
                        .iter()
                        .all(|one| opens(issuers, one, &issuer.name, subject))
                };
                other.contract.is_valid_with(contract, today) && issuers.iter().any(both)
            };
            if let Some(other) = all[nth + 1..].iter().find(is_twice) {
                let message = format!("a subject of tokens is written down twice: {subject}");
                let help = format!("in the blocks of {} and {}", account.name(), other.name());
                say(account, wrong(message), &help);
            }
        }
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

fn read_keys(section: &Section<'_>) -> Option<KeySource> {
    let (file, url) = (section.path("keys"), section.string("jwks-url"));
    match (file, url) {
        (Some(file), None) => {
            let read = std::fs::read(&*file).map_err(|error| error.to_string());
            let keys = read.and_then(|octets| {
                Keys::parse(&octets).ok_or_else(|| "no RSA or P-256 key is in it".to_owned())
            });
            match keys {
                Ok(keys) => Some(KeySource::File(keys)),
                Err(why) => {
                    section.report("issuer", "`keys` is no JSON Web Key Set", &file, why);
                    None
                }
            }
        }
        (None, Some(url)) if url.starts_with("https://") => Some(KeySource::Url(url.into_inner())),
        (None, Some(url)) => {
            let help = "keys that come in clear are anybody's: write an https URL".to_owned();
            section.report("issuer", "`jwks-url` is no https URL", &url, help);
            None
        }
        _ => {
            let wrong = Diagnostic::error("issuer", "an issuer has `keys` or `jwks-url`");
            let help = "write keys = \"keys.json\" or jwks-url = \"https://…\"";
            let wrong = wrong.at(section.place(), "").help(help);
            section.diagnostics().push(wrong);
            None
        }
    }
}

impl Keys {
    /// Reads a JSON Web Key Set. Keys of other kinds and uses are passed over; `None` if none is left.
    pub fn parse(octets: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(octets).ok()?;
        let keys: Vec<Key> = set
            .keys
            .iter()
            .take(KEYS_MAX)
            .filter_map(Key::read)
            .collect();
        (!keys.is_empty()).then_some(Self(keys))
    }

    fn verify(&self, header: &Header, message: &[u8], signature: &[u8]) -> Result<(), TokenError> {
        let fits = |key: &&Key| {
            let same_kind = match key.kind {
                Kind::Rsa { .. } => header.alg == "RS256",
                Kind::P256(_) => header.alg == "ES256",
            };
            let same_name = header.kid.is_none() || key.id.is_none() || key.id == header.kid;
            same_kind && same_name
        };
        if !matches!(header.alg.as_str(), "RS256" | "ES256") {
            return Err(TokenError::Malformed);
        }
        let mut found = false;
        for key in self.0.iter().filter(fits) {
            found = true;
            if key.verifies(message, signature) {
                return Ok(());
            }
        }
        Err(match found {
            true => TokenError::BadSignature,
            false => TokenError::UnknownKey,
        })
    }
}

impl Key {
    fn read(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        if text("use").is_some_and(|usage| usage != "sig") {
            return None;
        }
        let octets = |name: &str| decode(text(name)?).ok();
        let kind = match (text("kty")?, text("crv")) {
            ("RSA", _) => Kind::Rsa {
                n: octets("n")?,
                e: octets("e")?,
            },
            ("EC", Some("P-256")) => {
                let (x, y) = (octets("x")?, octets("y")?);
                if x.len() != 32 || y.len() != 32 {
                    return None;
                }
                Kind::P256([&[4][..], &x, &y].concat())
            }
            _ => return None,
        };
        let id = text("kid").map(str::to_owned);
        Some(Self { id, kind })
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.kind {
            Kind::Rsa { n, e } => {
                let key = RsaPublicKeyComponents { n, e };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                    .is_ok()
            }
            Kind::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                .verify(message, signature)
                .is_ok(),
        }
    }
}

fn decode(text: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| TokenError::Malformed)
}

/// How far two clocks may be apart.
const LEEWAY_SECS: f64 = 60.0;
/// Keys of one issuer that are looked at.
const KEYS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
    use proptest::prelude::*;
    use serde_json::json;

    struct Maker(EcdsaKeyPair);

    impl Maker {
        fn new() -> Self {
            Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
        }

        fn keys(&self, id: &str) -> Keys {
            let point = self.0.public_key().as_ref();
            let (x, y) = (
                URL_SAFE_NO_PAD.encode(&point[1..33]),
                URL_SAFE_NO_PAD.encode(&point[33..]),
            );
            let set = json!({ "keys": [{ "kty": "OKP" }, { "kty": "EC", "crv": "P-256", "kid": id, "use": "sig", "x": x, "y": y }] });
            Keys::parse(set.to_string().as_bytes()).unwrap()
        }

        fn token(&self, header: &Value, claims: &Value) -> String {
            let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let signed = format!("{}.{}", part(header), part(claims));
            let signature = self
                .0
                .sign(&SystemRandom::new(), signed.as_bytes())
                .unwrap();
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
        }
    }

    fn issuer() -> Issuer {
        Issuer {
            name: "https://issuer.example/".into(),
            audiences: vec!["postern".into()],
            subject_claim: "sub".into(),
            keys: KeySource::Url("https://issuer.example/keys".into()),
        }
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_000_000).unwrap()
    }

    fn claims() -> Value {
        json!({ "iss": "https://issuer.example/", "aud": ["x", "postern"], "sub": "app-1", "exp": 1_000_300, "nbf": 999_900 })
    }

    fn header() -> Value {
        json!({ "alg": "ES256", "kid": "one", "typ": "at+jwt" })
    }

    #[test]
    fn a_token_is_taken_that_its_issuer_signed_for_us_and_for_now() {
        let maker = Maker::new();
        let checked = |header: &Value, claims: &Value, keys: &Keys| {
            issuer().check(&maker.token(header, claims), keys, now())
        };
        let keys = maker.keys("one");
        assert_eq!(checked(&header(), &claims(), &keys), Ok("app-1".to_owned()));
        let with = |name: &str, value: Value| {
            let mut changed = claims();
            changed[name] = value;
            changed
        };
        for wrong in [
            with("iss", json!("https://issuer.example")),
            with("aud", json!("other")),
            with("aud", Value::Null),
            with("exp", json!(999_939)),
            with("exp", json!("1000300")),
            with("exp", Value::Null),
            with("nbf", json!(1_000_061)),
            with("nbf", json!("soon")),
            with("sub", json!(7)),
        ] {
            assert_eq!(
                checked(&header(), &wrong, &keys),
                Err(TokenError::NotForUs),
                "{wrong}"
            );
        }
        let other = Maker::new();
        assert_eq!(
            checked(&header(), &claims(), &other.keys("one")),
            Err(TokenError::BadSignature)
        );
        assert_eq!(
            checked(&header(), &claims(), &other.keys("two")),
            Err(TokenError::UnknownKey)
        );
        for alg in ["none", "HS256", "es256", "RS256"] {
            let header = json!({ "alg": alg, "kid": "one" });
            assert!(checked(&header, &claims(), &keys).is_err(), "{alg}");
        }
        let critical = json!({ "alg": "ES256", "crit": ["x"] });
        assert_eq!(
            checked(&critical, &claims(), &keys),
            Err(TokenError::Malformed)
        );
    }

    /// Made by `openssl genrsa` and `openssl dgst -sha256 -sign`.
    #[test]
    fn a_signature_that_openssl_made_verifies() {
        let keys = Keys::parse(
            json!({ "keys": [{ "kty": "RSA", "n": RSA_N, "e": "AQAB" }] })
                .to_string()
                .as_bytes(),
        )
        .unwrap();
        let header = Header {
            alg: "RS256".into(),
            kid: None,
            crit: None,
        };
        let (signed, signature) = RSA_JWS.rsplit_once('.').unwrap();
        let signature = decode(signature).unwrap();
        assert_eq!(keys.verify(&header, signed.as_bytes(), &signature), Ok(()));
        let other = format!("{signed}x");
        assert_eq!(
            keys.verify(&header, other.as_bytes(), &signature),
            Err(TokenError::BadSignature)
        );
    }

    proptest! {
        #[test]
        fn any_text_is_refused_and_no_change_goes_unseen(text in "\\PC{0,80}", at in 0usize..200, with in "[A-Za-z0-9_-]") {
            let maker = Maker::new();
            let keys = maker.keys("one");
            prop_assert!(issuer().check(&text, &keys, now()).is_err());
            let mut token = maker.token(&header(), &claims());
            let at = at % token.rfind('.').unwrap();
            if &token[at..=at] != "." && token[at..=at] != with {
                token.replace_range(at..=at, &with);
                prop_assert!(issuer().check(&token, &keys, now()).is_err());
            }
        }
    }

    const RSA_N: &str = "t7OvZYtxMnS_lzjf0jbOmVYkiFy689Ym-tOxajMr9WDYWBjYxwYXMqZnFJqpGuXgOzJYQ0Ai87PCcspM5iQbhiJuMCCRzQvyIKUTzRLzXLyMxMqmTq1O5INTFsNBIgFTF4xZmQm-tRSzNsR-rbXU-6ll7slL2GjeiYzRNcvgOc5upmfnnyxp0nroT819dJJ9J_NRW4F_EbmCTwEoiboo_6uDunG0ZxOrj3isrPCYJP9rx2bQqJDS0Gvy664f_NMa1ujNEXHQz5b-5GDBGkankxv1QvcX7W-CRocNNOvaLI_2W8pGRxL6om-FcODhCmzA7O3CawA4eZmFbeezj9XWjQ";
    const RSA_JWS: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLCJleHAiOjEzMDA4MTkzODB9.q4OB0czvLLl_aHjCV4_a4AgBxZyCgej5MBYE-kmudnfgSjWlAiUKyylW8BV8Am1SCsFCPlfUQBT8wWFZzCFXNyq1ndjh1B9BqpxXggLbi1DKkAxQ8hdsS1dJEDsPp_AFKemLFotRyCW842XuYPRV5I70V_lWunYR2z0ZEGlpdL0iZhUZ64xkdy-llDBq2FsFRYZvNGPRsB4FlmqREqwY9qZlxf7KZs16WB1q6GBlQ23r6Em5Szp3D0K658bDdowq31PJv08623oLFnTP9QkTiWsP9i9fEYpkikWPhQ9WSJDduxN6SspUVP8y0CAMR6m7P3lxTtPVf1gUNoO523E7tw";
}
