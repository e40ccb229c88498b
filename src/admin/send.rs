//! `postern send`: submits one test message and shows every reply of the server.
//!
//! It speaks through `lettre`'s client, which shares no line with the gateway's own: what both agree
//! on is SMTP. Blocks: on the network, for two minutes a reply at most.

use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use lettre::message::{Mailbox as Author, header::ContentType};
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{Certificate, SmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::{ClientId, Extension};
use lettre::transport::smtp::{Error as SmtpError, response::Response};
use serde::Serialize;

use crate::base::Reference;
use crate::mail::{Host, Mailbox};

use super::answer::{Answer, CommandError, json_line, printable};
use super::cli::{Send, Tls};
use super::input::read_message;

/// Why there was no conversation to show.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// `--server` is not a host and a port.
    #[error("`{0}` is not HOST:PORT, such as 127.0.0.1:2525")]
    Server(String),
    /// The password is not where it was said to be.
    #[error("the environment variable {0} holds no password for --username")]
    Password(String),
    /// The message could not be composed; one can be given whole by `--file`.
    #[error("the message cannot be composed ({0}): give a whole one with --file")]
    Compose(String),
    /// The server cannot take this message.
    #[error("the server does not offer {0}, which this message needs")]
    NotOffered(&'static str),
    /// The connection failed, or the TLS on it.
    #[error("{server}: {error}")]
    Connection {
        /// The server.
        server: String,
        /// What happened.
        error: SmtpError,
    },
}

/// Submits a message. The answer is yes if the server took it for every recipient.
pub fn run(
    asked: &Send,
    json: bool,
    input: &mut impl Read,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let octets = match &asked.file {
        Some(path) => read_message(path, input)?.octets().to_vec(),
        None => compose(asked)?,
    };
    let mut conversation = Conversation::open(asked)?;
    conversation.log_in(asked)?;
    conversation.transaction(asked, &octets)?;
    conversation.write(json, out)?;
    Ok(Answer::yes_if(conversation.all_accepted()))
}

/// The connection, and every reply that has come on it.
struct Conversation {
    connection: SmtpConnection,
    said: Said,
}

/// What JSON shows of it.
#[derive(Serialize)]
struct Said {
    server: String,
    tls: bool,
    replies: Vec<Exchange>,
}

/// A command and the reply to it.
#[derive(Serialize)]
struct Exchange {
    command: String,
    code: u16,
    text: String,
}

impl Conversation {
    fn open(asked: &Send) -> Result<Self, CommandError> {
        let (host, port) = host_and_port(&asked.server)?;
        let failed = |error| SendError::Connection {
            server: asked.server.clone(),
            error,
        };
        let tls = match asked.tls {
            Tls::None => None,
            _ => Some(tls_parameters(host, asked)?),
        };
        let hello = ClientId::default();
        let at_once = tls.as_ref().filter(|_| asked.tls == Tls::Implicit);
        let mut connection =
            SmtpConnection::connect((host, port), Some(TIMEOUT), &hello, at_once, None)
                .map_err(failed)?;
        if let Some(tls) = &tls
            && (asked.tls == Tls::Starttls || connection.can_starttls())
            && !connection.is_encrypted()
        {
            connection.starttls(tls, &hello).map_err(failed)?;
        }
        let said = Said {
            server: asked.server.clone(),
            tls: connection.is_encrypted(),
            replies: Vec::new(),
        };
        Ok(Self { connection, said })
    }

    fn log_in(&mut self, asked: &Send) -> Result<(), CommandError> {
        let Some(username) = &asked.username else {
            return Ok(());
        };
        let variable = &asked.password_env;
        let password =
            std::env::var(variable).map_err(|_| SendError::Password(variable.clone()))?;
        let credentials = Credentials::new(username.clone(), password);
        let reply = self.connection.auth(DEFAULT_MECHANISMS, &credentials);
        self.note(format!("AUTH as {username}"), reply)?;
        Ok(())
    }

    /// One mail transaction; what is refused is noted, and what can go on goes on.
    fn transaction(&mut self, asked: &Send, octets: &[u8]) -> Result<(), CommandError> {
        if !self.all_accepted() {
            return Ok(());
        }
        let parameters = self.parameters(asked, octets)?;
        let mail = format!("MAIL FROM:<{}>{parameters}", asked.from);
        let mut go_on = self.command(mail)?;
        if go_on {
            go_on = false;
            for to in &asked.to {
                go_on |= self.command(format!("RCPT TO:<{to}>"))?;
            }
        }
        if go_on && self.command("DATA".to_owned())? {
            // The client ends the line itself.
            let body = octets.strip_suffix(b"\r\n").unwrap_or(octets);
            let reply = self.connection.message(body);
            self.note(format!("{} octets", octets.len()), reply)?;
        }
        // The answers are in; how the server takes its leave is no matter.
        let _ = self.connection.quit();
        Ok(())
    }

    /// What the message needs beyond RFC 5321: RFC 6152, RFC 6531.
    fn parameters(&self, asked: &Send, octets: &[u8]) -> Result<String, SendError> {
        let offers = |extension| self.connection.server_info().supports_feature(extension);
        let mut parameters = String::new();
        if !octets.is_ascii() {
            if !offers(Extension::EightBitMime) {
                return Err(SendError::NotOffered("8BITMIME"));
            }
            parameters.push_str(" BODY=8BITMIME");
        }
        if asked
            .to
            .iter()
            .chain([&asked.from])
            .any(|one| !one.is_ascii())
        {
            if !offers(Extension::SmtpUtfEight) {
                return Err(SendError::NotOffered("SMTPUTF8"));
            }
            parameters.push_str(" SMTPUTF8");
        }
        Ok(parameters)
    }

    fn command(&mut self, line: String) -> Result<bool, SendError> {
        let reply = self.connection.command(format!("{line}\r\n"));
        self.note(line, reply)
    }

    /// Notes a reply and returns whether it was a good one; an error only if there was none.
    fn note(
        &mut self,
        command: String,
        reply: Result<Response, SmtpError>,
    ) -> Result<bool, SendError> {
        let (code, text) = match reply {
            Ok(reply) => {
                let lines: Vec<&str> = reply.message().collect();
                (u16::from(reply.code()), lines.join(" / "))
            }
            Err(error) => match error.status() {
                Some(code) => (u16::from(code), text_of(&error)),
                None => {
                    let server = self.said.server.clone();
                    return Err(SendError::Connection { server, error });
                }
            },
        };
        self.said.replies.push(Exchange {
            command,
            code,
            text,
        });
        Ok(code < 400)
    }

    fn all_accepted(&self) -> bool {
        self.said.replies.iter().all(|reply| reply.code < 400)
    }

    fn write(&self, json: bool, out: &mut impl Write) -> io::Result<()> {
        if json {
            return json_line(&self.said, out);
        }
        let tls = if self.said.tls { "TLS" } else { "in clear" };
        writeln!(out, "{} ({tls})", self.said.server)?;
        for reply in &self.said.replies {
            writeln!(out, "  > {}", printable(&reply.command))?;
            writeln!(out, "  < {} {}", reply.code, printable(&reply.text))?;
        }
        Ok(())
    }
}

/// The text of a refusal: `lettre` keeps it as the cause of its error.
fn text_of(error: &SmtpError) -> String {
    let cause = std::error::Error::source(error);
    cause.map(ToString::to_string).unwrap_or_default()
}

fn host_and_port(server: &str) -> Result<(&str, u16), SendError> {
    let bad = || SendError::Server(server.to_owned());
    let (host, port) = server.rsplit_once(':').ok_or_else(bad)?;
    let port = port.parse().map_err(|_| bad())?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err(bad());
    }
    Ok((host, port))
}

/// Trusts the public authorities, and one more: the one named, or that of `certs/`.
fn tls_parameters(host: &str, asked: &Send) -> Result<TlsParameters, CommandError> {
    let failed = |error| SendError::Connection {
        server: asked.server.clone(),
        error,
    };
    let mut parameters = TlsParameters::builder(host.to_owned());
    let own = Path::new(OWN_AUTHORITY);
    let authority = asked.ca.as_deref().or_else(|| own.exists().then_some(own));
    if let Some(path) = authority {
        let pem = std::fs::read(path).map_err(|error| CommandError::file(path, error))?;
        parameters = parameters.add_root_certificate(Certificate::from_pem(&pem).map_err(failed)?);
    }
    Ok(parameters.build().map_err(failed)?)
}

fn compose(asked: &Send) -> Result<Vec<u8>, SendError> {
    let from = author(&asked.from)?;
    let id = format!("<{}@{}>", Reference::random(), asked.from.host());
    let mut builder = lettre::Message::builder()
        .from(from)
        .subject(&asked.subject)
        .message_id(Some(id));
    for to in &asked.to {
        builder = builder.to(author(to)?);
    }
    let message = builder
        .header(ContentType::TEXT_PLAIN)
        .body(asked.body.clone())
        .map_err(|error| SendError::Compose(error.to_string()))?;
    Ok(message.formatted())
}

fn author(mailbox: &Mailbox) -> Result<Author, SendError> {
    let local = mailbox.local_part().as_str();
    let host = match mailbox.host() {
        Host::Domain(domain) => domain.to_string(),
        literal => literal.to_string(),
    };
    let address = lettre::Address::new(local, host);
    let address = address.map_err(|error| SendError::Compose(error.to_string()))?;
    Ok(Author::new(None, address))
}

/// For each reply. Servers may take longer for the last one (RFC 5321 §4.5.3.2.6); somebody who
/// tries out a server does not wait for that.
const TIMEOUT: Duration = Duration::from_secs(120);
/// What `postern certs init` makes.
const OWN_AUTHORITY: &str = "certs/ca.pem";

#[cfg(test)]
mod tests {
    use super::super::cli::{Cli, Command};
    use super::*;
    use clap::Parser as _;
    use std::io::{BufRead as _, BufReader};
    use std::net::{SocketAddr, TcpListener};
    use std::thread::JoinHandle;

    /// A server that takes one conversation and refuses recipients named `nobody`. Returns the
    /// octets between DATA and the final dot.
    fn server() -> (SocketAddr, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            let say = |text: &str| (&stream).write_all(text.as_bytes()).unwrap();
            let (mut line, mut data, mut in_data) = (String::new(), String::new(), false);
            say("220 x\r\n");
            while lines.read_line(&mut line).unwrap() > 0 {
                match line.as_str() {
                    ".\r\n" if in_data => {
                        in_data = false;
                        say("250 2.6.0 accepted: PX-7F3K2Q9A\r\n");
                    }
                    _ if in_data => data.push_str(&line),
                    "DATA\r\n" => {
                        in_data = true;
                        say("354 go\r\n");
                    }
                    "QUIT\r\n" => break,
                    _ if line.contains("nobody") => {
                        say("550-5.1.1 no such\r\n550 5.1.1 mailbox\r\n");
                    }
                    _ if line.starts_with("EHLO") => say("250-x\r\n250 8BITMIME\r\n"),
                    _ => say("250 2.0.0 ok\r\n"),
                }
                line.clear();
            }
            data
        });
        (address, thread)
    }

    fn send(line: &str, input: &str) -> (Result<Answer, CommandError>, String) {
        let words = ["postern", "send"].into_iter().chain(line.split(' '));
        let Command::Send(asked) = Cli::try_parse_from(words).unwrap().command else {
            panic!();
        };
        let mut out = Vec::new();
        let answer = run(&asked, false, &mut input.as_bytes(), &mut out);
        (answer, String::from_utf8(out).unwrap())
    }

    #[test]
    fn every_reply_is_shown_and_one_refusal_makes_the_answer_no() {
        let (address, thread) = server();
        let (answer, text) = send(
            &format!(
                "--server {address} --from a@b.example --to c@d.example --to nobody@d.example"
            ),
            "",
        );
        assert_eq!(answer.unwrap(), Answer::No);
        assert!(
            text.contains("> RCPT TO:<c@d.example>\n  < 250 2.0.0 ok\n"),
            "{text}"
        );
        assert!(text.contains("< 550 5.1.1 no such"), "{text}");
        assert!(
            text.ends_with("octets\n  < 250 2.6.0 accepted: PX-7F3K2Q9A\n"),
            "{text}"
        );
        let data = thread.join().unwrap();
        assert!(data.contains("Subject: A test message\r\n") && data.contains("Message-ID: <PX-"));
    }

    #[test]
    fn a_file_goes_as_it_is_with_the_line_ends_of_mail() {
        let (address, thread) = server();
        let message = "From: a@b.example\nSubject: é\n\n.hidden dot\nlast\n";
        let (answer, text) = send(
            &format!("--server {address} --from a@b.example --to c@d.example --file -"),
            message,
        );
        assert_eq!(answer.unwrap(), Answer::Done, "{text}");
        assert!(
            text.contains("MAIL FROM:<a@b.example> BODY=8BITMIME"),
            "{text}"
        );
        let data = thread.join().unwrap();
        assert_eq!(
            data,
            message.replace('\n', "\r\n").replace(".hidden", "..hidden")
        );
    }

    #[test]
    fn what_cannot_be_reached_is_said() {
        let (answer, _) = send("--server nowhere --from a@b.example --to c@d.example", "");
        let said = answer.unwrap_err().to_string();
        assert_eq!(said, "`nowhere` is not HOST:PORT, such as 127.0.0.1:2525");
        let (address, _thread) = server();
        let (answer, _) = send(
            &format!("--server {address} --tls starttls --from a@b.example --to c@d.example"),
            "",
        );
        assert!(answer.unwrap_err().to_string().contains("STARTTLS"));
    }
}
