//! A directory of national size, made from the national files of pharmacies and practices: their
//! shared mailboxes, applications, the staff of practices and of hospital trusts, and renames.
//!
//! The same size makes the same directory. Names of people are made up of words of the files.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The files of the directory, and names to ask for.
pub(crate) struct National {
    pub(crate) csv: String,
    pub(crate) redirects: String,
    /// Addresses that are mailboxes.
    pub(crate) exact: Vec<String>,
    /// Names from before 2020 of open pharmacies.
    pub(crate) legacy: Vec<String>,
    /// Names that lead to a new one.
    pub(crate) renamed: Vec<String>,
}

/// An organisation of the files, or a trust that was made up.
struct Organisation {
    code: String,
    name: String,
    street: String,
    town: String,
    postcode: String,
    closed: Option<String>,
    kind: &'static str,
}

/// The folder of the national files, if it is at hand.
pub(crate) fn folder() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .map(|folder| folder.join("shared/data"))
        .find(|folder| folder.join("edispensary.csv").exists())
}

impl National {
    /// Makes a directory of `count` mailboxes, or of as many as the organisations alone have.
    pub(crate) fn make(folder: &Path, count: usize) -> Self {
        let mut organisations = read(&folder.join("edispensary.csv"), "pharmacy");
        organisations.extend(read(&folder.join("epraccur.csv"), "practice"));
        // A small directory has a part of each.
        let step = (organisations.len() / (count / 2).max(1)).max(1);
        let mut organisations: Vec<_> = organisations.into_iter().step_by(step).collect();
        let surnames = surnames(&organisations);
        add_trusts(&mut organisations);
        let mut maker = Maker::new();
        for organisation in &organisations {
            maker.shared(organisation);
        }
        while maker.rows < count {
            let surname = &surnames[maker.skewed(surnames.len())];
            // Half of the people work for one of the trusts, which come last.
            let trust = maker.below(2) == 0;
            let at = maker.below(if trust { TRUSTS } else { organisations.len() });
            let at = if trust {
                organisations.len() - 1 - at
            } else {
                at
            };
            maker.person(&organisations[at], surname, &surnames);
        }
        maker.national
    }
}

fn read(path: &Path, kind: &'static str) -> Vec<Organisation> {
    let reader = csv::ReaderBuilder::new().has_headers(false).from_path(path);
    let records = reader.expect("a national file").into_records();
    let organisations = records.map(|record| {
        let record = record.expect("a row of a national file");
        let closed = Some(record[11].to_owned()).filter(|date| date.len() == 8);
        let closed = closed.map(|date| format!("{}-{}-{}", &date[..4], &date[4..6], &date[6..]));
        let lines: Vec<&str> = (4..9)
            .map(|at| &record[at])
            .filter(|line| !line.is_empty())
            .collect();
        let (town, street) = lines
            .split_last()
            .map_or(("", &[][..]), |(town, street)| (*town, street));
        Organisation {
            code: record[0].to_owned(),
            name: record[1].to_owned(),
            street: street.join(", "),
            town: town.to_owned(),
            postcode: record[9].to_owned(),
            closed: closed.filter(|date| date.as_str() <= TODAY),
            kind,
        }
    });
    organisations.collect()
}

/// Words of the files that could be names.
fn surnames(organisations: &[Organisation]) -> Vec<String> {
    let mut words = HashMap::new();
    for organisation in organisations {
        let texts = [&organisation.name, &organisation.town, &organisation.street];
        for word in texts
            .into_iter()
            .flat_map(|text| text.split(|c: char| !c.is_ascii_alphabetic()))
        {
            if word.len() > 3 {
                *words.entry(word.to_ascii_lowercase()).or_insert(0) += 1;
            }
        }
    }
    let mut words: Vec<(String, u32)> = words.into_iter().collect();
    words.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    words.into_iter().map(|(word, _)| word).collect()
}

fn add_trusts(organisations: &mut Vec<Organisation>) {
    let towns: Vec<(String, String)> = organisations
        .iter()
        .step_by((organisations.len() / TRUSTS).max(1))
        .map(|one| (one.town.clone(), one.postcode.clone()))
        .cycle()
        .take(TRUSTS)
        .collect();
    for (at, (town, postcode)) in towns.into_iter().enumerate() {
        organisations.push(Organisation {
            code: format!("R{at:03}"),
            name: format!("{town} TEACHING HOSPITALS NHS TRUST"),
            street: "THE HOSPITAL".to_owned(),
            town,
            postcode,
            closed: None,
            kind: "shared",
        });
    }
}

/// The directory as far as it has been made.
struct Maker {
    national: National,
    rows: usize,
    /// How many have this name.
    taken: HashMap<String, u32>,
    state: u64,
}

impl Maker {
    fn new() -> Self {
        Self {
            national: National {
                csv: HEADER.to_owned(),
                redirects: "from,to,because,since\n".to_owned(),
                exact: Vec::new(),
                legacy: Vec::new(),
                renamed: Vec::new(),
            },
            rows: 0,
            taken: HashMap::new(),
            state: 0x243f_6a88_85a3_08d3,
        }
    }

    fn shared(&mut self, organisation: &Organisation) {
        let Organisation {
            code,
            name,
            town,
            kind,
            ..
        } = organisation;
        let code_lower = code.to_lowercase();
        let local = format!("{kind}.{code_lower}");
        let display = format!(
            "{}{}.{code} ({name}, {town})",
            kind[..1].to_uppercase(),
            &kind[1..]
        );
        let status = if organisation.closed.is_some() {
            "closed"
        } else {
            "active"
        };
        self.row(&local, kind, status, organisation, &display);
        if *kind == "pharmacy" && organisation.closed.is_none() {
            let place = squeezed(town);
            let rest = format!("{}{code}", squeezed(name));
            let legacy = format!("nhspharmacy.{place}.{rest}");
            if !place.is_empty() && legacy.len() <= 64 {
                self.national.legacy.push(format!("{legacy}@nhs.net"));
            }
            if self.below(4) == 0 {
                let local = format!("reminders.{code_lower}.donotreply");
                self.row(
                    &local,
                    "application",
                    "active",
                    organisation,
                    "Appointment reminders",
                );
            }
        }
    }

    fn person(&mut self, organisation: &Organisation, surname: &str, surnames: &[String]) {
        let forename = FORENAMES[self.skewed(FORENAMES.len())];
        let local = self.free(forename, surname);
        let display = format!(
            "{}, {forename} ({})",
            surname.to_uppercase(),
            organisation.name
        );
        let status = match self.below(100) {
            0..90 => "active",
            90..94 => "leaver",
            94..97 => "deleted",
            97..99 => "inactive",
            _ => "disabled",
        };
        self.row(&local, "personal", status, organisation, &display);
        if status == "active" && self.below(18) == 0 {
            let before = &surnames[self.skewed(surnames.len())];
            let before = self.free(forename, before);
            let _ = writeln!(
                self.national.redirects,
                "{before}@nhs.net,{local}@nhs.net,renamed,2024-05-01"
            );
            self.national.renamed.push(format!("{before}@nhs.net"));
        }
    }

    /// `forename.surname`, with a number if that is somebody's.
    fn free(&mut self, forename: &str, surname: &str) -> String {
        let name = format!("{}.{surname}", forename.to_lowercase());
        let count = self.taken.entry(name.clone()).or_insert(0);
        *count += 1;
        if *count == 1 {
            name
        } else {
            format!("{name}{count}")
        }
    }

    fn row(&mut self, local: &str, kind: &str, status: &str, of: &Organisation, display: &str) {
        self.rows += 1;
        let since = of
            .closed
            .as_deref()
            .filter(|_| status == "closed")
            .unwrap_or("");
        let Organisation {
            code,
            name,
            street,
            town,
            postcode,
            ..
        } = of;
        let _ = writeln!(
            self.national.csv,
            "{local}@nhs.net,{kind},{status},{code},\"{name}\",\"{street}\",\"{town}\",\"{display}\",service desk,\
             {since},2026-01-31,{postcode}"
        );
        // Names to ask for: all of them would take more room than the directory.
        if status == "active" && (self.rows < 10_000 || self.below(4) == 0) {
            self.national.exact.push(format!("{local}@nhs.net"));
        }
    }

    fn below(&mut self, end: usize) -> usize {
        // Marsaglia's xorshift; the same numbers each time.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state % end.max(1) as u64) as usize
    }

    /// As `below`, but the first are much more frequent than the last, as with names.
    fn skewed(&mut self, end: usize) -> usize {
        let once = self.below(end);
        self.below(once + 1)
    }
}

fn squeezed(text: &str) -> String {
    let letters = text.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|c| c.to_ascii_lowercase()).take(20).collect()
}

const HEADER: &str = "address,kind,status,ods_code,organisation,street,town,display_name,owner,\
                      status_date,last_verified,postcode\n";
const TODAY: &str = "2026-11-21";
/// Hospital trusts: half of all people work for one.
const TRUSTS: usize = 220;
const FORENAMES: &[&str] = &[
    "Oliver", "Amelia", "George", "Isla", "Mohammed", "Ava", "Noah", "Mia", "Jack", "Ivy", "Harry",
    "Lily", "Leo", "Freya", "Muhammad", "Florence", "Arthur", "Grace", "Charlie", "Sophie",
    "Jacob", "Emily", "Thomas", "Priya", "William", "Fatima", "James", "Aisha", "Olu", "Chloe",
    "David", "Sarah", "John", "Jo", "Siobhan", "Michael", "Susan", "Peter", "Margaret", "Paul",
    "Karen", "Mark", "Nicola", "Andrew", "Claire", "Rajesh", "Wei", "Ewa", "Piotr", "Zoe", "Ngozi",
    "Kwame", "Anjali", "Hassan", "Yusuf", "Bronwen", "Gethin", "Morag", "Callum", "Aoife",
];
