//! What an import would change, row by row, and how much of it takes an address from somebody.

use serde::Serialize;

use crate::directory::Entry;

use super::draft::Draft;
use super::sheet::Cells;

/// One row before and after.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Difference {
    /// A mailbox that was not there.
    Added {
        /// Its address.
        address: String,
        /// Whose it is and what is said of it.
        what: String,
    },
    /// A mailbox of which something else is said.
    Changed {
        /// Its address.
        address: String,
        /// The columns.
        cells: Vec<CellChange>,
    },
    /// A mailbox that is taken out.
    Removed {
        /// Its address.
        address: String,
    },
    /// A name that leads elsewhere from now on.
    Redirected {
        /// The name, or the code of an organisation.
        from: String,
        /// Where it leads.
        to: String,
        /// Why.
        because: String,
        /// From this day on; may be empty.
        since: String,
    },
    /// A name that leads nowhere any more.
    Unredirected {
        /// The name, or the code of an organisation.
        from: String,
        /// Where it led.
        to: String,
    },
}

/// One cell before and after.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct CellChange {
    /// Which column.
    pub column: &'static str,
    /// What stood there.
    pub old: String,
    /// What stands there then.
    pub new: String,
}

/// How much of the directory an import touches.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Counts {
    /// Mailboxes that are new.
    pub added: usize,
    /// Mailboxes of which something else is said.
    pub changed: usize,
    /// Mailboxes that are taken out.
    pub removed: usize,
    /// Names that lead elsewhere from now on.
    pub redirected: usize,
    /// Names that lead nowhere any more.
    pub unredirected: usize,
    /// Addresses in use that would be taken out, shut or redirected.
    pub lost: usize,
    /// Addresses in use before: live mailboxes and redirects.
    pub before: usize,
}

impl Counts {
    /// The share of the addresses in use that would be lost, in percent. Of none it is nothing.
    pub fn share_percent(&self) -> f64 {
        if self.before == 0 {
            return 0.0;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "a share, of far fewer than 2^52"
        )]
        let share = self.lost as f64 * 100.0 / self.before as f64;
        share
    }
}

/// All differences, mailboxes first, each in the order of their names; and how much they come to.
/// `before` is the number of addresses that were in use.
pub(super) fn of(draft: &Draft, before: usize) -> (Vec<Difference>, Counts) {
    let mut counts = Counts {
        before,
        ..Counts::default()
    };
    let mut all = Vec::new();
    for (address, old, new) in draft.mailboxes.changes() {
        counts.lost += usize::from(is_lost(draft, old, new));
        match (old, new) {
            (Some(old), Some(new)) => {
                counts.changed += 1;
                all.push(Difference::Changed {
                    address: address.to_owned(),
                    cells: shown(old, new),
                });
            }
            (None, Some(new)) => {
                counts.added += 1;
                all.push(Difference::Added {
                    address: address.to_owned(),
                    what: description(new),
                });
            }
            (_, None) => {
                counts.removed += 1;
                let address = address.to_owned();
                all.push(Difference::Removed { address });
            }
        }
    }
    for (_, old, new) in draft.redirects.changes() {
        // One that was there and is gone, or leads to another: somebody's mail goes elsewhere.
        let leads_on = |new: &Cells| old.is_some_and(|old| old.get("to") == new.get("to"));
        counts.lost += usize::from(old.is_some() && !new.is_some_and(leads_on));
        match (old, new) {
            (_, Some(new)) => {
                counts.redirected += 1;
                all.push(redirected(new));
            }
            (Some(old), None) => {
                counts.unredirected += 1;
                all.push(Difference::Unredirected {
                    from: old.get("from").to_owned(),
                    to: old.get("to").to_owned(),
                });
            }
            (None, None) => {}
        }
    }
    (all, counts)
}

/// Whether mail for an address that was live would not be taken for it any more, now or one day.
fn is_lost(draft: &Draft, old: Option<&Cells>, new: Option<&Cells>) -> bool {
    let entry = |cells: Option<&Cells>| cells.and_then(|cells| draft.entry(cells).ok());
    let lives = |entry: &Entry| {
        entry.is_live(draft.today) && entry.is_live(jiff::civil::Date::MAX) && !entry.do_not_send
    };
    let was_live = entry(old).is_some_and(|entry| entry.is_live(draft.today) && !entry.do_not_send);
    was_live && !entry(new).is_some_and(|entry| lives(&entry))
}

fn shown(old: &Cells, new: &Cells) -> Vec<CellChange> {
    let hidden = |column: &str, text: String| match column {
        "mobile" if !text.is_empty() => "(hidden)".to_owned(),
        _ => text,
    };
    let all = old.differences(new).into_iter();
    all.map(|(column, old, new)| CellChange {
        column,
        old: hidden(column, old),
        new: hidden(column, new),
    })
    .collect()
}

fn description(cells: &Cells) -> String {
    let words = [
        "kind",
        "status",
        "status_date",
        "ods_code",
        "organisation",
        "town",
    ];
    let words = words.iter().map(|column| cells.get(column));
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    words.join(", ")
}

fn redirected(cells: &Cells) -> Difference {
    let text = |column| cells.get(column).to_owned();
    Difference::Redirected {
        from: text("from"),
        to: text("to"),
        because: text("because"),
        since: text("since"),
    }
}
