//! What is in the message: patient data, markings, a wish for encryption, and what nobody could read.
//!
//! Looks at everything that a reader of the message sees: subject and header, bodies, attachments, file
//! names. Restricts nothing by itself; `secure-domain` acts on what is found here. Evidence is
//! redacted where it is made: no number leaves this stage.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::accounts::Declaration;
use crate::content::{Content, Form, TextPiece};
use crate::policy::case::Case;
use crate::policy::finding::{Confidence, Evidence, PatientData, SecureKeyword, Unreadable};
use crate::policy::opinion::{Finding, Opinions};
use crate::policy::patient_data::{Detector, Piece, Settings, marking, secure_keyword};
use crate::policy::sms::SmsRule;

/// The stage `classify-patient-data`.
#[derive(Debug)]
pub struct ClassifyPatientData {
    settings: Settings,
    /// `Err` if the words of the policy file are too many to be searched for: then nothing is judged.
    detector: Result<Box<Detector>, String>,
    sms: Arc<SmsRule>,
}

/// What was found in one message.
#[derive(Clone, Debug)]
pub struct Classification {
    /// Numbers, markings and declarations.
    pub patient_data: PatientData,
    /// Markings, each once, in their canonical spelling.
    pub markings: Vec<String>,
    /// What the subject says about encryption.
    pub secure_keyword: SecureKeyword,
    /// What could not be looked into.
    pub unreadable: Vec<Unreadable>,
}

impl ClassifyPatientData {
    /// The stage by the settings of `patient-data.toml`.
    pub fn new(settings: Settings) -> Self {
        let detector = Detector::new(&settings).map(Box::new);
        let detector = detector.map_err(|error| error.to_string());
        Self {
            settings,
            detector,
            sms: Arc::default(),
        }
    }

    /// The same with a domain whose recipients are numbers: the text for them is looked through as it is sent.
    #[must_use]
    pub fn with_texts(self, sms: Arc<SmsRule>) -> Self {
        Self { sms, ..self }
    }

    /// Says what is in it; asks nothing of anyone.
    pub fn examine(&self, case: &Case<'_>) -> Opinions {
        let declaring = case
            .account
            .filter(|account| account.patient_data == Declaration::Always);
        let found = self.classify(case.content, declaring.map(|account| account.name()));
        let sent = self.sms.text(case);
        match found.and_then(|found| self.with_sent(found, case.content, sent)) {
            Ok(found) => Opinions {
                findings: vec![
                    Finding::PatientData(found.patient_data),
                    Finding::Markings(found.markings),
                    Finding::SecureKeyword(found.secure_keyword),
                    Finding::Unreadable(found.unreadable),
                ],
                ..Opinions::none()
            },
            Err(error) => Opinions::failed(format!("the words of patient-data.toml: {error}")),
        }
    }

    /// Classifies what was read of a message. `declared_by` is the account that says of all its mail
    /// that it is patient data. Errs if the words of the policy file cannot be searched for.
    pub fn classify(
        &self,
        content: &Content,
        declared_by: Option<&str>,
    ) -> Result<Classification, &str> {
        let detector = self.detector.as_ref().map_err(String::as_str)?;
        let numbers = with_pieces(content, |pieces| detector.examine(pieces));
        let mut certain: Vec<Evidence> = declared_by.into_iter().map(declared).collect();
        certain.extend(self.markings(content));
        let mut markings: Vec<String> = Vec::new();
        for evidence in certain.iter().filter(|evidence| evidence.kind == "marking") {
            if !markings.contains(&evidence.redacted) {
                markings.push(evidence.redacted.clone());
            }
        }
        Ok(Classification {
            patient_data: combined(certain, numbers),
            markings,
            secure_keyword: secure_keyword::examine(&self.settings.secure_tags, &content.subject),
            unreadable: unreadable(content),
        })
    }

    /// Adds what is in the text for numbers alone.
    fn with_sent(
        &self,
        found: Classification,
        content: &Content,
        sent: Option<String>,
    ) -> Result<Classification, &str> {
        let Some(text) = sent else {
            return Ok(found);
        };
        let sent = Content {
            subject: content.subject.clone(),
            texts: vec![TextPiece {
                place: SENT.to_owned(),
                text,
                form: Form::Plain,
            }],
            ..Content::default()
        };
        Ok(found.and(self.classify(&sent, None)?))
    }

    /// Each marking, once for each place.
    fn markings(&self, content: &Content) -> Vec<Evidence> {
        let subject = marking::in_subject(&content.subject).map(|marking| ("subject", marking));
        let headers = content.headers.iter().filter_map(|piece| {
            let place = piece.place.as_str();
            let found = match place.strip_prefix("header:") {
                Some(name) => self.field_marking(name, &piece.text),
                None if place.starts_with("filename:") => None,
                None => self.inner_marking(&piece.text),
            };
            found.map(|marking| (place, marking))
        });
        let texts = content.texts.iter().filter_map(|piece| {
            marking::in_text(&piece.text).map(|marking| (piece.place.as_str(), marking))
        });
        let mut found = Vec::new();
        for (place, marking) in subject.into_iter().chain(headers).chain(texts) {
            let evidence = certain("marking", place, marking);
            if !found.contains(&evidence) {
                found.push(evidence);
            }
        }
        found
    }

    /// The marking in a further subject, or in a field of an attached message, which begins with its name.
    fn inner_marking(&self, text: &str) -> Option<&str> {
        let field = text.split_once(':');
        let in_field = field.and_then(|(name, value)| self.field_marking(name, value));
        in_field.or_else(|| marking::in_subject(text))
    }

    /// The marking in a field that says how sensitive its message is: a label that the policy lists, or one behind which
    /// more stands, a descriptor say.
    fn field_marking(&self, name: &str, value: &str) -> Option<&str> {
        let listed = marking::in_field(&self.settings.markings, name, value);
        listed.or_else(|| {
            let value = marking::is_field(name).then(|| value.trim());
            value.and_then(marking::in_subject)
        })
    }
}

impl Classification {
    /// The same with what another look has found beyond it, numbers and markings.
    fn and(mut self, other: Self) -> Self {
        for marking in other.markings {
            if !self.markings.contains(&marking) {
                self.markings.push(marking);
            }
        }
        let (ours, theirs) = (&mut self.patient_data, other.patient_data);
        ours.synthetic = match (ours.found, theirs.found) {
            (true, true) => ours.synthetic && theirs.synthetic,
            (false, true) => theirs.synthetic,
            (_, false) => ours.synthetic,
        };
        ours.found |= theirs.found;
        ours.confidence = ours.confidence.max(theirs.confidence);
        for one in theirs.evidence {
            let is_same = |known: &Evidence| {
                (known.kind, &known.redacted) == (one.kind, &one.redacted)
                    && known.confidence >= one.confidence
            };
            if !ours.evidence.iter().any(is_same) {
                ours.evidence.push(one);
            }
        }
        self
    }
}

/// Hands over every text with a place, and what stands over it.
fn with_pieces<T>(content: &Content, examine: impl FnOnce(Vec<Piece<'_>>) -> T) -> T {
    let headings = headings(content);
    let names = names(content);
    let piece = |place, text, heading, is_table| Piece {
        place,
        text,
        heading,
        is_table,
        is_again: false,
    };
    let mut pieces = vec![piece("subject", &content.subject, "", false)];
    for header in &content.headers {
        if !FOR_MACHINES.contains(&header.place.as_str()) {
            pieces.push(piece(&header.place, &header.text, "", false));
        }
    }
    for TextPiece { place, text, form } in &content.texts {
        let heading = headings.get(place.as_str()).unwrap_or(&content.subject);
        pieces.push(Piece {
            is_again: *form == Form::Again,
            ..piece(place, text, heading, *form == Form::Table)
        });
    }
    for (place, name) in &names {
        pieces.push(piece(place, name, &content.subject, false));
    }
    examine(pieces)
}

/// What stands over each attachment: the subject and its own name.
fn headings(content: &Content) -> BTreeMap<&str, String> {
    let named = content.attachments.iter().filter_map(|attachment| {
        let name = attachment.filename.as_deref()?;
        let heading = format!("{}\n{name}", content.subject);
        Some((attachment.place.as_str(), heading))
    });
    named.collect()
}

/// The names of attachments and of the files in archives, with their places.
fn names(content: &Content) -> Vec<(String, &str)> {
    let mut names = Vec::new();
    for attachment in &content.attachments {
        let place = attachment.filename_place();
        for (index, name) in attachment.names.iter().enumerate() {
            names.push((format!("{place}/{}", index + 1), name.as_str()));
        }
        let own = attachment.filename.iter().chain(&attachment.also_named);
        names.extend(own.map(|name| (place.clone(), name.as_str())));
    }
    names
}

fn declared(account: &str) -> Evidence {
    certain("declared-by-account", "account", account)
}

fn certain(kind: &'static str, place: &str, shown: &str) -> Evidence {
    Evidence {
        kind,
        confidence: Confidence::High,
        place: place.to_owned(),
        redacted: shown.to_owned(),
        because: vec![if kind == "marking" {
            "marking"
        } else {
            "declared"
        }],
    }
}

fn combined(mut certain: Vec<Evidence>, numbers: PatientData) -> PatientData {
    if certain.is_empty() {
        return numbers;
    }
    certain.extend(numbers.evidence);
    PatientData {
        found: true,
        confidence: Confidence::High,
        synthetic: false,
        evidence: certain,
    }
}

fn unreadable(content: &Content) -> Vec<Unreadable> {
    let unread = content.unreadable.iter();
    unread
        .map(|unread| Unreadable {
            place: unread.place.clone(),
            because: unread.because,
        })
        .collect()
}

/// Where something is found that is in the text for numbers alone.
const SENT: &str = "body:sms";
/// Fields that programs write and whose digits mean nothing.
const FOR_MACHINES: &[&str] = &[
    "header:Sensitivity",
    "header:X-Protective-Marking",
    "header:msip_labels",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{Limits, read};
    use crate::mail::{Message, mime};
    use std::sync::LazyLock;

    static STAGE: LazyLock<ClassifyPatientData> =
        LazyLock::new(|| ClassifyPatientData::new(Settings::default()));

    fn classify(octets: &str) -> Classification {
        let message = Message::new(octets.replace('\n', "\r\n").into_bytes());
        let structure = mime::parse(message.octets()).unwrap();
        let limits = Limits {
            text_octets: 1 << 20,
            depth: 3,
            ..Limits::default()
        };
        let content = read(&message, &structure, &limits);
        STAGE.classify(&content, None).unwrap()
    }

    fn places(octets: &str) -> Vec<String> {
        let evidence = classify(octets).patient_data.evidence.into_iter();
        let mut places: Vec<_> = evidence.map(|evidence| evidence.place).collect();
        places.sort();
        places
    }

    #[test]
    fn a_number_is_found_wherever_a_reader_sees_it() {
        for (message, place) in [
            ("Subject: NHS 450 557 7104\n\n", "subject"),
            (
                "Subject: =?utf-8?Q?NHS_450_557?= =?utf-8?B?IDcxMDQ=?=\n\n",
                "subject",
            ),
            (
                "From: \"NHS 450 557 7104\" <a@b.example>\n\n",
                "header:From",
            ),
            ("\nNHS 450 557 7104\n", "body:1"),
            (
                "Content-Transfer-Encoding: quoted-printable\n\nNHS 450 5=\n57=C2=A07104\n",
                "body:1",
            ),
            (
                "Content-Transfer-Encoding: base64\n\nTkhTIDQ1MCA1NTcgNzEwNA==\n",
                "body:1",
            ),
            (
                "Content-Type: text/html\n\n<b>NHS</b> 4<i>50</i>&nbsp;557 71<!-- -->04\n",
                "body:1",
            ),
            (
                "Content-Type: text/plain; charset=utf-16be; name=a.txt\nContent-Transfer-Encoding: base64\n\nAE4ASABTACAANAA1ADAAIAA1ADUANwAgADcAMQAwADQ=\n",
                "attachment:1",
            ),
            (
                "Content-Type: application/octet-stream; name=\"=?utf-8?Q?NHS_450_557_7104=2Ebin?=\"\nContent-Transfer-Encoding: base64\n\nAAECAw==\n",
                "filename:1",
            ),
            (
                "Content-Type: multipart/mixed; boundary=b\n\nNHS 450 557 7104\n--b\n\nx\n--b--\n",
                "body:preamble",
            ),
            (
                "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\nNHS 450 557 7104\n",
                "body:epilogue",
            ),
            (
                "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b\nContent-Type: text/csv\nContent-Disposition: attachment; filename=a.csv\n\nnhs number\n4505577104\n--b--\n",
                "attachment:2",
            ),
            (
                "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b\nContent-Type: message/rfc822\n\nSubject: NHS 450 557 7104\n\nx\n--b--\n",
                "attachment:2",
            ),
            (
                "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b\nContent-Type: message/rfc822\n\nSubject: x\n\nNHS 450 557 7104\n--b--\n",
                "attachment:2/1",
            ),
        ] {
            assert_eq!(places(message), [place], "{message}");
        }
    }

    #[test]
    fn markings_count_as_patient_data_by_themselves() {
        for (message, place, marking) in [
            (
                "Subject: OFFICIAL SENSITIVE: x\n\n",
                "subject",
                "OFFICIAL-SENSITIVE",
            ),
            (
                "Subject: x\n\n\nOfficial-Sensitive\n\nDear",
                "body:1",
                "OFFICIAL-SENSITIVE",
            ),
            (
                "Sensitivity: company-confidential\n\nx",
                "header:Sensitivity",
                "Company-Confidential",
            ),
            (
                "X-Protective-Marking: OFFICIAL-SENSITIVE: COMMERCIAL\n\nx",
                "header:X-Protective-Marking",
                "OFFICIAL-SENSITIVE",
            ),
            (
                "Content-Type: message/rfc822\n\nSensitivity: Company-Confidential\n\nx",
                "attachment:1",
                "Company-Confidential",
            ),
            (
                "Content-Type: message/rfc822\n\nX-Protective-Marking: VER=1, SEC=OFFICIAL:Sensitive\n\nx",
                "attachment:1",
                "OFFICIAL-SENSITIVE",
            ),
            (
                "Content-Type: message/rfc822\n\nmsip_labels: MSIP_Label_1f_Name=Patient Data; MSIP_Label_1f_ContentBits=0\n\nx",
                "attachment:1",
                "Patient Data",
            ),
            (
                "Content-Type: message/rfc822\n\nX-Protective-Marking: OFFICIAL-SENSITIVE: COMMERCIAL\n\nx",
                "attachment:1",
                "OFFICIAL-SENSITIVE",
            ),
            (
                "Content-Type: message/rfc822\n\nmsip_labels: OFFICIAL-SENSITIVE PERSONAL\n\nx",
                "attachment:1",
                "OFFICIAL-SENSITIVE",
            ),
            (
                "Content-Type: message/rfc822\n\nSensitivity: [Official-Sensitive] commercial\n\nx",
                "attachment:1",
                "OFFICIAL-SENSITIVE",
            ),
        ] {
            let found = classify(message);
            assert_eq!(found.markings, [marking]);
            assert!(found.patient_data.found && !found.patient_data.synthetic);
            assert_eq!(found.patient_data.evidence[0].place, place);
        }
        assert!(!classify("Sensitivity: Personal\n\nx").patient_data.found);
        let inner = "Content-Type: message/rfc822\n\nSubject: Company-Confidential\nSensitivity: Private\n\nx";
        assert!(!classify(inner).patient_data.found);
    }

    #[test]
    fn a_declaration_of_the_account_is_evidence() {
        let found = STAGE
            .classify(&Content::default(), Some("reminders"))
            .unwrap();
        assert!(found.patient_data.found);
        assert_eq!(found.patient_data.evidence[0].kind, "declared-by-account");
    }

    #[test]
    fn the_tag_is_read_in_the_decoded_subject() {
        let keyword = |subject: &str| classify(&format!("Subject: {subject}\n\n")).secure_keyword;
        assert_eq!(
            keyword("=?utf-8?Q?=5BSecure=5D?= results"),
            SecureKeyword::Present
        );
        assert_eq!(keyword("(secure) results"), SecureKeyword::NearMiss);
        assert_eq!(keyword("Secure storage"), SecureKeyword::Absent);
    }

    #[test]
    fn test_numbers_beside_a_marking_are_no_longer_all_there_is() {
        assert!(classify("\nNHS 943 476 5919").patient_data.synthetic);
        assert!(!classify("\n[O-S] NHS 943 476 5919").patient_data.synthetic);
    }
}
