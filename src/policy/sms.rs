//! Text messages: which recipients are numbers, who may send to them, and what may be said.
//!
//! A text is no secure path, whoever it goes to: it lies in clear with the operator, and shows on a locked screen.
//! What is judged is what is sent: the words of the author, made fit as the provider makes them, cut if the contract
//! says so ([`ShortText`]); and for patient data that as well as all of the mail that it is taken from. Asked at `RCPT TO` for the
//! number and the right to send, and after DATA, as a part of the stage `secure-domain`, for the text.

use std::sync::OnceLock;

use crate::accounts::{Account, InTexts, PastLimit, SmsContract};
use crate::config::Section;
use crate::content::{Content, Unsaid, short_text};
use crate::directory::Served;
use crate::mail::sms::{
    Alphabet, Measure, MobileNumber, NumberError, Pseudonym, Sanitised, cut, measure, sanitise,
};
use crate::mail::{Domain, EnhancedStatusCode, ForwardPath, Host, LocalPart, Mailbox, Recipient};

use super::case::Case;
use super::finding::{Confidence, SecureKeyword, ShortText};
use super::opinion::{Ask, Finding, Opinion};
use super::refusal::Refusal;
use super::verdict::Direction;

/// The domain whose recipients are numbers, if there is one.
#[derive(Debug, Default)]
pub struct SmsRule {
    domain: Option<Domain>,
    /// Domains that were it since the start of the gateway, and are not any more: what goes there is meant to be a text,
    /// and must not leave as mail with the number in its address.
    former: OnceLock<Vec<Domain>>,
}

impl SmsRule {
    /// Takes `domain` out of `[sms]`; the other keys are for delivery, which reports what nobody knows.
    pub fn read(top: &Section<'_>, served: &[Served]) -> Self {
        let section = top.section("sms");
        // Delivery reads it as well, and reports what is wrong with it.
        let domain = section.string("domain");
        let parsed = domain.as_ref().and_then(|text| Domain::parse(text).ok());
        if let (Some(domain), Some(parsed)) = (&domain, &parsed)
            && served.iter().any(|one| one.domain == *parsed)
        {
            let help =
                "take it out of `served`, or name another domain for text messages".to_owned();
            let message =
                "strangers may write to a domain that is served: this one is for accounts alone";
            section.report("conflict", message, domain, help);
        }
        Self {
            domain: parsed,
            former: OnceLock::new(),
        }
    }

    /// Takes over what was a domain of numbers under the policy that this one follows.
    pub fn follow(&self, before: &Self) {
        let former = before.former.get().into_iter().flatten();
        let all = former.chain(&before.domain);
        let others = all.filter(|one| self.domain.as_ref() != Some(one));
        // A policy follows one other, once.
        let _ = self.former.set(others.cloned().collect());
    }

    /// Whether a recipient was meant to be a number until a policy took the domain away.
    fn was_for(&self, path: &ForwardPath) -> bool {
        let former = self.former.get().map_or(&[][..], Vec::as_slice);
        path.domain().is_some_and(|domain| former.contains(domain))
    }

    /// Errs if a recipient is meant to be a number and no texts are sent: at a domain that was that of numbers, or a number
    /// that an account writes to whose contract has texts where the policy has no domain for them.
    pub fn may_be_mail(
        &self,
        account: Option<&Account>,
        path: &ForwardPath,
    ) -> Result<(), Opinion> {
        let has_contract = account.is_some_and(|account| account.sms.is_some());
        let is_without = self.domain.is_none() && has_contract && number(path).is_ok();
        match is_without || self.was_for(path) {
            true => Err(no_texts()),
            false => Ok(()),
        }
    }

    /// Whether a recipient is meant to be a number.
    pub fn is_for(&self, path: &ForwardPath) -> bool {
        self.domain.is_some() && path.domain() == self.domain.as_ref()
    }

    /// The domain, if there is one.
    pub fn domain(&self) -> Option<&Domain> {
        self.domain.as_ref()
    }

    /// The recipient with its number in one form; `None` if it is no number. Wishes about reports stay, the
    /// address as it was first written does not: it would repeat the number.
    ///
    /// # Errors
    /// It is meant to be a number, and is none or at a domain that is none of numbers any more.
    pub fn canonical(&self, recipient: &Recipient) -> Result<Option<Recipient>, Opinion> {
        self.may_be_mail(None, &recipient.forward_path)?;
        if !self.is_for(&recipient.forward_path) {
            // The name of a number in our lists is nobody's address.
            return match Pseudonym::is_one(&recipient.forward_path) {
                true => Err(no_number(NumberError::NotDigits)),
                false => Ok(None),
            };
        }
        let number = number(&recipient.forward_path).map_err(no_number)?;
        let path = self
            .path(&number)
            .ok_or_else(|| no_number(NumberError::NotDigits))?;
        Ok(Some(Recipient {
            forward_path: path,
            notify: recipient.notify,
            orcpt: None,
        }))
    }

    /// Errs if this is a number and the client has no contract for texts. Strangers are refused as everywhere.
    pub fn may_send(
        &self,
        direction: Direction,
        account: Option<&Account>,
        path: &ForwardPath,
    ) -> Result<(), Opinion> {
        self.may_be_mail(account, path)?;
        let may = account.is_some_and(|account| account.sms.is_some());
        match direction == Direction::Inbound || !self.is_for(path) || may {
            true => Ok(()),
            false => Err(not_allowed(account)),
        }
    }

    /// Judges the text of a message of which a recipient is a number; `None` if none is.
    pub fn judge(&self, case: &Case<'_>, is_patient_data: bool) -> Option<Texts> {
        let mut recipients = case.recipients.iter();
        recipients.find(|one| self.is_for(&one.recipient.forward_path))?;
        Some(
            match case
                .account
                .and_then(|account| Some((account, account.sms?)))
            {
                Some((account, contract)) => {
                    let look = Look {
                        case,
                        rule: rule(account),
                        domain: self
                            .domain
                            .as_ref()
                            .map_or_else(String::new, Domain::to_string),
                    };
                    let said = text_of(case);
                    let Sanitised { text: made, .. } = said.clone().unwrap_or_default();
                    let fit = fit(&made, contract).to_owned();
                    let is_cut = fit.len() < made.len();
                    let opinion = look
                        .patient_data(contract.patient_data, is_patient_data)
                        .or_else(|| look.form(said.as_ref(), &fit, contract.segments));
                    Texts::new(opinion, fit, is_cut)
                }
                None => Texts::new(Some(not_allowed(case.account)), String::new(), false),
            },
        )
    }

    /// The text that would go to numbers; `None` if no recipient is one. A page is read for patient data with all that
    /// it strikes out or hides, of which a text has nothing: what is a number here need be none there.
    pub fn text(&self, case: &Case<'_>) -> Option<String> {
        let mut recipients = case.recipients.iter();
        recipients.find(|one| self.is_for(&one.recipient.forward_path))?;
        let contract = case.account?.sms?;
        let made = text_of(case).ok()?;
        Some(fit(&made.text, contract).to_owned())
    }

    fn path(&self, number: &MobileNumber) -> Option<ForwardPath> {
        let local = LocalPart::parse(number.digits()).ok()?;
        let host = Host::Domain(self.domain.clone()?);
        Some(ForwardPath::Mailbox(Mailbox::new(local, host)))
    }
}

/// The number that a recipient's local part is.
///
/// # Errors
/// Why it is none.
pub fn number(path: &ForwardPath) -> Result<MobileNumber, NumberError> {
    let mailbox = path.mailbox().ok_or(NumberError::NotDigits)?;
    MobileNumber::parse(mailbox.local_part().as_str())
}

/// What is said of the text of a message, for every recipient that is a number.
#[derive(Debug)]
pub struct Texts {
    opinion: Option<Opinion>,
    /// The text, and a remark on its size.
    pub findings: Vec<Finding>,
}

impl Texts {
    fn new(opinion: Option<Opinion>, text: String, is_cut: bool) -> Self {
        let Measure {
            alphabet, segments, ..
        } = measure(&text);
        let how = if is_cut { ", cut" } else { "" };
        let note = format!("sms: {segments} of {}{how}", alphabet.word());
        Self {
            opinion,
            findings: vec![Finding::ShortText(ShortText(text)), Finding::Note(note)],
        }
    }

    /// The opinion about one of them. What a broken contract asks goes before a pass; a refusal is worse.
    pub fn opinion(&self, broken: Option<&Opinion>) -> Opinion {
        match (&self.opinion, broken) {
            (Some(opinion), _) => opinion.clone(),
            (None, Some(broken)) => broken.clone(),
            (None, None) => Opinion::pass(),
        }
    }
}

/// A message that an account wants to send as a text.
struct Look<'a> {
    case: &'a Case<'a>,
    rule: String,
    domain: String,
}

impl Look<'_> {
    fn patient_data(&self, said: InTexts, is_patient_data: bool) -> Option<Opinion> {
        let findings = self.case.findings;
        if findings.secure_keyword != SecureKeyword::Absent {
            let because = "the subject asks for encryption, and a text message cannot be encrypted";
            return Some(self.restrict(
                said,
                because,
                "it goes by mail, or the subject asks for nothing",
            ));
        }
        let evidence = &findings.patient_data.evidence;
        let declared_alone = evidence
            .iter()
            .all(|one| one.kind == "declared-by-account" || one.confidence == Confidence::Low);
        let counts = is_patient_data && !(said == InTexts::RefuseFound && declared_alone);
        counts.then(|| {
            let because = "patient data was found, and a text message is no secure path";
            self.restrict(
                said,
                because,
                "the text names no number or marking, or it goes by mail",
            )
        })
    }

    fn restrict(&self, said: InTexts, because: &str, change: &str) -> Opinion {
        let ask = match said {
            InTexts::Hold => Ask::Hold,
            InTexts::Refuse | InTexts::RefuseFound => Ask::Refuse(Refusal::PatientData {
                domain: self.domain.clone(),
            }),
        };
        Opinion::new(ask, &*self.rule, because).would_pass_if(change)
    }

    /// What keeps a text from being sent whatever it says.
    fn form(
        &self,
        made: Result<&Sanitised, &Unsaid>,
        fit: &str,
        segments: usize,
    ) -> Option<Opinion> {
        let Measure {
            alphabet,
            characters,
            segments: taken,
            ..
        } = measure(fit);
        let content = self.case.content;
        let (refusal, because) = if content
            .attachments
            .iter()
            .any(|one| !one.declared.starts_with("image/"))
        {
            (
                SmsRefusal::Attachment,
                "a text message takes no attachment along",
            )
        } else if let Err(unsaid) = made {
            match unsaid {
                Unsaid::TooLong => (SmsRefusal::Unreadable, "the text is too long to be read"),
                Unsaid::UnknownForm => (
                    SmsRefusal::Unreadable,
                    "a part of the text is neither plain text nor HTML",
                ),
                Unsaid::TooManyLinks => (
                    SmsRefusal::Links,
                    "the page has more links than a text message can name",
                ),
            }
        } else if !content.unreadable.is_empty() && fit.is_empty() || has_unread_body(content) {
            (SmsRefusal::Unreadable, "the text could not be read")
        } else if fit.trim().is_empty() {
            (
                SmsRefusal::Empty,
                "nothing is left of the text without signature and quoted mail",
            )
        } else if made.is_ok_and(|made| made.lost_letters > 0) {
            (
                SmsRefusal::Letters,
                "it has letters that would arrive as question marks",
            )
        } else if taken > segments {
            let refusal = SmsRefusal::TooLong {
                segments: taken,
                allowed: segments,
                characters,
                alphabet,
            };
            (
                refusal,
                "the text takes more segments than the contract allows",
            )
        } else {
            return None;
        };
        let ask = Ask::Refuse(Refusal::Sms(refusal));
        Some(Opinion::new(ask, &*self.rule, because).would_pass_if(refusal.remedy()))
    }
}

/// What would be sent of a message.
///
/// # Errors
/// Not all that its reader sees can be said.
fn text_of(case: &Case<'_>) -> Result<Sanitised, Unsaid> {
    let words = match case.structure {
        Ok(structure) => short_text(&case.transaction.message, structure)?,
        Err(_) => String::new(),
    };
    let made = sanitise(&words);
    Ok(Sanitised {
        text: made.text.trim().to_owned(),
        ..made
    })
}

/// What the contract lets through of it.
fn fit(made: &str, contract: SmsContract) -> &str {
    match contract.past_limit {
        PastLimit::Cut => cut(made, contract.segments),
        PastLimit::Refuse => made,
    }
}

/// Whether a part of the text was not looked into: nobody knows what would be sent.
fn has_unread_body(content: &Content) -> bool {
    let mut unread = content.unreadable.iter();
    unread.any(|one| one.place.starts_with("body:"))
}

fn rule(account: &Account) -> String {
    account
        .place()
        .map_or_else(|| "built-in".to_owned(), ToString::to_string)
}

fn not_allowed(account: Option<&Account>) -> Opinion {
    let rule = account.map_or_else(|| "built-in".to_owned(), rule);
    let because = "only an account whose contract has `sms` sends text messages";
    Opinion::new(
        Ask::Refuse(Refusal::Sms(SmsRefusal::NotAllowed)),
        rule,
        because,
    )
    .would_pass_if("the client logs in to an account with `sms` in accounts.toml")
}

fn no_texts() -> Opinion {
    let refusal = Refusal::Sms(SmsRefusal::NotSent);
    let because = "the recipient is a number, and the policy has no `[sms]` for it any more: as mail it would leave in clear";
    Opinion::new(Ask::Refuse(refusal), "built-in", because).would_pass_if(
        "`[sms]` is in postern.toml with this domain, or the account writes to an address of mail",
    )
}

fn no_number(error: NumberError) -> Opinion {
    let refusal = Refusal::Sms(SmsRefusal::Number(error));
    Opinion::new(
        Ask::Refuse(refusal),
        "built-in",
        format!("the local part is no number: {error}"),
    )
    .would_pass_if("the local part is a UK mobile number")
}

/// Why something cannot go as a text message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SmsRefusal {
    /// The client has no contract for it.
    NotAllowed,
    /// No texts are sent any more.
    NotSent,
    /// The recipient is no mobile number.
    Number(NumberError),
    /// It takes more segments than the contract allows.
    TooLong {
        /// What it takes.
        segments: usize,
        /// What is allowed.
        allowed: usize,
        /// Characters of the text.
        characters: usize,
        /// How they would travel.
        alphabet: Alphabet,
    },
    /// Nothing is left to send.
    Empty,
    /// The text is in a part that could not be read.
    Unreadable,
    /// A file came with it.
    Attachment,
    /// Letters that a text message cannot carry.
    Letters,
    /// More links than a text message can name.
    Links,
}

impl SmsRefusal {
    /// Code, status and text; the refusals' one table asks for it.
    pub(super) fn reply(self) -> (u16, EnhancedStatusCode, String) {
        use EnhancedStatusCode as Code;
        match self {
            Self::NotAllowed => (
                550,
                Code::permanent(7, 1),
                "this client may not send text messages".into(),
            ),
            Self::NotSent => (
                550,
                Code::permanent(3, 3),
                "text messages are not sent here any more".into(),
            ),
            Self::Number(error) => (
                553,
                Code::permanent(1, 3),
                format!("not a number for a text message: {error}"),
            ),
            Self::TooLong {
                segments,
                allowed,
                characters,
                alphabet,
            } => (
                552,
                Code::permanent(3, 4),
                format!(
                    "the text takes {segments} segments ({characters} characters, {}), {allowed} are allowed",
                    alphabet.word()
                ),
            ),
            Self::Empty => (
                550,
                Code::permanent(6, 0),
                "there is no text to send".into(),
            ),
            Self::Unreadable => (550, Code::permanent(6, 0), "the text cannot be read".into()),
            Self::Attachment => (
                550,
                Code::permanent(6, 1),
                "a text message takes no attachment".into(),
            ),
            Self::Links => (
                550,
                Code::permanent(6, 3),
                "the page has more links than a text message can name".into(),
            ),
            Self::Letters => (
                550,
                Code::permanent(6, 3),
                "the text has letters that a text message cannot carry".into(),
            ),
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::NotAllowed | Self::NotSent | Self::Number(_) => {
                "the account and the number are right"
            }
            Self::TooLong { .. } => {
                "the text is shorter, or the contract allows more segments, or past-limit is \"cut\""
            }
            Self::Empty | Self::Unreadable => {
                "the message has a text of its own in plain text or HTML"
            }
            Self::Attachment => "the message has no file, or goes by mail",
            Self::Links => "the page has fewer links, or a plain text beside it says what it says",
            Self::Letters => "the text is written in Latin letters, or goes by mail",
        }
    }
}

#[cfg(test)]
#[path = "sms_tests.rs"]
mod tests;
