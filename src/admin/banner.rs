//! What `postern serve` says when it has started: where everything is, and how to send a first message.

use std::io::{self, Write};
use std::net::SocketAddr;

use serde::Serialize;

use super::answer::json_line;

/// A gateway that has started, as it is shown.
#[derive(Debug, Serialize)]
pub struct Started {
    /// What it calls itself.
    pub hostname: String,
    /// Where mail comes in.
    pub listeners: Vec<Listener>,
    /// Where the metrics are.
    pub metrics: Option<SocketAddr>,
    /// The gateway's own file.
    pub policy: String,
    /// How many warnings there are about the policy's files.
    pub warnings: usize,
    /// Where queue and audit trail lie.
    pub data: String,
    /// The certificates, the default one first.
    pub certificates: Vec<String>,
    /// Where mail goes.
    pub routes: Vec<Route>,
    /// A first message that stays on this machine; `None` where it would leave it.
    pub first_message: Option<FirstMessage>,
}

/// A listener.
#[derive(Debug, Serialize)]
pub struct Listener {
    /// The administrator's name for it.
    pub name: String,
    /// Where.
    pub address: SocketAddr,
    /// What it is for.
    pub description: String,
}

/// A route.
#[derive(Debug, Serialize)]
pub struct Route {
    /// The administrator's name for it.
    pub name: String,
    /// Where it leads.
    pub transport: String,
}

/// How to send a first message, and where to see it.
#[derive(Debug, Serialize)]
pub struct FirstMessage {
    /// The listener that takes it.
    pub to: SocketAddr,
    /// The folder in which it arrives.
    pub arrives_in: String,
}

/// The sender of the first message.
pub const FIRST_SENDER: &str = "me@bumbleton.example";
/// Its recipient.
pub const FIRST_RECIPIENT: &str = "gp@nhs.net";

impl Started {
    /// Writes it for people, or as one line of JSON.
    pub fn write(&self, json: bool, out: &mut impl Write) -> io::Result<()> {
        if json {
            return json_line(self, out);
        }
        let version = env!("CARGO_PKG_VERSION");
        writeln!(out, "postern {version} is running as {}\n", self.hostname)?;
        for one in &self.listeners {
            let address = one.address.to_string();
            line(
                out,
                &one.name,
                &format!("{address:<22} {}", one.description),
            )?;
        }
        if let Some(address) = self.metrics {
            line(out, "metrics", &format!("http://{address}/metrics"))?;
        }
        line(out, "policy", &format!("{}{}", self.policy, self.warned()))?;
        line(out, "data", &self.data)?;
        for certificate in &self.certificates {
            line(out, "certificate", certificate)?;
        }
        for route in &self.routes {
            line(
                out,
                "route",
                &format!("{} → {}", route.name, route.transport),
            )?;
        }
        if let Some(first) = &self.first_message {
            first.write(out)?;
        }
        writeln!(
            out,
            "\nStop with Ctrl-C: what is in hand is finished first."
        )?;
        out.flush()
    }

    /// Warnings do not stop a gateway; `check` has the lines.
    fn warned(&self) -> String {
        match self.warnings {
            0 => String::new(),
            1 => " (1 warning: see `postern check`)".to_owned(),
            count => format!(" ({count} warnings: see `postern check`)"),
        }
    }
}

impl FirstMessage {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let (host, port) = (self.to.ip(), self.to.port());
        write!(
            out,
            "\nSend a first message:\n\n\
             \x20 python3 -c 'import smtplib; smtplib.SMTP(\"{host}\", {port}).sendmail(\n\
             \x20   \"{FIRST_SENDER}\", \"{FIRST_RECIPIENT}\", \"Subject: hello\\r\\n\\r\\nA first message.\\r\\n\")'\n\n\
             It arrives in {}.\n",
            self.arrives_in
        )
    }
}

fn line(out: &mut impl Write, name: &str, text: &str) -> io::Result<()> {
    writeln!(out, "  {name:<12} {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started() -> Started {
        let to: SocketAddr = "127.0.0.1:2525".parse().unwrap();
        Started {
            hostname: "gateway.bumbleton.example".to_owned(),
            listeners: vec![Listener {
                name: "relay".to_owned(),
                address: to,
                description: "relay, STARTTLS".to_owned(),
            }],
            metrics: Some("127.0.0.1:9925".parse().unwrap()),
            policy: "/p/policies/postern.toml".to_owned(),
            warnings: 4,
            data: "/p/data".to_owned(),
            certificates: vec!["/p/certs/gateway.pem".to_owned()],
            routes: vec![Route {
                name: "everything".to_owned(),
                transport: "Maildir /p/data/maildir".to_owned(),
            }],
            first_message: Some(FirstMessage {
                to,
                arrives_in: "/p/data/maildir/nhs.net/gp/new".to_owned(),
            }),
        }
    }

    fn text(started: &Started, json: bool) -> String {
        let mut out = Vec::new();
        started.write(json, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn people_see_where_everything_is_and_how_to_send_a_first_message() {
        let head = format!("postern {} is running as", env!("CARGO_PKG_VERSION"));
        assert_eq!(
            text(&started(), false),
            head + r#" gateway.bumbleton.example

  relay        127.0.0.1:2525         relay, STARTTLS
  metrics      http://127.0.0.1:9925/metrics
  policy       /p/policies/postern.toml (4 warnings: see `postern check`)
  data         /p/data
  certificate  /p/certs/gateway.pem
  route        everything → Maildir /p/data/maildir

Send a first message:

  python3 -c 'import smtplib; smtplib.SMTP("127.0.0.1", 2525).sendmail(
    "me@bumbleton.example", "gp@nhs.net", "Subject: hello\r\n\r\nA first message.\r\n")'

It arrives in /p/data/maildir/nhs.net/gp/new.

Stop with Ctrl-C: what is in hand is finished first.
"#
        );
    }

    #[test]
    fn json_is_one_line_and_a_message_that_would_leave_is_not_proposed() {
        let mut started = started();
        started.first_message = None;
        assert_eq!(text(&started, true).lines().count(), 1);
        assert!(!text(&started, false).contains("first message"));
    }
}
