//! The accredited list (DCB1596) as a table beside the register, and how a new one takes its place.
//!
//! `secure-domains.csv` has one row for each domain; the entries that people keep by hand stay in
//! `secure-domains.toml`, which an import never touches. The columns of the published list are found by
//! their names, in any order. No row of a list opens what is below a name: that is written by hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use csv::StringRecord;
use jiff::ToSpan as _;
use jiff::civil::Date;
use jiff::fmt::strtime;
use serde::{Serialize, Serializer};

use crate::config::{Diagnostic, Diagnostics, Located, Place, SourceFile};
use crate::mail::Domain;

use super::entry::{Entry, Fallback, Transport};

/// A row: what the list says of one domain.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Row {
    /// Who has it.
    pub owner: String,
    /// The ODS code of the organisation; may be empty.
    pub ods_code: String,
    /// The first day; may be missing.
    #[serde(serialize_with = "as_text")]
    pub valid_from: Option<Date>,
    /// The last day.
    #[serde(serialize_with = "as_text_too")]
    pub valid_until: Date,
}

/// An import, ready to be written.
#[derive(Debug, Default)]
pub struct Prepared {
    /// What the file will say.
    pub text: String,
    /// How many domains there were before.
    pub before: usize,
    /// What changes, by domain.
    pub differences: Vec<Difference>,
    /// Rows that cannot be used, each in a sentence with its line. With one of them nothing is written.
    pub bad: Vec<String>,
    /// What else is worth knowing.
    pub notes: Vec<String>,
}

/// What changes for one domain.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
pub enum Difference {
    /// It becomes secure.
    Added {
        /// The domain.
        domain: String,
        /// What the list says of it.
        row: Row,
    },
    /// It is secure no more.
    Removed {
        /// The domain.
        domain: String,
    },
    /// Something else is said of it.
    Changed {
        /// The domain.
        domain: String,
        /// What was said.
        was: Row,
        /// What is said now.
        row: Row,
    },
}

impl Prepared {
    /// The share of the domains that would be taken out, in percent.
    #[expect(clippy::cast_precision_loss, reason = "counts of domains")]
    pub fn shrinks_by_percent(&self) -> f64 {
        let removed = |one: &&Difference| matches!(one, Difference::Removed { .. });
        let removed = self.differences.iter().filter(removed).count();
        match self.before {
            0 => 0.0,
            before => removed as f64 * 100.0 / before as f64,
        }
    }
}

/// The entries of the list in force; what is wrong with it is reported.
pub(super) fn read(file: &Arc<SourceFile>, diagnostics: &Diagnostics) -> Vec<Entry> {
    let table = Table::read(&file.text, None);
    for (line, wrong) in &table.bad {
        let place = Place::line_of(file, *line);
        let diagnostic = Diagnostic::error("bad-row", wrong.clone())
            .at(&place, "")
            .help("`postern secure-domains import` writes this file");
        diagnostics.push(diagnostic);
    }
    let entries = table.rows.into_iter();
    entries
        .map(|(domain, (line, row))| Entry {
            pattern: Located::at(domain, Place::line_of(file, line)),
            owner: row.owner,
            valid_from: row.valid_from,
            valid_until: Some(row.valid_until),
            transport: Transport::default(),
            exchangers: Vec::new(),
            fallback: Fallback::default(),
        })
        .collect()
}

/// What taking over a published list would do to the list in force. A row without an end gets one a year
/// from `today`: accreditation is annual.
pub fn prepare(in_force: &str, list: &str, today: Date) -> Prepared {
    let old = Table::read(in_force, None);
    let year = today.saturating_add(1.year());
    let new = Table::read(list, Some(year));
    let mut bad = new.bad;
    if bad.is_empty() && new.rows.is_empty() {
        bad.push((1, "there is no domain in it".to_owned()));
    }
    let mut notes = new.notes;
    let lapsed = new.rows.values().filter(|(_, row)| row.valid_until < today);
    match lapsed.count() {
        0 => {}
        lapsed => notes.push(format!("{lapsed} of the rows have lapsed before today")),
    }
    Prepared {
        text: written(in_force, &new.rows),
        before: old.rows.len(),
        differences: differences(&old.rows, &new.rows),
        bad: bad
            .into_iter()
            .map(|(line, wrong)| format!("line {line}: {wrong}"))
            .collect(),
        notes,
    }
}

/// Rows by domain, each with its line.
type Rows = BTreeMap<String, (usize, Row)>;

fn differences(old: &Rows, new: &Rows) -> Vec<Difference> {
    let mut differences = Vec::new();
    for (domain, (_, row)) in new {
        let (domain, row) = (domain.clone(), row.clone());
        match old.get(&domain) {
            None => differences.push(Difference::Added { domain, row }),
            Some((_, was)) if *was != row => {
                let was = was.clone();
                differences.push(Difference::Changed { domain, was, row });
            }
            Some(_) => {}
        }
    }
    let gone = old.keys().filter(|domain| !new.contains_key(*domain));
    differences.extend(gone.map(|domain| Difference::Removed {
        domain: domain.clone(),
    }));
    differences
}

/// The comments that the file begins with, the header, and the rows in the order of their domains.
fn written(in_force: &str, rows: &Rows) -> String {
    let mut text: String = in_force
        .split_inclusive('\n')
        .take_while(|line| line.starts_with('#'))
        .collect();
    let mut table = csv::Writer::from_writer(Vec::new());
    let date = |date: Option<Date>| date.map_or_else(String::new, |date| date.to_string());
    // A vector takes every row.
    let _ = table.write_record(COLUMNS);
    for (domain, (_, row)) in rows {
        let (from, until) = (date(row.valid_from), row.valid_until.to_string());
        let _ = table.write_record([domain, &row.owner, &row.ods_code, &from, &until]);
    }
    text.push_str(&String::from_utf8_lossy(
        &table.into_inner().unwrap_or_default(),
    ));
    text
}

/// A table as it was read.
#[derive(Default)]
struct Table {
    rows: Rows,
    bad: Vec<(usize, String)>,
    notes: Vec<String>,
}

impl Table {
    /// Reads a table. `until` is the end of rows that have none; without it that is a mistake.
    fn read(text: &str, until: Option<Date>) -> Self {
        let mut table = Self::default();
        let text = text.trim_start_matches('\u{feff}');
        let mut reader = csv::ReaderBuilder::new()
            .comment(Some(b'#'))
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(text.as_bytes());
        let header = reader.headers().cloned().unwrap_or_default();
        let columns = Columns::read(&header);
        let Some(columns) = columns else {
            let wrong = "there is no column with the domains: name it `domain`";
            table.bad.push((1, wrong.to_owned()));
            return table;
        };
        let mut without_end = 0;
        for record in reader.records() {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    let line = error.position().map_or(1, csv::Position::line);
                    table
                        .bad
                        .push((usize_of(line), "this is no row of a table".to_owned()));
                    continue;
                }
            };
            let line = line_of(text, record.position());
            match columns.row(&record, until) {
                Ok((domain, row, ended)) => {
                    without_end += usize::from(!ended);
                    table.add(line, domain, row);
                }
                Err(wrong) => table.bad.push((line, wrong)),
            }
        }
        if let (Some(until), 1..) = (until, without_end) {
            let note = format!("{without_end} rows say no end: it is set to {until}");
            table.notes.push(note);
        }
        table
    }

    /// Of two rows about one domain the one that ends later counts: a renewal stands beside what it renews.
    fn add(&mut self, line: usize, domain: String, row: Row) {
        if let Some((_, first)) = self.rows.get(&domain) {
            self.notes.push(format!(
                "line {line}: {domain} is there twice; the later end counts"
            ));
            if first.valid_until >= row.valid_until {
                return;
            }
        }
        self.rows.insert(domain, (line, row));
    }
}

/// Which column stands where.
struct Columns {
    domain: usize,
    owner: Option<usize>,
    ods_code: Option<usize>,
    from: Option<usize>,
    until: Option<usize>,
}

impl Columns {
    fn read(header: &StringRecord) -> Option<Self> {
        let at = |names: &[&str]| {
            let squeezed = |name: &str| -> String {
                let letters = name.chars().filter(char::is_ascii_alphanumeric);
                letters.map(|c| c.to_ascii_lowercase()).collect()
            };
            header
                .iter()
                .position(|name| names.contains(&squeezed(name).as_str()))
        };
        Some(Self {
            domain: at(DOMAIN)?,
            owner: at(OWNER),
            ods_code: at(ODS_CODE),
            from: at(FROM),
            until: at(UNTIL),
        })
    }

    /// One row: the domain, what is said of it, and whether its end was there.
    fn row(
        &self,
        record: &StringRecord,
        otherwise: Option<Date>,
    ) -> Result<(String, Row, bool), String> {
        let cell = |at: Option<usize>| at.and_then(|at| record.get(at)).unwrap_or("");
        let written = cell(Some(self.domain)).trim_start_matches('@');
        let domain = Domain::parse(written).map_err(|_| format!("{written:?} is no domain"))?;
        if !domain.as_str().contains('.') {
            return Err(format!("{written:?} is the domain of no organisation"));
        }
        let until = date(cell(self.until))?;
        let row = Row {
            owner: cell(self.owner).to_owned(),
            ods_code: cell(self.ods_code).to_ascii_uppercase(),
            valid_from: date(cell(self.from))?,
            valid_until: until
                .or(otherwise)
                .ok_or("there is no end: write valid_until")?,
        };
        if row.valid_from.is_some_and(|from| row.valid_until < from) {
            return Err(format!("{domain} ends before it begins"));
        }
        Ok((domain.as_str().to_owned(), row, until.is_some()))
    }
}

/// A day as such lists write it; `None` for an empty cell.
fn date(text: &str) -> Result<Option<Date>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let read = |format: &&str| strtime::parse(format, text).and_then(|time| time.to_date());
    let read = DATES.iter().find_map(|format| read(format).ok());
    read.map(Some)
        .ok_or_else(|| format!("{text:?} is no date: write 2027-03-31 or 31/03/2027"))
}

/// The line of a record, from 1. Its position is before the comments and empty lines that precede it.
fn line_of(text: &str, position: Option<&csv::Position>) -> usize {
    let Some(position) = position else {
        return 1;
    };
    let rest = text.get(usize_of(position.byte())..).unwrap_or_default();
    let skipped = rest
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with('#'));
    usize_of(position.line()) + skipped.count()
}

fn as_text<S: Serializer>(date: &Option<Date>, serializer: S) -> Result<S::Ok, S::Error> {
    match date {
        Some(date) => serializer.collect_str(date),
        None => serializer.serialize_none(),
    }
}

fn as_text_too<S: Serializer>(date: &Date, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(date)
}

fn usize_of(line: u64) -> usize {
    usize::try_from(line).unwrap_or(usize::MAX)
}

/// The columns of the file as it is written.
const COLUMNS: [&str; 5] = ["domain", "owner", "ods_code", "valid_from", "valid_until"];
/// How the columns may be called: without spaces, case and punctuation.
const DOMAIN: &[&str] = &[
    "domain",
    "domainname",
    "emaildomain",
    "securedomain",
    "accrediteddomain",
    "secureemaildomain",
];
const OWNER: &[&str] = &[
    "owner",
    "organisation",
    "organisationname",
    "organization",
    "name",
];
const ODS_CODE: &[&str] = &["odscode", "ods", "organisationcode", "organisationodscode"];
const FROM: &[&str] = &[
    "validfrom",
    "accreditationdate",
    "accreditedfrom",
    "accreditedon",
    "dateaccredited",
    "startdate",
];
const UNTIL: &[&str] = &[
    "validuntil",
    "accrediteduntil",
    "expiry",
    "expires",
    "expirydate",
    "accreditationexpiry",
    "accreditationexpirydate",
    "reaccreditationdate",
    "enddate",
];
/// How days may be written. Day before month: the list is British.
const DATES: [&str; 4] = ["%Y-%m-%d", "%d/%m/%Y", "%d %B %Y", "%d-%b-%Y"];

#[cfg(test)]
mod tests {
    use super::*;

    const IN_FORCE: &str = "# kept\n# too\ndomain,owner,ods_code,valid_from,valid_until\n\
        old.nhs.uk,Old Trust,RAA,,2027-01-31\nsame.nhs.uk,Same Trust,RBB,,2027-01-31\n";

    fn today() -> Date {
        "2026-11-21".parse().unwrap()
    }

    #[test]
    fn a_published_list_is_read_by_the_names_of_its_columns() {
        let list = "\u{feff}Organisation Name,ODS Code,Email Domain,Expiry Date\n\
            \"Same Trust\",rbb,@Same.NHS.uk,31/01/2027\nNew Trust,RCC,new.nhs.uk,1 March 2027\n";
        let prepared = prepare(IN_FORCE, list, today());
        assert_eq!(prepared.bad, [""; 0]);
        assert_eq!(
            prepared.text,
            "# kept\n# too\ndomain,owner,ods_code,valid_from,valid_until\n\
             new.nhs.uk,New Trust,RCC,,2027-03-01\nsame.nhs.uk,Same Trust,RBB,,2027-01-31\n"
        );
        let words: Vec<String> = prepared
            .differences
            .iter()
            .map(|one| serde_json::to_value(one).unwrap()["change"].to_string())
            .collect();
        assert_eq!(words, ["\"added\"", "\"removed\""]);
        assert!((prepared.shrinks_by_percent() - 50.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let again = prepare(IN_FORCE, IN_FORCE, today());
        assert_eq!(
            (again.text.as_str(), again.differences.len()),
            (IN_FORCE, 0)
        );
    }

    #[test]
    fn bad_rows_are_told_with_their_lines_and_nothing_wide_is_let_in() {
        let list = "domain,valid_until\n*.nhs.uk,2027-01-01\nuk,2027-01-01\na.nhs.uk,soon\n\
                    b.nhs.uk,2027-01-01\n";
        let prepared = prepare(IN_FORCE, list, today());
        assert_eq!(
            prepared.bad,
            [
                "line 2: \"*.nhs.uk\" is no domain",
                "line 3: \"uk\" is the domain of no organisation",
                "line 4: \"soon\" is no date: write 2027-03-31 or 31/03/2027",
            ]
        );
        assert_eq!(prepare(IN_FORCE, "<html>", today()).bad.len(), 1);
        assert_eq!(prepare(IN_FORCE, "domain\n", today()).bad.len(), 1);
    }

    #[test]
    fn a_row_without_an_end_ends_in_a_year_and_a_renewal_counts() {
        let list = "domain,valid_until\na.nhs.uk,\nb.nhs.uk,2026-12-01\nb.nhs.uk,2027-12-01\n";
        let prepared = prepare("", list, today());
        assert_eq!(
            prepared.text,
            "domain,owner,ods_code,valid_from,valid_until\n\
             a.nhs.uk,,,,2027-11-21\nb.nhs.uk,,,,2027-12-01\n"
        );
        assert_eq!(prepared.notes.len(), 2, "{:?}", prepared.notes);
    }
}
