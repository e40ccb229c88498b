//! The part of a session in which a message is handed over: MAIL, RCPT, DATA and BDAT (RFC 5321 §3.3, RFC 3030).

use crate::mail::{EnhancedStatusCode as Code, Recipient, Reply, Service};
use crate::smtp::action::{Action, Chunk, DataError, Received};
use crate::smtp::command::{CommandError, Mail};

use super::{Session, State, sequence};

impl Session {
    pub(super) fn mail(&mut self, mut mail: Mail) -> Action {
        match self.state {
            State::Greeted => {}
            State::Fresh => return self.bad(sequence("EHLO first")),
            State::Mail(_) | State::Chunks(_) | State::Auth(_) => {
                return self.bad(sequence("a transaction is under way: RSET ends it"));
            }
        }
        if self.client.service == Service::Submission && self.client.account.is_none() {
            return self.bad(Reply::new(
                530,
                Code::permanent(7, 0),
                self.how_to_authenticate(),
            ));
        }
        if self.transactions >= self.settings.transactions {
            return Action::Close(Reply::new(
                421,
                Code::transient(5, 3),
                "too many messages in one session",
            ));
        }
        // A parameter of an extension that is not offered now is one that is not known.
        let unknown = (mail.envelope.require_tls && self.client.tls.is_none())
            || (mail.auth && !self.offers_auth())
            || (mail.envelope.mt_priority.is_some() && !self.settings.mt_priority);
        if unknown {
            return self.bad(CommandError::UnknownParameter);
        }
        if mail
            .size
            .is_some_and(|octets| octets > self.settings.message_octets)
        {
            return Action::Reply(DataError::TooBig.into());
        }
        // Who is not known has no say in what goes first (RFC 6710 §4.1).
        if self.client.account.is_none() {
            mail.envelope.mt_priority = None;
        }
        self.transactions += 1;
        self.state = State::Mail(Box::new(mail.envelope));
        match self.client.account {
            Some(_) => Action::CheckSender(mail.size),
            None => self.sender_checked(Ok(())),
        }
    }

    /// Takes what was said of the account that wants to begin a message.
    pub fn sender_checked(&mut self, result: Result<(), Reply>) -> Action {
        match result {
            Ok(()) => Action::Reply(Reply::new(250, Code::success(1, 0), "sender ok")),
            Err(refusal) => {
                self.state = State::Greeted;
                Action::Reply(refusal)
            }
        }
    }

    pub(super) fn rcpt(&mut self, recipient: Recipient, utf8: bool) -> Action {
        let State::Mail(envelope) = &self.state else {
            return self.bad(sequence("MAIL first"));
        };
        if utf8 && !envelope.smtputf8 {
            return self.bad(CommandError::NeedsSmtpUtf8);
        }
        if envelope.recipients.len() >= self.settings.recipients {
            return Action::Reply(Reply::new(
                452,
                Code::transient(5, 3),
                "too many recipients",
            ));
        }
        Action::CheckRecipient(recipient)
    }

    /// Takes what the policy said of a recipient.
    pub fn recipient_checked(&mut self, recipient: Recipient, result: Result<(), Reply>) -> Action {
        if let Err(refusal) = result {
            return Action::Reply(refusal);
        }
        let State::Mail(envelope) = &mut self.state else {
            return self.bad(sequence("MAIL first"));
        };
        // One who is named twice gets one copy.
        if !envelope.recipients.contains(&recipient) {
            envelope.recipients.push(recipient);
        }
        Action::Reply(Reply::new(250, Code::success(1, 5), "recipient ok"))
    }

    pub(super) fn data(&mut self) -> Action {
        match self.no_message_now() {
            None if matches!(self.state, State::Chunks(_)) => {
                self.bad(sequence("the message comes in chunks"))
            }
            None => Action::ReceiveData(Reply::plain(
                354,
                "go ahead, end with a dot on a line of its own",
            )),
            Some(refusal) => self.bad(refusal),
        }
    }

    pub(super) fn bdat(&mut self, chunk: Chunk) -> Action {
        // Nobody sends so much by mistake, and reading it all to refuse it would serve nobody.
        if chunk.octets / ABSURD_FACTOR > self.settings.message_octets {
            return Action::Close(DataError::TooBig.into());
        }
        if let Some(refusal) = self.no_message_now() {
            // RFC 3030 §4.2: the chunk follows whatever we think of it. That is no error: a client that does not
            // wait for replies sends all chunks of a message that was refused at the first, and must hear why.
            return Action::Discard(chunk.octets, refusal);
        }
        self.state = match self.take_state() {
            State::Mail(envelope) => State::Chunks(envelope),
            state => state,
        };
        Action::ReceiveChunk(chunk)
    }

    /// Why no message can come now; `None` if one can.
    fn no_message_now(&self) -> Option<Reply> {
        match self.envelope() {
            None => Some(sequence("MAIL first")),
            Some(envelope) if envelope.recipients.is_empty() => Some(Reply::new(
                554,
                Code::permanent(5, 1),
                "no valid recipients",
            )),
            Some(_) => None,
        }
    }

    /// Takes how the receiving of a message or chunk went. It was read to its end in any case.
    pub fn received(&mut self, what: Received, result: Result<(), DataError>) -> Action {
        let state = std::mem::replace(&mut self.state, State::Greeted);
        let (State::Mail(envelope) | State::Chunks(envelope)) = state else {
            return self.bad(sequence("MAIL first"));
        };
        match (result, what) {
            (Err(error), _) => Action::Reply(error.into()),
            (
                Ok(()),
                Received::Chunk(Chunk {
                    octets,
                    last: false,
                }),
            ) => {
                self.state = State::Chunks(envelope);
                Action::Reply(Reply::new(
                    250,
                    Code::success(0, 0),
                    format!("{octets} octets received"),
                ))
            }
            (Ok(()), Received::Message | Received::Chunk(_)) => Action::Submit(envelope),
        }
    }
}

/// A chunk so many times the largest message is not read to its end.
const ABSURD_FACTOR: u64 = 4;
