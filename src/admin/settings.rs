//! The sections `[metrics]` and `[log]` of the gateway's own file.

use std::io;
use std::net::SocketAddr;

use tracing_subscriber::EnvFilter;

use super::quarantine;
use crate::config::render::Colour;
use crate::config::{Located, Section};

/// Where the gateway is seen from outside.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// Where `/metrics` and `/health` are; `None` if nobody listens.
    pub metrics: Option<Located<SocketAddr>>,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines are written: a level (`info`) or directives of `tracing` (`info,postern=debug`).
    pub log_level: String,
    /// How long things are quarantined, and who is told.
    pub quarantine: quarantine::Settings,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object per line.
    Json,
}

impl Settings {
    /// Reads the sections. The metrics address must be of a loopback interface: nobody asks for a
    /// password there.
    pub fn read(top: &Section<'_>) -> Self {
        let metrics = top.section("metrics");
        let address = metrics.parse::<SocketAddr>("address");
        if let Some(address) = &address
            && !address.ip().is_loopback()
        {
            metrics.report(
                "not-loopback",
                "metrics are for this machine alone",
                address,
                "use 127.0.0.1 or [::1]; a proxy can ask for a password in front of it".to_owned(),
            );
        }
        metrics.finish();
        let log = top.section("log");
        let words = [("text", LogFormat::Text), ("json", LogFormat::Json)];
        let log_format = log.word("format", &words).map(Located::into_inner);
        let log_level = log.parse::<Directives>("level");
        log.finish();
        Self {
            metrics: address,
            log_format: log_format.unwrap_or(LogFormat::Text),
            quarantine: quarantine::Settings::read(top),
            log_level: log_level.map_or_else(|| "info".to_owned(), |level| level.into_inner().0),
        }
    }
}

/// Writes log lines to the standard error stream from now on. `RUST_LOG`, where it is set, wins over the
/// file's level. A second call does nothing.
pub fn start_log(settings: &Settings) {
    let level = std::env::var("RUST_LOG").unwrap_or_else(|_| settings.log_level.clone());
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(format!("{level},{NO_CONTENT}")))
        .with_writer(io::stderr)
        // It would be told where it just could not be written, and the panic of that would end the gateway.
        .log_internal_errors(false)
        .with_ansi(Colour::of(&io::stderr()) == Colour::On);
    // It fails only if somebody, a test perhaps, has started a log already: theirs will do.
    let _ = match settings.log_format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
}

/// What a library says of the documents that it reads, or of the values that it writes to a database, is content, and
/// never in the log.
const NO_CONTENT: &str = "lopdf=off,tokio_postgres=off";

/// Directives that `tracing` understands, kept as text.
struct Directives(String);

impl std::str::FromStr for Directives {
    type Err = tracing_subscriber::filter::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        EnvFilter::try_new(text)?;
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::read_text;

    fn read(text: &str) -> (Settings, Vec<&'static str>) {
        let (settings, said) = read_text("postern.toml", text, Settings::read);
        let ids = said.iter().map(|one| one.id).collect();
        (settings, ids)
    }

    #[test]
    fn an_empty_file_has_no_metrics_and_plain_logs() {
        let (settings, said) = read("");
        assert_eq!(
            (settings.metrics, settings.log_format),
            (None, LogFormat::Text)
        );
        assert!(said.is_empty());
    }

    #[test]
    fn metrics_stay_on_this_machine() {
        let (_, said) = read("[metrics]\naddress = \"0.0.0.0:9925\"\n");
        assert_eq!(said, ["not-loopback"]);
        let (settings, said) = read("[metrics]\naddress = \"[::1]:9925\"\n");
        assert!(said.is_empty() && settings.metrics.is_some());
    }

    #[test]
    fn log_words_are_checked() {
        let (_, said) = read("[log]\nformat = \"jsn\"\nlevel = \"info,postern=loud\"\n");
        assert_eq!(said, ["bad-word", "bad-value"]);
    }
}
