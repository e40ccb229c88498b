//! Questions about names as strangers write them: octet for octet, without what a host name must keep to.
//! Records of SPF and DNS lists are asked for here.

use std::net::IpAddr;

use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

use super::{Dns, DnsError};

impl Dns {
    /// The texts of a name, each in one piece, as octets.
    pub async fn texts(&self, name: &str) -> Result<Vec<Vec<u8>>, DnsError> {
        let text = |record: &Record| match &record.data {
            RData::TXT(txt) => Some(txt.txt_data.concat()),
            _ => None,
        };
        self.records(name, RecordType::TXT, text).await
    }

    /// The addresses of a name, of the family of `like`.
    pub async fn addresses_like(&self, name: &str, like: IpAddr) -> Result<Vec<IpAddr>, DnsError> {
        let kind = match like {
            IpAddr::V4(_) => RecordType::A,
            IpAddr::V6(_) => RecordType::AAAA,
        };
        let address = |record: &Record| record.data.ip_addr();
        self.records(name, kind, address).await
    }

    /// The exchangers that a domain names, most preferred first; none of its own making.
    pub async fn named_exchangers(&self, domain: &str) -> Result<Vec<String>, DnsError> {
        let exchanger = |record: &Record| match &record.data {
            RData::MX(mx) => Some((mx.preference, text_of(&mx.exchange))),
            _ => None,
        };
        let mut exchangers = self.records(domain, RecordType::MX, exchanger).await?;
        exchangers.sort();
        Ok(exchangers.into_iter().map(|(_, name)| name).collect())
    }

    /// The names of an address (RFC 1035 §3.5), in the order of the answer.
    pub async fn names(&self, address: IpAddr) -> Result<Vec<String>, DnsError> {
        let reverse = text_of(&Name::from(address));
        let name = |record: &Record| match &record.data {
            RData::PTR(ptr) => Some(text_of(&ptr.0)),
            _ => None,
        };
        self.records(&reverse, RecordType::PTR, name).await
    }

    /// What `read` makes of the records. Errs with [`DnsError::NoRecords`] if it makes nothing.
    async fn records<T>(
        &self,
        name: &str,
        kind: RecordType,
        read: impl Fn(&Record) -> Option<T>,
    ) -> Result<Vec<T>, DnsError> {
        let answer = self.ask(name_of(name)?, kind).await?;
        let found: Vec<T> = answer.answers().iter().filter_map(read).collect();
        match found.is_empty() {
            true => Err(DnsError::NoRecords),
            false => Ok(found),
        }
    }
}

/// A name with these labels. One that cannot be asked for does not exist.
fn name_of(text: &str) -> Result<Name, DnsError> {
    let labels = text.strip_suffix('.').unwrap_or(text).split('.');
    let mut name =
        Name::from_labels(labels.map(str::as_bytes)).map_err(|_| DnsError::NoSuchName)?;
    name.set_fqdn(true);
    Ok(name)
}

/// The labels with dots between them, without the dot of the root.
fn text_of(name: &Name) -> String {
    let labels: Vec<_> = name.iter().map(String::from_utf8_lossy).collect();
    labels.join(".")
}
