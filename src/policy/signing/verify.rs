//! Our own signatures, read again before they leave: by `mail-auth`, with the public half of the key in
//! place of the DNS. What one library canonicalises wrongly the other does not forgive.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use mail_auth::common::parse::TxtRecordParser as _;
use mail_auth::common::verify::DomainKey;
use mail_auth::{
    AuthenticatedMessage, DkimResult, MessageAuthenticator, Parameters, ResolverCache, Txt,
};

use super::key::Key;
use crate::mail::Message;

/// Which of these signatures of a message hold, in their order. The fields need not be on it yet.
pub(super) fn hold(message: &Message, made: &[(&Key, String)]) -> Vec<bool> {
    let fields: String = made.iter().map(|(_, field)| field.as_str()).collect();
    let read =
        AuthenticatedMessage::parse_with_opts(message.octets(), Some(fields.as_bytes()), true);
    let Some(mut read) = read else {
        return vec![false; made.len()];
    };
    // Ours stand on top; what others signed is not looked at here.
    read.dkim_headers.truncate(made.len());
    read.errors.clear();
    let records = Records::of(made.iter().map(|(key, _)| *key));
    let Some(results) = at_once(&read, &records) else {
        return vec![false; made.len()];
    };
    let holds = |(key, _): &(&Key, String)| {
        results.iter().any(|(selector, domain, passes)| {
            *passes && selector == key.selector.as_str() && domain == key.domain.as_str()
        })
    };
    made.iter().map(holds).collect()
}

/// Selector, domain and result of each signature; `None` if an answer is not at hand, which cannot be: all
/// questions are about our own keys.
fn at_once(
    read: &AuthenticatedMessage<'_>,
    records: &Records,
) -> Option<Vec<(String, String, bool)>> {
    let authenticator = deaf()?;
    let asked = authenticator.verify_dkim(Parameters::new(read).with_txt_cache(records));
    let Poll::Ready(outputs) = pin!(asked).poll(&mut Context::from_waker(Waker::noop())) else {
        return None;
    };
    let result = |output: &mail_auth::DkimOutput<'_>| {
        let signature = output.signature()?;
        let passes = *output.result() == DkimResult::Pass;
        Some((signature.s.clone(), signature.d.clone(), passes))
    };
    Some(outputs.iter().filter_map(result).collect())
}

/// Whether a chain of seals holds that these keys alone have made.
#[cfg(test)]
pub(super) fn chain_holds(message: &Message, keys: &[&Key]) -> bool {
    let records = Records::of(keys.iter().copied());
    let read = AuthenticatedMessage::parse(message.octets()).unwrap();
    let asked = deaf()
        .unwrap()
        .verify_arc(Parameters::new(&read).with_txt_cache(&records));
    let Poll::Ready(output) = pin!(asked).poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("the DNS was asked");
    };
    *output.result() == DkimResult::Pass
}

/// One whose resolver has no servers: nothing is asked of it.
fn deaf() -> Option<&'static MessageAuthenticator> {
    static MADE: OnceLock<Option<MessageAuthenticator>> = OnceLock::new();
    let make = || {
        let nobody = ResolverConfig::from_name_servers(Vec::new());
        let builder = TokioResolver::builder_with_config(nobody, TokioRuntimeProvider::default());
        builder.build().ok().map(MessageAuthenticator)
    };
    MADE.get_or_init(make).as_ref()
}

/// The records as the DNS would give them if our keys were published.
struct Records(HashMap<Box<str>, Txt>);

impl Records {
    fn of<'k>(keys: impl Iterator<Item = &'k Key>) -> Self {
        let record = |key: &Key| {
            let record = DomainKey::parse(key.pair().record().as_bytes()).ok()?;
            Some((key.record_name().into(), Txt::DomainKey(Arc::new(record))))
        };
        Self(keys.filter_map(record).collect())
    }
}

impl ResolverCache<Box<str>, Txt> for Records {
    fn get<Q>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0.get(name).cloned()
    }

    fn remove<Q>(&self, _: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        None
    }

    fn insert(&self, _: Box<str>, _: Txt, _: Instant) {}
}
