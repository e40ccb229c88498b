//! The directory as it will be: both tables, changed row by row before anything is written.

use std::collections::HashMap;
use std::sync::Arc;

use csv::StringRecord;
use jiff::civil::Date;

use crate::config::SourceFile;
use crate::directory::cells::{self, Columns, Wrong};
use crate::directory::sources::Sources;
use crate::directory::{Entry, OdsCode, Status, redirects, table};

use super::bad::{BadRow, Walk};
use super::sheet::{Cells, Sheet};

/// Both tables, and what was noticed while they were changed.
#[derive(Debug)]
pub(super) struct Draft {
    /// `directory.csv`, by address.
    pub(super) mailboxes: Sheet,
    /// `redirects.csv`, by [`redirect_key`].
    pub(super) redirects: Sheet,
    /// The day of the import.
    pub(super) today: Date,
    /// Sentences for the administrator.
    pub(super) notes: Vec<String>,
    /// The addresses of each organisation.
    codes: HashMap<OdsCode, Vec<String>>,
    /// The mailboxes that each account is linked to; made when it is first asked for.
    links: Option<HashMap<String, Vec<String>>>,
    /// The keys of the redirects that lead to a name; made when it is first asked for.
    leads: Option<HashMap<String, Vec<String>>>,
    columns: Columns,
    redirect_columns: Columns,
}

impl Draft {
    /// The directory as it is. Rows that cannot be read are added to `bad`.
    pub(super) fn read(sources: &Sources, today: Date, bad: &mut Vec<BadRow>) -> Self {
        let nothing = Arc::new(SourceFile {
            path: "redirects.csv".into(),
            text: String::new(),
        });
        let redirects = sources.redirects.as_ref();
        let redirects = redirects
            .filter(|file| !file.text.is_empty())
            .unwrap_or(&nothing);
        let mut draft = Self {
            mailboxes: Sheet::new(
                &table::SCHEMA,
                &sources.mailboxes.text,
                &header(&sources.mailboxes),
            ),
            redirects: Sheet::new(&redirects::SCHEMA, &redirects.text, &header(redirects)),
            today,
            notes: Vec::new(),
            codes: HashMap::new(),
            links: None,
            leads: None,
            columns: Columns::all(&table::SCHEMA),
            redirect_columns: Columns::all(&redirects::SCHEMA),
        };
        draft.read_mailboxes(&sources.mailboxes, bad);
        if !redirects.text.is_empty() {
            draft.read_redirects(redirects, bad);
        }
        draft
    }

    fn read_mailboxes(&mut self, file: &Arc<SourceFile>, bad: &mut Vec<BadRow>) {
        let mut walk = Walk {
            file,
            bad,
            progress: &|_| {},
        };
        if file.text.is_empty() {
            return;
        }
        let end = walk.table(&table::SCHEMA, |found| {
            let address = found.row.address("address")?.to_string();
            let cells = Cells::of(&table::SCHEMA, &found.row).with(&[("address", &address)]);
            if let Some(code) = found.row.code("ods_code")? {
                self.codes.entry(code).or_default().push(address.clone());
            }
            self.mailboxes.push_read(address, cells, found.before);
            Ok(())
        });
        self.mailboxes.set_tail(&file.text[end..]);
    }

    fn read_redirects(&mut self, file: &Arc<SourceFile>, bad: &mut Vec<BadRow>) {
        let mut walk = Walk {
            file,
            bad,
            progress: &|_| {},
        };
        let end = walk.table(&redirects::SCHEMA, |found| {
            let cells = Cells::of(&redirects::SCHEMA, &found.row);
            self.redirects
                .push_read(redirect_key(&cells), cells, found.before);
            Ok(())
        });
        self.redirects.set_tail(&file.text[end..]);
    }

    /// What a row of mailboxes says.
    ///
    /// # Errors
    /// If it does not say what it must.
    pub(super) fn entry(&self, cells: &Cells) -> Result<Entry, Wrong> {
        Entry::read(&cells.row(&self.columns)?, 0)
    }

    /// The mailbox of an address, if there is one that can be read.
    pub(super) fn mailbox(&self, address: &str) -> Option<(Cells, Entry)> {
        let cells = self.mailboxes.get(address)?;
        Some((cells.clone(), self.entry(cells).ok()?))
    }

    /// The mailboxes of an organisation, in the order of the file.
    pub(super) fn of_code(&self, code: OdsCode) -> Vec<(Cells, Entry)> {
        let addresses = self.codes.get(&code).into_iter().flatten();
        let all = addresses.filter_map(|address| self.mailbox(address));
        all.filter(|(cells, _)| cells.get("ods_code").eq_ignore_ascii_case(code.as_str()))
            .collect()
    }

    /// Puts a mailbox in the place of the one with its address, or adds it.
    ///
    /// # Errors
    /// If the row would not be a good one; then nothing is changed.
    pub(super) fn put(&mut self, cells: Cells) -> Result<(), Wrong> {
        let entry = self.entry(&cells)?;
        let address = entry.address.to_string();
        if let Ok(code) = cells.get("ods_code").parse::<OdsCode>() {
            let known = self.codes.entry(code).or_default();
            if !known.contains(&address) {
                known.push(address.clone());
            }
        }
        if let Some(links) = &mut self.links {
            for link in &entry.linked {
                let mailboxes = links.entry(link.account.to_string()).or_default();
                mailboxes.push(address.clone());
            }
        }
        let cells = cells.with(&[("address", &address)]);
        self.mailboxes.put(&address, cells);
        Ok(())
    }

    /// Whether a row of redirects says what it must.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check_redirect(&self, cells: &Cells) -> Result<(), Wrong> {
        redirects::check(&cells.row(&self.redirect_columns)?)
    }

    /// Lets a name lead elsewhere.
    pub(super) fn redirect(&mut self, cells: Cells) {
        let key = redirect_key(&cells);
        if let Some(leads) = &mut self.leads {
            let to = cells.get("to").to_ascii_lowercase();
            leads.entry(to).or_default().push(key.clone());
        }
        self.redirects.put(&key, cells);
    }

    /// Takes out what leads from a name and, to the end of each chain backwards, what leads to it. Those names that were
    /// given up for it stay as mailboxes shut from this day on: who imports an old file again must not find them free.
    /// Returns how many were taken out.
    ///
    /// # Errors
    /// If the row of the name is not a good one.
    pub(super) fn cut_off(&mut self, name: &str, day: Date) -> Result<usize, Wrong> {
        let shut = self.mailboxes.get(name).map(|cells| {
            // A day to come would let them live until then.
            let day = day.min(self.today).to_string();
            let leaver = Status::Leaver.word();
            cells.with(&[("status", leaver), ("status_date", &day), ("linked", "")])
        });
        let mut given_up = Vec::new();
        let leads = match self.leads.take() {
            Some(leads) => leads,
            None => self.index_of_leads(),
        };
        let mut names = vec![name.to_owned()];
        self.redirects.remove(name);
        let mut cut = 0;
        while let Some(name) = names.pop() {
            for key in leads.get(&name).into_iter().flatten() {
                let cells = self.redirects.get(key);
                let Some(cells) = cells.filter(|cells| cells.get("to").eq_ignore_ascii_case(&name))
                else {
                    continue;
                };
                if cells.get("because") == "renamed" && self.mailboxes.get(key).is_none() {
                    given_up.push(key.clone());
                }
                self.redirects.remove(key);
                names.push(key.clone());
                cut += 1;
            }
        }
        self.leads = Some(leads);
        if let Some(shut) = shut {
            for address in &given_up {
                self.put(shut.with(&[("address", address)]))?;
            }
        }
        Ok(cut)
    }

    fn index_of_leads(&self) -> HashMap<String, Vec<String>> {
        let mut leads: HashMap<String, Vec<String>> = HashMap::new();
        for cells in self.redirects.rows() {
            let to = cells.get("to").to_ascii_lowercase();
            leads.entry(to).or_default().push(redirect_key(cells));
        }
        leads
    }

    /// Gives an account another name in the mailboxes that it is linked to, or takes it out of them.
    pub(super) fn relink(&mut self, account: &str, new: Option<&str>) {
        let links = match self.links.take() {
            Some(links) => links,
            None => self.index_of_links(),
        };
        for address in links.get(account).cloned().unwrap_or_default() {
            let Some(cells) = self.mailboxes.get(&address).cloned() else {
                continue;
            };
            let words = cells.get("linked").split_ascii_whitespace();
            let words = words.filter_map(|word| match word.rsplit_once(':') {
                Some((name, right)) if name.eq_ignore_ascii_case(account) => {
                    new.map(|new| format!("{new}:{right}"))
                }
                _ => Some(word.to_owned()),
            });
            let linked = words.collect::<Vec<_>>().join(" ");
            self.mailboxes
                .put(&address, cells.with(&[("linked", &linked)]));
        }
        let mut links = links;
        if let (Some(new), Some(mailboxes)) = (new, links.remove(account)) {
            links.entry(new.to_owned()).or_default().extend(mailboxes);
        }
        self.links = Some(links);
    }

    fn index_of_links(&self) -> HashMap<String, Vec<String>> {
        let mut links: HashMap<String, Vec<String>> = HashMap::new();
        for cells in self.mailboxes.rows() {
            for word in cells.get("linked").split_ascii_whitespace() {
                let account = word.rsplit_once(':').map_or(word, |(account, _)| account);
                let mailboxes = links.entry(account.to_ascii_lowercase()).or_default();
                mailboxes.push(cells.get("address").to_owned());
            }
        }
        links
    }

    /// How many mailboxes are live today, and how many redirects there are.
    pub(super) fn counts(&self) -> (usize, usize) {
        let live = |cells: &&Cells| {
            self.entry(cells)
                .is_ok_and(|entry| entry.is_live(self.today))
        };
        let live = self.mailboxes.rows().filter(live).count();
        (live, self.redirects.rows().count())
    }
}

/// What tells a row of redirects from others: its name, and for a successor both codes, since an
/// organisation may have two.
pub(super) fn redirect_key(cells: &Cells) -> String {
    let (from, to) = (cells.get("from"), cells.get("to"));
    if cells.get("because") == "successor" {
        return format!("{} {}", from.to_ascii_uppercase(), to.to_ascii_uppercase());
    }
    from.to_ascii_lowercase()
}

/// The header row of a file; empty if it has none.
pub(super) fn header(file: &SourceFile) -> StringRecord {
    let mut reader = cells::reader(&file.text);
    reader.headers().cloned().unwrap_or_default()
}
