//! The files of the Organisation Data Service: 27 columns at fixed places, no header row
//! (`domain.md` §2.3).
//!
//! They name organisations, not mailboxes. A pharmacy's mailbox follows from its code
//! (`domain.md` §1.1); a practice's does not, so that a practice's row is new here only as a place for
//! what is known, and accepts no patient data until somebody has put it right. Days decide before the
//! status does: what has a closing day closes on it, whatever else the row says.

use std::collections::{HashMap, HashSet};

use csv::StringRecord;
use jiff::civil::Date;

use crate::directory::cells::{Wrong, check_quotes};
use crate::directory::{Entry, Kind, OdsCode, Status, table};
use crate::mail::Domain;

use super::bad::Walk;
use super::draft::Draft;
use super::sheet::Cells;

/// Which of the files one is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum File {
    /// `edispensary.csv`.
    Pharmacy,
    /// `epraccur.csv`.
    Practice,
}

/// An organisation as its row describes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Record {
    pub(super) code: OdsCode,
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) street: String,
    pub(super) town: String,
    /// The town alone, for the display name.
    pub(super) place: String,
    pub(super) postcode: String,
    pub(super) status: Status,
    /// Since when, or from when on.
    pub(super) since: Option<Date>,
}

/// Whether a row is one of `edispensary.csv`.
pub(super) fn is_of_pharmacies(record: &StringRecord) -> bool {
    OdsCode::parse_pharmacy(text(record, CODE)).is_ok()
}

/// Takes all rows of a file into the draft.
pub(super) fn read(file: File, domain: &Domain, walk: &mut Walk<'_>, draft: &mut Draft) {
    let text = std::sync::Arc::clone(walk.file);
    let reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.text.as_bytes());
    let mut lines: HashMap<OdsCode, usize> = HashMap::new();
    let mut counts: HashMap<&'static str, usize> = HashMap::new();
    let each = |record: &StringRecord, line, _: &str| {
        check_quotes(record, COLUMNS)?;
        let record = Record::read(record, file, draft.today)?;
        if let Some(first) = lines.insert(record.code, line) {
            let reason = format!("{} is on line {first} already", record.code);
            return Err(Wrong::at(CODE, reason));
        }
        *counts.entry(record.status.word()).or_default() += 1;
        take(&record, domain, draft)
    };
    walk.records(reader, each, number);
    note(
        file,
        &text.path.display().to_string(),
        &lines,
        &counts,
        draft,
    );
}

fn note(
    file: File,
    path: &str,
    lines: &HashMap<OdsCode, usize>,
    counts: &HashMap<&'static str, usize>,
    draft: &mut Draft,
) {
    let count = |status: Status| counts.get(status.word()).copied().unwrap_or(0);
    draft.notes.push(format!(
        "{path}: {} organisations, {} active, {} closed, {} inactive",
        lines.len(),
        count(Status::Active),
        count(Status::Closed),
        count(Status::Inactive)
    ));
    let kind = match file {
        File::Pharmacy => Kind::Pharmacy,
        File::Practice => Kind::Practice,
    };
    let others = draft.mailboxes.rows().filter(|cells| {
        let known = cells
            .get("ods_code")
            .parse()
            .is_ok_and(|code| lines.contains_key(&code));
        cells.get("kind") == kind.word() && !known
    });
    let others = others.count();
    if others > 0 {
        draft.notes.push(format!(
            "{others} mailboxes of the kind {} are of organisations that {path} does not have: \
             they stay as they are",
            kind.word()
        ));
    }
}

impl Record {
    fn read(record: &StringRecord, file: File, today: Date) -> Result<Self, Wrong> {
        if record.len() != COLUMNS {
            let reason = format!(
                "this row has {} columns, the file has {COLUMNS}",
                record.len()
            );
            return Err(Wrong::row(reason));
        }
        let (code, kind) = identity(record, file)?;
        let name = text(record, NAME);
        if name.is_empty() {
            return Err(Wrong::at(NAME, "is missing"));
        }
        let (status, since) = state(record, today)?;
        let lines: Vec<&str> = ADDRESS.iter().map(|column| text(record, column)).collect();
        let (street, town) = street_and_town(&lines);
        Ok(Self {
            code,
            kind,
            name: name.to_owned(),
            street,
            town,
            place: place(&lines),
            postcode: text(record, POSTCODE).to_owned(),
            status,
            since,
        })
    }

    /// What it says of the organisation, as cells.
    fn organisation(&self) -> [(&'static str, &str); 4] {
        [
            ("organisation", &self.name),
            ("street", &self.street),
            ("town", &self.town),
            ("postcode", &self.postcode),
        ]
    }

    fn display_name(&self) -> String {
        let name = match self.kind {
            Kind::Pharmacy => format!("Pharmacy.{}", self.code),
            _ => return self.name.clone(),
        };
        if self.place.is_empty() {
            return format!("{name} ({})", self.name);
        }
        format!("{name} ({}, {})", self.name, self.place)
    }
}

/// The code and the kind. The role decides the kind: the shape of a code does not.
fn identity(record: &StringRecord, file: File) -> Result<(OdsCode, Kind), Wrong> {
    let code = text(record, CODE);
    match file {
        File::Pharmacy => {
            let code = OdsCode::parse_pharmacy(code);
            let code = code.map_err(|_| Wrong::at(CODE, "is not the code of a pharmacy"))?;
            // 1 pharmacy, 2 appliances, 3 oxygen: all of them dispense and have the same mailbox.
            match text(record, SUB_TYPE) {
                "1" | "2" | "3" => Ok((code, Kind::Pharmacy)),
                role => Err(Wrong::at(SUB_TYPE, format!("{role:?} is none of 1, 2, 3"))),
            }
        }
        File::Practice => {
            let code = OdsCode::parse(code).map_err(|error| Wrong::at(CODE, error))?;
            let setting = text(record, SETTING);
            match setting.parse::<u8>() {
                Ok(GP_PRACTICE) => Ok((code, Kind::Practice)),
                // Out-of-hours services, hospices, prisons, … prescribe, and are no practices.
                Ok(_) => Ok((code, Kind::Shared)),
                Err(_) => Err(Wrong::at(SETTING, format!("{setting:?} is not a number"))),
            }
        }
    }
}

/// What has become of the organisation, and since when.
fn state(record: &StringRecord, today: Date) -> Result<(Status, Option<Date>), Wrong> {
    let (opened, closed) = (date(record, OPENED)?, date(record, CLOSED)?);
    let opened = opened.ok_or_else(|| Wrong::at(OPENED, "is missing"))?;
    if let Some(closed) = closed {
        if closed < opened {
            let reason = format!("{closed} is before it opened on {opened}");
            return Err(Wrong::at(CLOSED, reason));
        }
        return Ok((Status::Closed, Some(closed)));
    }
    match text(record, STATUS) {
        "A" => Ok((Status::Active, Some(opened))),
        "C" => Ok((Status::Closed, None)),
        // Proposed: it opens on its day. One whose day has passed has not opened.
        "P" if opened > today => Ok((Status::Active, Some(opened))),
        "P" | "D" => Ok((Status::Inactive, None)),
        word => Err(Wrong::at(STATUS, format!("{word:?} is none of A, C, D, P"))),
    }
}

/// The first line of an address, and the others: the part of the town, the town and its county.
fn street_and_town(lines: &[&str]) -> (String, String) {
    let mut lines = lines.iter().copied().filter(|line| !line.is_empty());
    let street = lines.next().unwrap_or_default().to_owned();
    (street, lines.collect::<Vec<_>>().join(", "))
}

/// The town: the third line of the address, or the last before it where that is empty.
fn place(lines: &[&str]) -> String {
    let third = lines.get(2).filter(|line| !line.is_empty());
    let last = || lines.iter().rfind(|line| !line.is_empty());
    third
        .or_else(last)
        .map_or_else(String::new, |line| (*line).to_owned())
}

/// Brings the organisation's mailbox up to date, or adds it.
fn take(record: &Record, domain: &Domain, draft: &mut Draft) -> Result<(), Wrong> {
    let rows = draft.of_code(record.code);
    let own: Vec<_> = rows
        .iter()
        .filter(|(_, entry)| is_own(entry, record, domain))
        .collect();
    if own.is_empty() {
        add(record, domain, draft)?;
    }
    let own: HashSet<String> = own
        .iter()
        .map(|(_, entry)| entry.address.to_string())
        .collect();
    for (cells, entry) in &rows {
        let mut new = described(cells, record);
        if own.contains(&entry.address.to_string()) {
            new = in_state(new, entry, record, draft.today);
        }
        draft.put(new)?;
    }
    Ok(())
}

fn is_own(entry: &Entry, record: &Record, domain: &Domain) -> bool {
    // One that has become a hospice, say, keeps the mailbox that it had as a practice.
    let was_practice = record.kind == Kind::Shared && entry.kind == Kind::Practice;
    (entry.kind == record.kind || was_practice) && entry.address.domain() == Some(domain)
}

/// The first mailbox of an organisation.
fn add(record: &Record, domain: &Domain, draft: &mut Draft) -> Result<(), Wrong> {
    let local = match record.kind {
        Kind::Pharmacy => "pharmacy",
        _ => "practice",
    };
    let code = record.code.as_str().to_ascii_lowercase();
    let address = format!("{local}.{code}@{domain}");
    if draft.mailboxes.get(&address).is_some() {
        let reason = format!("{address} is another organisation's");
        return Err(Wrong::at(CODE, reason));
    }
    let since = record.since.map(|date| date.to_string());
    let name = record.display_name();
    // Only a pharmacy's address is known by a rule; any other waits until somebody has verified it.
    let accepts = if record.kind == Kind::Pharmacy {
        "yes"
    } else {
        "no"
    };
    let cells = Cells::new(
        &table::SCHEMA,
        &[
            ("address", &address),
            ("kind", record.kind.word()),
            ("status", record.status.word()),
            ("status_date", since.as_deref().unwrap_or_default()),
            ("ods_code", record.code.as_str()),
            ("display_name", &name),
            ("accepts_patient_data", accepts),
            ("do_not_send", "no"),
        ],
    );
    draft.put(cells.with(&record.organisation()))
}

/// A row with what the file says of its organisation. Rows that leave that to another row still do,
/// and a name that differs in its case alone stays as somebody has written it.
fn described(cells: &Cells, record: &Record) -> Cells {
    if cells.get("organisation").is_empty() {
        return cells.clone();
    }
    let new = record.organisation().map(|(column, text)| {
        let old = cells.get(column);
        let keep = old.eq_ignore_ascii_case(text);
        (
            column,
            if keep {
                old.to_owned()
            } else {
                text.to_owned()
            },
        )
    });
    let new: Vec<_> = new
        .iter()
        .map(|(column, text)| (*column, text.as_str()))
        .collect();
    cells.with(&new)
}

/// A row with what has become of its organisation. What an administrator has done to the mailbox
/// itself stays: an open organisation does not open a disabled mailbox, nor bring back a deleted one.
fn in_state(cells: Cells, entry: &Entry, record: &Record, today: Date) -> Cells {
    let state = |status: Status, since: Option<Date>| {
        let since = since.map(|date| date.to_string());
        let since = since.unwrap_or_default();
        cells.with(&[("status", status.word()), ("status_date", &since)])
    };
    match (entry.status, record.status) {
        (Status::Deleted | Status::Leaver, _) => cells,
        (_, Status::Closed) => state(Status::Closed, record.since),
        // It was open before and is open now, whatever day the two give for it.
        (Status::Active, Status::Active)
            if entry.is_live(today) == is_past(record.since, today) =>
        {
            cells
        }
        (Status::Active | Status::Closed, status) => state(status, record.since),
        _ => cells,
    }
}

fn is_past(date: Option<Date>, today: Date) -> bool {
    date.is_none_or(|date| date <= today)
}

/// A date without separators: `20240229`. Empty is none.
fn date(record: &StringRecord, column: &'static str) -> Result<Option<Date>, Wrong> {
    let text = text(record, column);
    if text.is_empty() {
        return Ok(None);
    }
    let shaped = text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit());
    let date = shaped
        .then(|| Date::strptime("%Y%m%d", text).ok())
        .flatten();
    let wrong = || Wrong::at(column, format!("{text:?} is not a date such as 20240229"));
    date.map(Some).ok_or_else(wrong)
}

fn text<'r>(record: &'r StringRecord, column: &str) -> &'r str {
    let number = number(column).unwrap_or(1);
    record.get(number - 1).unwrap_or("")
}

/// The number of a column, from 1.
fn number(column: &str) -> Option<usize> {
    let found = PLACES.iter().find(|(name, _)| *name == column);
    found.map(|(_, number)| *number)
}

const CODE: &str = "organisation code";
const NAME: &str = "name";
const ADDRESS: [&str; 5] = [
    "address 1",
    "address 2",
    "address 3",
    "address 4",
    "address 5",
];
const POSTCODE: &str = "postcode";
const OPENED: &str = "open date";
const CLOSED: &str = "close date";
const STATUS: &str = "status";
const SUB_TYPE: &str = "organisation sub-type";
const SETTING: &str = "prescribing setting";

/// Where the columns are that are read here (`domain.md` §2.3; the setting of a practice is in column
/// 26 of the file that the Organisation Data Service gives out).
const PLACES: &[(&str, usize)] = &[
    (CODE, 1),
    (NAME, 2),
    (ADDRESS[0], 5),
    (ADDRESS[1], 6),
    (ADDRESS[2], 7),
    (ADDRESS[3], 8),
    (ADDRESS[4], 9),
    (POSTCODE, 10),
    (OPENED, 11),
    (CLOSED, 12),
    (STATUS, 13),
    (SUB_TYPE, 14),
    (SETTING, 26),
];
/// How many columns a row has.
pub(super) const COLUMNS: usize = 27;
/// The prescribing setting of a general practice.
const GP_PRACTICE: u8 = 4;
