//! One message to its recipients, on a connection that takes mail.
//!
//! Commands go out in groups where the server allows it (RFC 2920), the message itself in one chunk
//! (RFC 3030) or with dots (RFC 5321 §4.5.2). Each recipient comes to its own [`Ending`]. The rules that
//! keep mail from being lost: only a positive reply after the last octet is a delivery; whatever is
//! undecided when the connection ends is tried again, even if that may make a duplicate.

use std::collections::VecDeque;

use crate::mail::{EnhancedStatusCode, Envelope, Message, Reply};
use crate::smtp::extension::Extensions;

use super::Dialect;
use super::opening::closes;
use super::parameters::Needs;

/// What is known of the other end.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    /// The protocol spoken.
    pub dialect: Dialect,
    /// What it offers.
    pub extensions: &'a Extensions,
    /// Whether it is on this machine: no TLS is needed there, whatever the message asks for.
    pub local: bool,
}

/// What to do next. Before anything else, what [`Transaction::next`] put out is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Write the message after it, in this form.
    Write(Form),
    /// Read one reply, for so long, and hand it to [`Transaction::reply`].
    Read(Patience),
    /// Nothing: every recipient has its ending.
    Done,
}

/// How the message goes over the wire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// Octet by octet.
    Chunk,
    /// With transparency dots and the end mark.
    Dotted,
}

/// How long a reply may take (RFC 5321 §4.5.3.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Patience {
    /// That to a command.
    Command,
    /// That to the last octet of a message.
    Final,
    /// That to RSET, when all is decided: it is not worth waiting for.
    Reset,
}

/// What has become of one recipient.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ending {
    /// What the server said last: it decides.
    Replied(Reply),
    /// The server said nothing, or nothing that counts. The class of `status` says what follows.
    Unsaid {
        /// Our own status.
        status: EnhancedStatusCode,
        /// In our words.
        because: String,
    },
    /// The same after the server had the whole message: it may have taken it.
    InDoubt {
        /// Our own status.
        status: EnhancedStatusCode,
        /// In our words.
        because: String,
    },
}

impl Ending {
    /// The same for a message that was on the wire to its last octet. What the server has said stays said.
    fn in_doubt(self) -> Self {
        match self {
            Self::Unsaid { status, because } => Self::InDoubt { status, because },
            said => said,
        }
    }
}

/// The machine.
pub struct Transaction<'a> {
    link: Link<'a>,
    octets: usize,
    /// Commands of the envelope that have not been put out.
    unsent: VecDeque<(String, Awaited)>,
    /// Replies that have not come, in the order in which they will.
    awaited: VecDeque<Awaited>,
    phase: Phase,
    /// One for each recipient of the envelope, in its order.
    endings: Vec<Option<Ending>>,
    /// Recipients that were accepted and wait for the final reply, in their order.
    accepted: VecDeque<usize>,
    mail: Mail,
    /// Whether the message was put out.
    put_out: bool,
    /// Whether a part of it is missing on the wire: then nothing positive counts.
    cut: bool,
    /// Whether the server spoke before it had the last octet: nor does it then.
    early: bool,
    reusable: bool,
}

/// Where the transaction is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Envelope,
    Content,
    Reset,
    Done,
}

/// What has become of MAIL.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mail {
    Unanswered,
    Accepted,
    Refused,
    /// The server has ended the transaction of its own accord.
    Closed,
}

/// What a reply will be the answer to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Awaited {
    Mail,
    Rcpt(usize),
    /// To DATA.
    GoAhead,
    /// To DATA, already positive: the message is to be written.
    GoneAhead,
    /// To the last octet.
    Final(Form),
    Reset,
}

impl<'a> Transaction<'a> {
    /// A transaction that has not begun. Recipients that this server cannot serve have their ending
    /// already; if that is all of them, nothing is ever sent.
    pub fn new(link: Link<'a>, envelope: &Envelope, message: &Message) -> Self {
        let needs = Needs::of(envelope, message);
        let count = envelope.recipients.len();
        let mut transaction = Self {
            link,
            octets: message.len(),
            unsent: VecDeque::with_capacity(count + 1),
            awaited: VecDeque::with_capacity(count + 2),
            phase: Phase::Envelope,
            endings: vec![None; count],
            accepted: VecDeque::new(),
            mail: Mail::Unanswered,
            put_out: false,
            cut: false,
            early: false,
            reusable: true,
        };
        match needs.refusal(envelope, message, &link) {
            Some(refusal) => transaction.end_rest(&refusal),
            None => transaction.plan(&needs, envelope),
        }
        if transaction.unsent.is_empty() {
            transaction.phase = Phase::Done;
        }
        transaction
    }

    /// Lines the commands of the envelope up. A server that says how many recipients it takes at
    /// once (RFC 9422 §3.2) is not asked for more.
    fn plan(&mut self, needs: &Needs, envelope: &Envelope) {
        let extensions = self.link.extensions;
        let limit = extensions
            .recipients_max
            .map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
        for (i, recipient) in envelope.recipients.iter().enumerate() {
            match needs.rcpt(recipient, envelope, extensions) {
                Ok(_) if self.unsent.len() == limit => self.endings[i] = Some(too_many()),
                Ok(line) => self.unsent.push_back((line, Awaited::Rcpt(i))),
                Err(refusal) => self.endings[i] = Some(refusal),
            }
        }
        if !self.unsent.is_empty() {
            let line = needs.mail(envelope, extensions);
            self.unsent.push_front((line, Awaited::Mail));
        }
    }

    /// Puts what is to be written out, and returns what to do after that.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Step {
        match self.phase {
            Phase::Envelope => self.next_of_envelope(out),
            Phase::Content => self.next_of_content(out),
            Phase::Reset => {
                if self.awaited.is_empty() {
                    out.extend_from_slice(b"RSET\r\n");
                    self.awaited.push_back(Awaited::Reset);
                }
                Step::Read(Patience::Reset)
            }
            Phase::Done => Step::Done,
        }
    }

    fn next_of_envelope(&mut self, out: &mut Vec<u8>) -> Step {
        if self.awaited.is_empty() {
            if self.unsent.is_empty() {
                return self.end_of_envelope(out);
            }
            self.put_out_commands(out);
            if self.unsent.is_empty() && self.content_may_follow() {
                self.phase = Phase::Content;
                return self.begin_content(out);
            }
        }
        Step::Read(Patience::Command)
    }

    /// As many commands as may be under way at once: a server that is busy answering must not be
    /// kept from it by a client that does not read (RFC 2920 §3.1).
    fn put_out_commands(&mut self, out: &mut Vec<u8>) {
        let start = out.len();
        while let Some((line, awaited)) = self.unsent.pop_front() {
            out.extend_from_slice(line.as_bytes());
            self.awaited.push_back(awaited);
            if !self.link.extensions.pipelining || out.len() - start > GROUP_MAX_OCTETS {
                break;
            }
        }
    }

    /// Whether DATA, or the whole message, goes out in one group with the envelope. A large message
    /// waits until somebody will have it.
    fn content_may_follow(&self) -> bool {
        let extensions = self.link.extensions;
        extensions.pipelining && (!extensions.chunking || self.octets <= EAGER_MAX_OCTETS)
    }

    /// All replies to the envelope are here.
    fn end_of_envelope(&mut self, out: &mut Vec<u8>) -> Step {
        if self.accepted.is_empty() {
            self.finish();
            return self.next(out);
        }
        self.phase = Phase::Content;
        self.begin_content(out)
    }

    fn begin_content(&mut self, out: &mut Vec<u8>) -> Step {
        if self.link.extensions.chunking {
            out.extend_from_slice(format!("BDAT {} LAST\r\n", self.octets).as_bytes());
            self.awaited.push_back(Awaited::Final(Form::Chunk));
            self.put_out = true;
            return Step::Write(Form::Chunk);
        }
        out.extend_from_slice(b"DATA\r\n");
        self.awaited.push_back(Awaited::GoAhead);
        Step::Read(Patience::Command)
    }

    fn next_of_content(&mut self, out: &mut Vec<u8>) -> Step {
        match self.awaited.front() {
            Some(Awaited::GoneAhead) => {
                self.awaited[0] = Awaited::Final(Form::Dotted);
                if !self.accepted.is_empty() {
                    self.put_out = true;
                    return Step::Write(Form::Dotted);
                }
                // RFC 2920 §3.1: nobody will have it, and the server waits for the message.
                out.extend_from_slice(b".\r\n");
                Step::Read(Patience::Command)
            }
            Some(Awaited::Final(_)) => Step::Read(Patience::Final),
            Some(_) => Step::Read(Patience::Command),
            None => {
                self.finish();
                self.next(out)
            }
        }
    }

    /// Takes the next reply.
    pub fn reply(&mut self, reply: Reply) {
        let Some(awaited) = self.awaited.pop_front() else {
            return self.fail(unexpected());
        };
        if closes(&reply) && awaited != Awaited::Reset {
            // RFC 5321 §3.8: whatever is undecided was not done.
            return self.fail(Ending::Replied(reply));
        }
        let class = reply.code().value() / 100;
        match (awaited, class) {
            (Awaited::GoAhead, 3) => self.awaited.push_front(Awaited::GoneAhead),
            (Awaited::GoAhead, 2) | (_, 3) => self.fail(unexpected()),
            (Awaited::Mail, _) => self.answer_mail(reply),
            (Awaited::Rcpt(i), _) => self.answer_rcpt(i, reply),
            (Awaited::GoAhead, _) => self.end_accepted(&Ending::Replied(reply)),
            (Awaited::Final(form), _) => self.answer_final(form, reply),
            (Awaited::Reset, _) => {
                self.reusable = class == 2;
                self.phase = Phase::Done;
            }
            (Awaited::GoneAhead, _) => self.fail(unexpected()),
        }
    }

    fn answer_mail(&mut self, reply: Reply) {
        if reply.code().is_positive() {
            self.mail = Mail::Accepted;
            return;
        }
        self.mail = Mail::Refused;
        self.unsent.clear();
        self.end_rest(&Ending::Replied(reply));
    }

    fn answer_rcpt(&mut self, i: usize, reply: Reply) {
        if self.mail != Mail::Accepted {
            return;
        }
        if reply.code().is_positive() {
            self.accepted.push_back(i);
        } else if self.means_too_many(&reply) {
            self.endings[i] = Some(too_many());
        } else {
            self.endings[i] = Some(Ending::Replied(reply));
        }
    }

    /// RFC 5321 §4.5.3.1.10: a 552 for the number of recipients is to be taken as a 452. A 452 without an enhanced code
    /// may be about a mailbox as well: its words tell.
    fn means_too_many(&self, reply: &Reply) -> bool {
        let said = reply.enhanced().map(|e| (e.subject(), e.detail()));
        let is_one = match (reply.code().value(), said) {
            (552, None | Some((5, 3))) => true,
            (452, None) => reply.text().to_ascii_lowercase().contains("too many"),
            _ => false,
        };
        is_one && !self.accepted.is_empty()
    }

    fn answer_final(&mut self, form: Form, reply: Reply) {
        let positive = reply.code().is_positive();
        if positive && (self.cut || self.early) {
            return self.fail(unexpected());
        }
        // After the end mark the transaction is over, whatever the reply; after a chunk that was
        // refused it is not (RFC 3030 §2).
        if positive || form == Form::Dotted {
            self.mail = Mail::Closed;
        }
        match self.link.dialect {
            Dialect::Smtp => self.end_accepted(&Ending::Replied(reply)),
            Dialect::Lmtp => {
                if let Some(i) = self.accepted.pop_front() {
                    self.endings[i] = Some(Ending::Replied(reply));
                }
                if !self.accepted.is_empty() {
                    self.awaited.push_front(Awaited::Final(form));
                }
            }
        }
    }

    /// Says that the message could not be written to its end. Replies may still come.
    pub fn content_was_cut(&mut self) {
        self.cut = true;
        self.reusable = false;
    }

    /// Says that there was something to read before the last octet was written, which cannot be the answer to it. A refusal
    /// may be: of a message that is too large, say.
    pub fn spoke_early(&mut self) {
        self.early = true;
    }

    /// Whether the reply to the last octet is the only one that is due.
    pub fn awaits_the_end_alone(&self) -> bool {
        matches!(self.awaited.front(), Some(Awaited::Final(_)))
    }

    /// Whether no reply is due: what is put out next is put out to a server that has nothing to say.
    pub fn is_our_turn(&self) -> bool {
        self.phase != Phase::Done && self.awaited.is_empty()
    }

    /// The server spoke when it was our turn: what else it says cannot be told from what it was asked. A farewell is
    /// taken for what it is.
    pub fn spoke_out_of_turn(&mut self, reply: Option<Reply>) {
        self.fail(match reply {
            Some(reply) if closes(&reply) => Ending::Replied(reply),
            _ => unexpected(),
        });
    }

    /// Ends the transaction: whoever has no ending gets this one, and the connection is of no use.
    pub fn fail(&mut self, ending: Ending) {
        self.end_rest(&match self.put_out && !self.cut {
            true => ending.in_doubt(),
            false => ending,
        });
        self.reusable = false;
        self.phase = Phase::Done;
    }

    /// Whether the server has not answered at all: another connection may be tried.
    pub fn is_untouched(&self) -> bool {
        self.mail == Mail::Unanswered
    }

    /// Whether another transaction may follow on this connection.
    pub fn is_reusable(&self) -> bool {
        self.reusable && self.phase == Phase::Done
    }

    /// The endings, one for each recipient in the order of the envelope.
    pub fn into_endings(self) -> Vec<Ending> {
        let endings = self.endings.into_iter();
        endings
            .map(|ending| ending.unwrap_or_else(unexpected))
            .collect()
    }

    /// All replies are here: a transaction that is still open on the server is taken back.
    fn finish(&mut self) {
        self.phase = match self.mail {
            Mail::Accepted if self.reusable => Phase::Reset,
            _ => Phase::Done,
        };
    }

    fn end_accepted(&mut self, ending: &Ending) {
        for i in self.accepted.drain(..) {
            self.endings[i] = Some(ending.clone());
        }
    }

    fn end_rest(&mut self, ending: &Ending) {
        self.accepted.clear();
        for empty in self.endings.iter_mut().filter(|ending| ending.is_none()) {
            *empty = Some(ending.clone());
        }
    }
}

fn too_many() -> Ending {
    Ending::Unsaid {
        status: EnhancedStatusCode::transient(5, 3),
        because: "the next hop takes no more recipients at once".to_owned(),
    }
}

fn unexpected() -> Ending {
    Ending::Unsaid {
        status: EnhancedStatusCode::transient(5, 0),
        because: "the next hop gave a reply that does not belong here".to_owned(),
    }
}

/// Commands under way before their replies are read, in octets: the replies fit into the buffers of
/// any system.
const GROUP_MAX_OCTETS: usize = 16 * 1_024;
/// A message up to this size goes out with its envelope in one chunk, before it is known whether
/// somebody will have it.
const EAGER_MAX_OCTETS: usize = 256 * 1_024;

#[cfg(test)]
mod tests;
