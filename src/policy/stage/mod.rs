//! The stages of the policy, in the order in which they run (`design.md` §1).
//!
//! A closed set: which of them run, and in which order, is data in the policy file; what they are
//! is here. What a stage reads of the findings must have been written by a stage before it, which
//! [`StageName::needs`] and [`StageName::follows`] say and the loader checks.

pub mod authenticate_sender;
pub mod classify_patient_data;
pub mod footer;
pub mod mark;
pub mod resolve_recipients;
pub mod scan;
pub mod score_spam;
pub mod secure_domain;

use std::sync::Arc;

use super::case::Case;
use super::opinion::Opinions;
use super::senders::Scored;

use authenticate_sender::AuthenticateSender;
use classify_patient_data::ClassifyPatientData;
use footer::Footer;
use mark::Mark;
use resolve_recipients::ResolveRecipients;
use scan::Scan;
use secure_domain::SecureDomain;

/// One stage with its checked settings.
#[derive(Debug)]
pub enum Stage {
    /// Who is this?
    AuthenticateSender(AuthenticateSender),
    /// Which mailbox does each recipient mean?
    ResolveRecipients(Arc<ResolveRecipients>),
    /// Is there patient data in it?
    ClassifyPatientData(Box<ClassifyPatientData>),
    /// May this recipient have it, over which transport?
    SecureDomain(SecureDomain),
    /// Is anything in it that must not be let through?
    Scan(Box<Scan>),
    /// How much does it look like spam?
    ScoreSpam(Box<Scored>),
    /// Which organisation is sending?
    Footer(Footer),
    /// How is it marked?
    Mark(Mark),
}

impl Stage {
    /// What the stage says about a case. Only `authenticate-sender` and `score-spam` ever wait (for DNS), and `scan`
    /// (for scanners).
    pub async fn examine(&self, case: &Case<'_>) -> Opinions {
        match self {
            Self::AuthenticateSender(stage) => stage.examine(case).await,
            Self::ResolveRecipients(stage) => stage.examine(case),
            Self::ClassifyPatientData(stage) => stage.examine(case),
            Self::SecureDomain(stage) => stage.examine(case),
            Self::Scan(stage) => stage.examine(case).await,
            Self::ScoreSpam(stage) => stage.examine(case).await,
            Self::Footer(stage) => stage.examine(case),
            Self::Mark(stage) => stage.examine(case),
        }
    }
}

/// Names a stage, in policy files and to people.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum StageName {
    /// `authenticate-sender`.
    AuthenticateSender,
    /// `resolve-recipients`.
    ResolveRecipients,
    /// `classify-patient-data`.
    ClassifyPatientData,
    /// `secure-domain`.
    SecureDomain,
    /// `scan`.
    Scan,
    /// `score-spam`.
    ScoreSpam,
    /// `footer`.
    Footer,
    /// `mark`.
    Mark,
}

impl StageName {
    /// All of them, in the order in which they ship.
    pub const ALL: [Self; 8] = [
        Self::AuthenticateSender,
        Self::ResolveRecipients,
        Self::ClassifyPatientData,
        Self::SecureDomain,
        Self::Scan,
        Self::ScoreSpam,
        Self::Footer,
        Self::Mark,
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::AuthenticateSender => "authenticate-sender",
            Self::ResolveRecipients => "resolve-recipients",
            Self::ClassifyPatientData => "classify-patient-data",
            Self::SecureDomain => "secure-domain",
            Self::Scan => "scan",
            Self::ScoreSpam => "score-spam",
            Self::Footer => "footer",
            Self::Mark => "mark",
        }
    }

    /// The stages whose findings it reads: they must run before it.
    pub fn needs(self) -> &'static [Self] {
        match self {
            Self::SecureDomain => &[Self::ResolveRecipients, Self::ClassifyPatientData],
            Self::ScoreSpam => &[Self::AuthenticateSender],
            Self::Mark => &[Self::ClassifyPatientData],
            _ => &[],
        }
    }

    /// The stages whose findings it counts in where there are any: they may be left out, but not run after it.
    pub fn follows(self) -> &'static [Self] {
        match self {
            Self::ScoreSpam => &[Self::Scan],
            _ => &[],
        }
    }

    /// Whether the gateway may not run without it, nor pass mail when it fails: patient data and
    /// relaying hang on it.
    pub fn is_safety(self) -> bool {
        matches!(
            self,
            Self::ResolveRecipients | Self::ClassifyPatientData | Self::SecureDomain
        )
    }
}
