//! The section `[store]` of the gateway's own file: where the queue lies.

use std::fmt::Display;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::base::secret::Secret;
use crate::config::{Located, Section};

/// Where the queue lies.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// In this database; `None`: in the data folder.
    pub postgres: Option<PostgresSettings>,
}

/// A PostgreSQL database.
#[derive(Clone, Debug)]
pub struct PostgresSettings {
    config: Config,
    password: Option<Secret>,
    /// How the way to it is guarded.
    pub(super) reach: Reach,
}

/// How the way to the database is guarded.
#[derive(Clone, Debug)]
pub(super) enum Reach {
    /// It does not leave this machine.
    ThisMachine,
    /// TLS, with a certificate of the right name by one of these.
    Network(Authorities),
}

/// Whose certificates are believed.
#[derive(Clone, Debug)]
pub(super) enum Authorities {
    /// The public ones.
    Public,
    /// These.
    These(Vec<CertificateDer<'static>>),
}

impl Reach {
    /// Whose certificates are believed.
    pub(super) fn authorities(&self) -> Authorities {
        match self {
            Self::ThisMachine => Authorities::Public,
            Self::Network(authorities) => authorities.clone(),
        }
    }
}

impl PostgresSettings {
    /// A database that is reached in this machine alone, or over TLS with a certificate of a public authority.
    ///
    /// # Errors
    /// What is wrong with the text, in a sentence. A password in it is an error.
    pub fn parse(text: &str) -> Result<Self, String> {
        let config: Config = text.parse().map_err(why)?;
        if config.get_password().is_some() {
            return Err("a password stands in the text".to_owned());
        }
        for word in FORBIDDEN {
            if text.contains(word) {
                return Err(format!(
                    "`{word}` cannot be set: TLS is used wherever the way leaves this machine"
                ));
            }
        }
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err("no host is named".to_owned());
        }
        if config.get_user().is_none() || config.get_dbname().is_none() {
            return Err("user and dbname are needed".to_owned());
        }
        let reach = match stays_here(&config) {
            true => Reach::ThisMachine,
            false => Reach::Network(Authorities::Public),
        };
        if matches!(reach, Reach::Network(_)) && config.get_hosts().is_empty() {
            return Err(
                "a host is needed beside hostaddr: its certificate bears a name".to_owned(),
            );
        }
        Ok(Self {
            config,
            password: None,
            reach,
        })
    }

    /// How a connection is made.
    pub(super) fn config(&self) -> Config {
        let mut config = self.config.clone();
        if let Some(password) = &self.password {
            config.password(password.expose());
        }
        config
    }

    /// Where it is, for messages to people.
    pub fn place(&self) -> String {
        let host = |host: &Host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        };
        let hosts: Vec<String> = self.config.get_hosts().iter().map(host).collect();
        let name = self.config.get_dbname().unwrap_or_default();
        format!("PostgreSQL database {name} on {}", hosts.join(", "))
    }
}

/// The parser names the text that it stumbles over alone, never a password.
fn why(error: tokio_postgres::Error) -> String {
    use std::error::Error as _;
    let cause = error.source().map(ToString::to_string);
    cause.unwrap_or_else(|| error.to_string())
}

/// Whether every way to it is a Unix socket or a loopback address.
fn stays_here(config: &Config) -> bool {
    let addresses = config.get_hostaddrs();
    let is_local = |(at, host): (usize, &Host)| match (host, addresses.get(at)) {
        (Host::Unix(_), _) => true,
        (_, Some(address)) => address.is_loopback(),
        // RFC 6761 §6.3: this name is the loopback address.
        (Host::Tcp(name), None) if name.eq_ignore_ascii_case("localhost") => true,
        (Host::Tcp(name), None) => name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback()),
    };
    match config.get_hosts() {
        [] => addresses.iter().all(std::net::IpAddr::is_loopback),
        hosts => hosts.iter().enumerate().all(is_local),
    }
}

impl Settings {
    /// Reads the section.
    pub fn read(top: &Section<'_>) -> Self {
        let section = top.section("store");
        let postgres = read_postgres(&section);
        section.finish();
        Self { postgres }
    }
}

fn read_postgres(section: &Section<'_>) -> Option<PostgresSettings> {
    let settings = match section.string("postgresql") {
        Some(text) => read_name(section, &text),
        None => {
            if section.is_present() && !section.has("postgresql") {
                let at = Located::at((), section.place().clone());
                section.report(
                    "bad-store",
                    "[store] names no database",
                    &at,
                    WITHOUT.to_owned(),
                );
            }
            None
        }
    };
    let password = section.has("password").then(|| read_password(section));
    let authorities = read_authorities(section);
    let mut settings = settings?;
    settings.password = password.flatten();
    if let (Some(these), Reach::Network(_)) = (authorities, &settings.reach) {
        settings.reach = Reach::Network(Authorities::These(these));
    }
    Some(settings)
}

fn read_name(section: &Section<'_>, text: &Located<String>) -> Option<PostgresSettings> {
    let parsed = PostgresSettings::parse(text);
    parsed
        .map_err(|why| {
            let message = format!("`postgresql` names no database: {why}");
            section.report("bad-store", message, text, EXAMPLE.to_owned());
        })
        .ok()
}

/// The password in a file or a variable.
fn read_password(section: &Section<'_>) -> Option<Secret> {
    let Some(source) = section.section("password").secret_source() else {
        let at = Located::at((), section.place().clone());
        let help = "write password = { file = \"…\" } or password = { env = \"…\" }";
        section.report(
            "bad-store",
            "`password` is a file or a variable",
            &at,
            help.to_owned(),
        );
        return None;
    };
    match Secret::load(&source) {
        Ok(secret) => Some(secret),
        Err(error) => {
            let message = "the password cannot be read";
            section.report("unreadable-secret", message, &source, error.to_string());
            None
        }
    }
}

/// The certificates of `authorities = "file.pem"`.
fn read_authorities(section: &Section<'_>) -> Option<Vec<CertificateDer<'static>>> {
    let path = section.path("authorities")?;
    let read = CertificateDer::pem_file_iter(&*path)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>());
    let failed = |id, message, help: &dyn Display| {
        section.report(id, message, &path, help.to_string());
        None
    };
    match read {
        Ok(these) if !these.is_empty() => Some(these),
        Ok(_) => failed(
            "bad-value",
            "`authorities` holds no certificate",
            &"a PEM file with the certificates of authorities is wanted",
        ),
        Err(error) => failed("unreadable-file", "`authorities` cannot be read", &error),
    }
}

const WITHOUT: &str = "write postgresql = \"host=db1.example user=postern dbname=postern\", or take the section out: the queue then lies in the `data` folder";
const EXAMPLE: &str = "as in postgresql = \"host=db1.example port=5432 user=postern dbname=postern\", with password = { file = \"…\" } or password = { env = \"…\" } below it";
/// Words of a connection string that are not the administrator's to choose.
const FORBIDDEN: [&str; 3] = ["sslmode", "sslnegotiation", "channel_binding"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_that_leaves_the_machine_is_under_tls_and_no_other_choice_there_is() {
        let local = |text: &str| {
            let settings = PostgresSettings::parse(&format!("{text} user=u dbname=d")).unwrap();
            matches!(settings.reach, Reach::ThisMachine)
        };
        for here in [
            "host=/run/postgresql",
            "host=localhost",
            "host=127.0.0.1",
            "host=::1",
            "host=db.example hostaddr=127.0.0.1",
        ] {
            assert!(local(here), "{here}");
        }
        for there in [
            "host=db.example",
            "host=10.0.0.1",
            "host=localhost,db.example",
            "host=localhost hostaddr=10.0.0.1",
            "host=localhost.example",
        ] {
            assert!(!local(there), "{there}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_the_password() {
        let wrong = |text: &str| PostgresSettings::parse(text).unwrap_err();
        let with_password = wrong("host=db.example user=u dbname=d password=hunter2");
        assert_eq!(with_password, "a password stands in the text");
        let url = wrong("postgresql://u:hunter2@db.example/d");
        assert_eq!(url, "a password stands in the text");
        assert!(wrong("host=db.example user=u dbname=d sslmode=disable").contains("sslmode"));
        assert!(wrong("user=u dbname=d").contains("host"));
        assert!(wrong("host=db.example").contains("dbname"));
        assert!(!wrong("host=db.example pasword=hunter2").contains("hunter2"));
    }
}
