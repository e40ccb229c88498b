//! What an account may send as text messages: `sms = { … }` of its contract. Without it, none.

use crate::config::{Diagnostic, Located, Section};

use super::account::Declaration;

/// The part of a contract that is about text messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SmsContract {
    /// Segments that one text may take: what a provider sends, and bills, as so many messages.
    pub segments: usize,
    /// What happens to a text that takes more.
    pub past_limit: PastLimit,
    /// What happens to patient data in a text, which is no secure path whoever it goes to.
    pub patient_data: InTexts,
}

/// What happens to a text that is too long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PastLimit {
    /// Refused after DATA, with the count.
    Refuse,
    /// Cut to what fits.
    Cut,
}

/// What happens to patient data in a text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InTexts {
    /// Refused after DATA, whether it was found or the account declares it of all its mail.
    Refuse,
    /// Held, likewise.
    Hold,
    /// What is found is refused; that the account declares all its mail to be patient data says nothing against a
    /// text in which nothing is found.
    RefuseFound,
}

impl SmsContract {
    /// Reads `sms = { … }` of an `[[account]]`, if there is one.
    pub(super) fn read(account: &Section<'_>, declared: Declaration) -> Option<Self> {
        if !account.has("sms") {
            return None;
        }
        let section = account.section("sms");
        let segments = section.integer("segments", 1..=SEGMENTS_MAX);
        let past = section.word(
            "past-limit",
            &[("refuse", PastLimit::Refuse), ("cut", PastLimit::Cut)],
        );
        let patient_data = section.word(
            "patient-data",
            &[
                ("refuse", InTexts::Refuse),
                ("hold", InTexts::Hold),
                ("refuse-found", InTexts::RefuseFound),
            ],
        );
        let contract = Self {
            segments: segments.map_or(SEGMENTS, |n| usize::try_from(*n).unwrap_or(SEGMENTS)),
            past_limit: past.map_or(PastLimit::Refuse, Located::into_inner),
            patient_data: patient_data.map_or(InTexts::Refuse, Located::into_inner),
        };
        if declared == Declaration::Always && contract.patient_data != InTexts::RefuseFound {
            let message =
                "no text of this account will ever go: it says that all its mail is patient data";
            account.diagnostics().push(
                Diagnostic::warning("no-text-goes", message)
                    .at(section.place(), "")
                    .help("write patient-data = \"refuse-found\" in `sms` if its texts may go in which nothing is found"),
            );
        }
        section.finish();
        Some(contract)
    }
}

/// As many as GOV.UK Notify's own advice for one text; 918 characters are six.
const SEGMENTS: usize = 3;
/// Notify takes no longer ones.
const SEGMENTS_MAX: i64 = 6;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::accounts::Accounts;
    use crate::config::{Diagnostics, SourceFile};

    fn read(keys: &str) -> (Option<SmsContract>, Vec<&'static str>) {
        let file = Arc::new(SourceFile {
            path: "accounts.toml".into(),
            text: format!("[[account]]\nname = \"a@nhs.net\"\ndisabled = true\n{keys}\n"),
        });
        let diagnostics = Diagnostics::default();
        let accounts = Accounts::read(&file, &diagnostics);
        let contract = accounts.get("a@nhs.net").unwrap().sms;
        (
            contract,
            diagnostics.into_vec().iter().map(|one| one.id).collect(),
        )
    }

    #[test]
    fn nothing_is_sent_without_a_contract_and_the_strictest_is_what_it_says_by_itself() {
        assert_eq!(read(""), (None, vec![]));
        let strictest = SmsContract {
            segments: 3,
            past_limit: PastLimit::Refuse,
            patient_data: InTexts::Refuse,
        };
        assert_eq!(read("sms = {}"), (Some(strictest), vec![]));
        assert_eq!(read("sms = { segments = 7 }").1, ["out-of-bounds"]);
        assert_eq!(
            read("sms = { past-limit = \"split\", segment = 1 }").1,
            ["bad-word", "unknown-key"]
        );
    }

    #[test]
    fn a_contract_under_which_nothing_could_go_is_told() {
        let always = "patient-data = \"always\"";
        assert_eq!(read(&format!("{always}\nsms = {{}}")).1, ["no-text-goes"]);
        let (contract, said) = read(&format!(
            "{always}\nsms = {{ patient-data = \"refuse-found\" }}"
        ));
        assert_eq!(
            (contract.unwrap().patient_data, said.len()),
            (InTexts::RefuseFound, 0)
        );
    }
}
