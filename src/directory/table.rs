//! Reading `directory.csv`: a header row, then one mailbox a row. Lines that begin with `#` are
//! comments. Every bad row is reported with its line and reason, and left out.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use csv::StringRecord;

use crate::config::{Diagnostics, SourceFile};
use crate::mail::Mailbox;

use super::cells::{self, Columns, Row, Schema, Wrong};
use super::code::OdsCode;
use super::entry::{Entry, Kind, Organisation, Status};
use super::index::QuickMap;
use super::reports::Reports;

/// All of `directory.csv`.
pub(super) struct Table;

impl Table {
    /// Gives every good row to `keep`, in their order; `keep` hands the address back, with the line of
    /// the earlier row, if there was one before. Rows are read on a thread of their own meanwhile.
    pub(super) fn read_each(
        file: &Arc<SourceFile>,
        diagnostics: &Diagnostics,
        keep: &mut Keep<'_>,
    ) {
        let mut reader = cells::reader(&file.text);
        let mut reports = Reports::new(file, diagnostics);
        let header = reader.headers().cloned().unwrap_or_default();
        let line = cells::line_of(&file.text, header.position());
        let (columns, wrong) = Columns::read(&header, &SCHEMA);
        for message in wrong {
            reports.error(line, message);
        }
        if let Some(columns) = columns {
            let (there, rows) = sync_channel(BATCHES);
            let (used, back) = channel();
            std::thread::scope(|scope| {
                let reading = Reading {
                    organisations: QuickMap::default(),
                    text: &file.text,
                    columns: &columns,
                };
                scope.spawn(move || reading.send_all(reader, &there, &back));
                take_all(&rows, &used, &mut reports, keep);
            });
        }
        reports.close();
    }
}

/// Keeps a row, or hands its address back with the line that it is on already.
pub(super) type Keep<'k> = dyn FnMut(&Entry) -> Result<(), (Mailbox, usize)> + 'k;

/// A row that was read.
struct Taken {
    line: usize,
    /// What is odd about it.
    odd: Option<String>,
    entry: Result<Entry, Bad>,
}

/// Why a row is left out.
enum Bad {
    Unreadable(csv::Error),
    Wrong(Wrong),
}

fn take_all(
    rows: &Receiver<Vec<Taken>>,
    used: &Sender<Vec<Taken>>,
    reports: &mut Reports<'_>,
    keep: &mut Keep<'_>,
) {
    for batch in rows {
        for Taken { line, odd, entry } in &batch {
            if let Some(message) = odd {
                reports.warning(*line, message.clone());
            }
            match entry {
                Ok(entry) => {
                    if let Err((address, first)) = keep(entry) {
                        let reason = format!("{address} is on line {first} already");
                        reports.wrong(*line, &Wrong::row(reason));
                    }
                }
                Err(Bad::Unreadable(error)) => {
                    reports.error(*line, format!("this row cannot be read: {error}"));
                }
                Err(Bad::Wrong(wrong)) => reports.wrong(*line, wrong),
            }
        }
        // The reader has ended if nobody takes it back.
        let _ = used.send(batch);
    }
}

/// The table as far as it has been read.
struct Reading<'r> {
    organisations: QuickMap<OdsCode, Arc<Organisation>>,
    text: &'r str,
    columns: &'r Columns,
}

impl Reading<'_> {
    /// Reads all rows. The batches come back to be emptied where they were filled, which costs less.
    fn send_all(
        mut self,
        mut reader: csv::Reader<&[u8]>,
        there: &SyncSender<Vec<Taken>>,
        back: &Receiver<Vec<Taken>>,
    ) {
        let mut record = StringRecord::new();
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let position = reader.position().clone();
            let read = reader.read_record(&mut record);
            if matches!(read, Ok(false)) {
                break;
            }
            let line = cells::line_of(self.text, Some(&position));
            batch.push(self.take(&record, read, line));
            if batch.len() == BATCH {
                let mut next = back.try_recv().unwrap_or_default();
                next.clear();
                if there.send(std::mem::replace(&mut batch, next)).is_err() {
                    return; // nobody wants them any more
                }
            }
        }
        let _ = there.send(batch);
    }

    fn take(&mut self, record: &StringRecord, read: csv::Result<bool>, line: usize) -> Taken {
        let mut odd = None;
        let entry = match read {
            Ok(_) => {
                let row = self.columns.row(record);
                let entry = row.and_then(|row| self.entry(&row, line, &mut odd));
                entry.map_err(Bad::Wrong)
            }
            Err(error) => Err(Bad::Unreadable(error)),
        };
        Taken { line, odd, entry }
    }

    fn entry(
        &mut self,
        row: &Row<'_>,
        line: usize,
        odd: &mut Option<String>,
    ) -> Result<Entry, Wrong> {
        let mut entry = Entry::read(row, line)?;
        entry.organisation = self.organisation(row, odd)?;
        Ok(entry)
    }

    /// The organisation of a row: the first row with its code and a name describes it.
    fn organisation(
        &mut self,
        row: &Row<'_>,
        odd: &mut Option<String>,
    ) -> Result<Option<Arc<Organisation>>, Wrong> {
        let Some(code) = row.code("ods_code")? else {
            return Ok(None);
        };
        let name = row.text("organisation");
        let known = self.organisations.get(&code);
        if let Some(known) = known.filter(|known| name.is_empty() || !known.name.is_empty()) {
            if !name.is_empty() && name != known.name {
                let message = format!("{code} is called {:?} in an earlier row", known.name);
                *odd = Some(message);
            }
            return Ok(Some(Arc::clone(known)));
        }
        let (street, town) = (row.text("street"), row.text("town"));
        let organisation = Arc::new(Organisation {
            code,
            name: name.to_owned(),
            street: street.to_owned(),
            town: town.to_owned(),
            postcode: row.text("postcode").to_owned(),
        });
        self.organisations.insert(code, Arc::clone(&organisation));
        Ok(Some(organisation))
    }
}

impl Entry {
    /// Reads a row but for what it says of the organisation, which is the affair of all its rows.
    pub(super) fn read(row: &Row<'_>, line: usize) -> Result<Self, Wrong> {
        let address = row.address("address")?;
        let kind = row.required_word("kind", Kind::WORDS)?;
        let status = row.required_word("status", Status::WORDS)?;
        if row.code("ods_code")?.is_none() && kind.needs_code() {
            let reason = "an organisation's mailbox needs its code";
            return Err(Wrong::at("ods_code", reason));
        }
        Ok(Self {
            address,
            kind,
            organisation: None,
            display_name: row.text("display_name").to_owned(),
            owner: row.text("owner").to_owned(),
            status,
            status_date: row.date("status_date")?,
            successor: row.code("successor")?,
            accepts_patient_data: row.yes_or_no("accepts_patient_data")?.unwrap_or(true),
            do_not_send: row.yes_or_no("do_not_send")?.unwrap_or(false),
            last_verified: row.date("last_verified")?,
            linked: row.links("linked")?,
            approved_links: row.number("approved_links")?,
            line,
        })
    }
}

/// Rows that are handed over at once, and how often before the reader waits.
const BATCH: usize = 512;
const BATCHES: usize = 4;

/// The columns, in the order in which the shipped file has them; those that must be there first.
/// `mobile` is for administrators alone: it stays in the file, and no [`Entry`] has it.
pub(super) const COLUMNS: &[&str] = &[
    "address",
    "kind",
    "status",
    "ods_code",
    "organisation",
    "street",
    "town",
    "display_name",
    "owner",
    "status_date",
    "successor",
    "accepts_patient_data",
    "do_not_send",
    "last_verified",
    "linked",
    "approved_links",
    "postcode",
    "mobile",
];
/// The same, with how many of them must be there.
pub(super) const SCHEMA: Schema = Schema {
    columns: COLUMNS,
    required: 7,
};
#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::directory::entry::Link;
    use crate::directory::reports::REPORTS_MAX;

    struct All {
        entries: Vec<Entry>,
    }

    fn read(text: &str) -> (All, Vec<String>) {
        let file = Arc::new(SourceFile {
            path: "directory.csv".into(),
            text: text.into(),
        });
        let diagnostics = Diagnostics::default();
        let (mut entries, mut lines) = (Vec::new(), HashMap::new());
        Table::read_each(&file, &diagnostics, &mut |entry: &Entry| {
            if let Some(first) = lines.insert(entry.address.clone(), entry.line) {
                return Err((entry.address.clone(), first));
            }
            entries.push(entry.clone());
            Ok(())
        });
        let table = All { entries };
        let said = diagnostics.into_vec().into_iter().map(|diagnostic| {
            let place = diagnostic
                .labels
                .first()
                .map(|label| label.place.to_string());
            format!("{} {}", place.unwrap_or_default(), diagnostic.message)
        });
        (table, said.collect())
    }

    const HEADER: &str =
        "address,kind,status,ods_code,organisation,street,town,status_date,do_not_send\n";

    #[test]
    fn every_bad_row_is_reported_with_its_line_and_reason() {
        let (table, said) = read(&format!(
            "# who is who\n{HEADER}\
             Pharmacy.FA001@NHS.net,pharmacy,active,fa001,Bumbleton Pharmacy,1 High Street,Bumbleton,,\n\
             pharmacy.fa002@nhs.net,pharmacy,active\n\
             # a comment\n\
             no address,pharmacy,active,FA003,,,,,\n\
             pharmacy.fa003@nhs.net,farmacy,active,FA003,,,,,\n\
             pharmacy.fa003@nhs.net,pharmacy,open,FA003,,,,,\n\
             pharmacy.fa003@nhs.net,pharmacy,active,,,,,,\n\
             pharmacy.fa003@nhs.net,pharmacy,active,FA-03,,,,,\n\
             pharmacy.fa003@nhs.net,pharmacy,active,FA003,,,,21/11/2026,\n\
             pharmacy.fa003@nhs.net,pharmacy,active,FA003,,,,,maybe\n\
             PHARMACY.fa001@nhs.net,pharmacy,active,FA001,,,,,\n\
             reminders.fa001.donotreply@nhs.net,application,active,FA001,Bumbleton Chemist,,,,\n"
        ));
        let addresses: Vec<_> = table
            .entries
            .iter()
            .map(|entry| entry.address.to_string())
            .collect();
        assert_eq!(
            addresses,
            [
                "pharmacy.fa001@nhs.net",
                "reminders.fa001.donotreply@nhs.net"
            ]
        );
        assert_eq!(
            said,
            [
                "directory.csv:4 this row has 3 fields, the header has 9",
                "directory.csv:6 address: an address has a local part, an @ and a domain",
                "directory.csv:7 kind: \"farmacy\" is none of pharmacy, care, dental, optical, practice, shared, personal, application, list",
                "directory.csv:8 status: \"open\" is none of active, inactive, disabled, leaver, deleted, closed",
                "directory.csv:9 ods_code: an organisation's mailbox needs its code",
                "directory.csv:10 ods_code: an ODS code is 1 to 9 letters and digits",
                "directory.csv:11 status_date: \"21/11/2026\" is not a date such as 2026-11-21",
                "directory.csv:12 do_not_send: \"maybe\" is none of yes, no",
                "directory.csv:13 pharmacy.fa001@nhs.net is on line 3 already",
                "directory.csv:14 FA001 is called \"Bumbleton Pharmacy\" in an earlier row",
            ]
        );
    }

    #[test]
    fn a_table_without_its_columns_is_reported_and_not_read() {
        let (table, said) = read("adress,kind,status,kind\na@nhs.net,shared,active,shared\n");
        assert!(table.entries.is_empty());
        assert_eq!(said.len(), 2 + 5, "{said:?}");
        let (_, said) = read("");
        assert_eq!(said.len(), SCHEMA.required, "{said:?}");
    }

    #[test]
    fn of_very_many_bad_rows_the_first_are_shown_and_the_others_counted() {
        let rows = "x\n".repeat(REPORTS_MAX + 50);
        let (_, said) = read(&format!("{HEADER}{rows}"));
        assert_eq!(said.len(), REPORTS_MAX + 1);
        assert!(said[REPORTS_MAX].ends_with("50 more rows are bad or odd"));
    }

    #[test]
    fn links_approvals_and_postcodes_are_optional_columns() {
        let header = HEADER.replace('\n', ",linked,approved_links,postcode,mobile\n");
        let row = "pharmacy,active,FA001,Bumbleton,,,,";
        let (table, said) = read(&format!(
            "{header}a@nhs.net,{row},Jo.Bell@nhs.net:send-as  x@nhs.net:on-behalf,12,BB1 1AA,07700 900123\n\
             b@nhs.net,{row},jo.bell@nhs.net,,,\n\
             c@nhs.net,{row},,many,,\n\
             team@nhs.net,list,active,,,,,,,,,,\n"
        ));
        let links: Vec<_> = table.entries[0]
            .linked
            .iter()
            .map(Link::to_string)
            .collect();
        assert_eq!(links, ["jo.bell@nhs.net:send-as", "x@nhs.net:on-behalf"]);
        assert_eq!(table.entries[0].approved_links, Some(12));
        assert!(!format!("{:?}", table.entries[0]).contains("900123"));
        assert_eq!(table.entries[1].kind, Kind::List);
        assert_eq!(said.len(), 2, "{said:?}");
    }
}
