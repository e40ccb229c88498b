//! `postern resolve`: the mailbox that an address leads to, hop by hop (`design.md` §4.2).

use std::io::{self, BufRead, Write};

use serde::Serialize;

use crate::directory::{End, Resolution};
use crate::mail::{AddressError, ForwardPath, Mailbox};

use super::answer::{Answer, json_line, printable};

/// Answers for each address in the order given. `resolve` is the directory's own function; `-`
/// stands for the addresses that `input` has, one a line. The answer is no if one of them is none of
/// mailbox, list, unlisted or external.
pub fn run(
    addresses: &[String],
    resolve: impl Fn(&Mailbox) -> Resolution,
    json: bool,
    input: &mut impl BufRead,
    out: &mut impl Write,
) -> io::Result<Answer> {
    let mut answer = Answer::Done;
    let mut one = |address: &str, out: &mut _| {
        let resolved = Resolved::of(address, &resolve);
        answer = answer.and(resolved.answer());
        if json {
            json_line(&resolved, out)
        } else {
            resolved.write(out)
        }
    };
    for address in addresses {
        if address != "-" {
            one(address, out)?;
            continue;
        }
        for line in input.lines() {
            let line = line?;
            if !line.trim().is_empty() {
                one(line.trim(), out)?;
            }
        }
    }
    Ok(answer)
}

/// One line of the answer.
#[derive(Debug, Serialize)]
struct Resolved<'a> {
    input: &'a str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mailbox: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    successor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidates: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suggestion: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<String>,
    path: Vec<Step>,
}

/// A hop, as JSON has it.
#[derive(Debug, Serialize)]
struct Step {
    from: String,
    to: String,
    because: &'static str,
    source: String,
}

impl<'a> Resolved<'a> {
    fn of(input: &'a str, resolve: impl Fn(&Mailbox) -> Resolution) -> Self {
        // As in `RCPT TO`: a source route is taken off (RFC 5321 §4.1.2).
        let mailbox = match ForwardPath::parse(input) {
            Ok(ForwardPath::Mailbox(mailbox)) => Ok(mailbox),
            Ok(ForwardPath::Postmaster) => Mailbox::parse(input),
            Err(error) => Err(error),
        };
        match mailbox {
            Ok(mailbox) => Self::found(input, resolve(&mailbox)),
            Err(error) => Self::invalid(input, &error),
        }
    }

    fn found(input: &'a str, resolution: Resolution) -> Self {
        let mut resolved = Self::empty(input, resolution.end.word());
        match resolution.end {
            End::Mailbox(mailbox) | End::Unlisted(mailbox) | End::External(mailbox) => {
                resolved.mailbox = Some(mailbox.to_string());
            }
            End::List(members) => {
                if members.is_empty() {
                    resolved.because = Some("the list has no members".to_owned());
                }
                resolved.members = Some(words(&members));
            }
            End::Moved(successor) => resolved.successor = Some(successor.to_string()),
            End::Ambiguous(candidates) => resolved.candidates = Some(words(&candidates)),
            End::Unknown(suggestion) => {
                resolved.suggestion = suggestion.map(|mailbox| mailbox.to_string());
            }
            End::Closed => {}
            End::Loop => resolved.because = Some("the chain of aliases does not end".to_owned()),
        }
        let hops = resolution.path.into_iter().map(|hop| Step {
            from: hop.from.to_string(),
            to: hop.to.to_string(),
            because: hop.because.word(),
            source: hop.source.to_string(),
        });
        resolved.path = hops.collect();
        resolved
    }

    fn invalid(input: &'a str, error: &AddressError) -> Self {
        Self {
            because: Some(error.to_string()),
            ..Self::empty(input, "invalid")
        }
    }

    fn empty(input: &'a str, outcome: &'static str) -> Self {
        Self {
            input,
            outcome,
            mailbox: None,
            members: None,
            successor: None,
            candidates: None,
            suggestion: None,
            because: None,
            path: Vec::new(),
        }
    }

    fn answer(&self) -> Answer {
        let empty_list = self.members.as_ref().is_some_and(Vec::is_empty);
        let good = ["mailbox", "list", "unlisted", "external"].contains(&self.outcome);
        Answer::yes_if(good && !empty_list)
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}: {}", printable(self.input), self.sentence())?;
        for step in &self.path {
            writeln!(
                out,
                "    {} → {} ({}, {})",
                printable(&step.from),
                printable(&step.to),
                step.because,
                printable(&step.source)
            )?;
        }
        Ok(())
    }

    fn sentence(&self) -> String {
        let all = |words: &Option<Vec<String>>| words.clone().unwrap_or_default().join(", ");
        let one = |word: &Option<String>| word.clone().unwrap_or_default();
        match self.outcome {
            "mailbox" => format!("mailbox {}", one(&self.mailbox)),
            "list" => format!("list of {}", all(&self.members)),
            "unlisted" => format!("unlisted, passed on as {}", one(&self.mailbox)),
            "external" => format!("external, passed on as {}", one(&self.mailbox)),
            "moved" => format!("moved to {}", one(&self.successor)),
            "ambiguous" => format!("ambiguous: {}", all(&self.candidates)),
            "closed" => "closed, without a successor".to_owned(),
            "unknown" => match &self.suggestion {
                Some(name) => format!("unknown; did you mean {name}?"),
                None => "unknown".to_owned(),
            },
            word => format!("{word}: {}", one(&self.because)),
        }
    }
}

fn words(mailboxes: &[Mailbox]) -> Vec<String> {
    mailboxes.iter().map(Mailbox::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::{Because, Hop, Source};

    fn mailbox(text: &str) -> Mailbox {
        Mailbox::parse(text).unwrap()
    }

    fn directory(asked: &Mailbox) -> Resolution {
        let ends = |end| Resolution {
            end,
            path: Vec::new(),
        };
        match asked.to_string().as_str() {
            "old@nhs.net" => Resolution {
                end: End::Mailbox(mailbox("new@nhs.net")),
                path: vec![Hop {
                    from: mailbox("old@nhs.net"),
                    to: mailbox("new@nhs.net"),
                    because: Because::Renamed,
                    source: Source::line(&"policies/aliases.toml".into(), 12),
                }],
            },
            "empty@nhs.net" => ends(End::List(Vec::new())),
            "team@nhs.net" => ends(End::List(vec![mailbox("a@nhs.net"), mailbox("b@nhs.net")])),
            "twin@nhs.net" => ends(End::Ambiguous(vec![mailbox("a@nhs.net")])),
            "phramacy@nhs.net" => ends(End::Unknown(Some(mailbox("pharmacy@nhs.net")))),
            _ => ends(End::External(asked.clone())),
        }
    }

    fn resolve(addresses: &[&str], json: bool, input: &str) -> (String, Answer) {
        let addresses: Vec<String> = addresses.iter().map(|one| (*one).to_owned()).collect();
        let mut out = Vec::new();
        let answer = run(&addresses, directory, json, &mut input.as_bytes(), &mut out).unwrap();
        (String::from_utf8(out).unwrap(), answer)
    }

    #[test]
    fn json_is_what_the_contract_says() {
        let (text, answer) = resolve(&["old@nhs.net"], true, "");
        assert_eq!(
            text,
            "{\"input\":\"old@nhs.net\",\"outcome\":\"mailbox\",\"mailbox\":\"new@nhs.net\",\
             \"path\":[{\"from\":\"old@nhs.net\",\"to\":\"new@nhs.net\",\"because\":\"renamed\",\
             \"source\":\"policies/aliases.toml:12\"}]}\n"
        );
        assert_eq!(answer, Answer::Done);
    }

    #[test]
    fn a_source_route_and_a_trailing_dot_are_taken_off() {
        let (text, answer) = resolve(&["@a.example,@b.example:old@nhs.net."], true, "");
        assert!(text.contains("\"mailbox\":\"new@nhs.net\""), "{text}");
        assert_eq!(answer, Answer::Done);
    }

    #[test]
    fn one_bad_address_makes_the_answer_no() {
        let (text, answer) = resolve(&["x@y.example", "no address"], true, "");
        assert_eq!(answer, Answer::No);
        assert!(
            text.lines()
                .nth(1)
                .unwrap()
                .contains("\"outcome\":\"invalid\",\"because\":\"")
        );
        assert_eq!(resolve(&["empty@nhs.net"], true, "").1, Answer::No);
        assert_eq!(resolve(&["twin@nhs.net"], true, "").1, Answer::No);
    }

    #[test]
    fn people_read_a_sentence_and_the_hops() {
        let (text, _) = resolve(
            &["old@nhs.net", "team@nhs.net", "phramacy@nhs.net"],
            false,
            "",
        );
        assert_eq!(
            text,
            "old@nhs.net: mailbox new@nhs.net\n    \
             old@nhs.net → new@nhs.net (renamed, policies/aliases.toml:12)\n\
             team@nhs.net: list of a@nhs.net, b@nhs.net\n\
             phramacy@nhs.net: unknown; did you mean pharmacy@nhs.net?\n"
        );
    }

    #[test]
    fn addresses_come_from_the_standard_input_as_well() {
        let (text, answer) = resolve(&["-"], false, "a@b.example\n\n c@d.example \n");
        assert_eq!((text.lines().count(), answer), (2, Answer::Done));
    }
}
