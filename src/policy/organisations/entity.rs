//! One legal entity through time: its particulars, and the footers and signature that follow from them.

use jiff::civil::Date;

use crate::config::{Located, Section};

use super::footers::Footers;
use super::particulars::Particulars;
use super::signature::Signature;

/// A legal entity that sends mail.
#[derive(Debug, Default)]
pub struct Entity {
    /// Its name in these files and in the audit trail.
    pub id: String,
    /// What stands before its particulars, where the directory knows the sender.
    pub signature: Option<Signature>,
    /// What it says about itself, from when on; the first from ever, the others in the order of their days.
    periods: Vec<Period>,
}

/// From a day on, until the next.
#[derive(Debug)]
struct Period {
    /// `None` is from ever.
    from: Option<Date>,
    footers: Footers,
}

impl Entity {
    /// Reads an `[[entity]]` but for what leads to it. `None` if it has no id, form or name; what
    /// else is missing is reported.
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let id = section.required_string("id");
        let signature = Signature::read(section);
        let first = Particulars::read(section, None);
        let footers = first
            .as_ref()
            .map(|first| Footers::read(section, first, None));
        let changes = section.sections("change");
        let (first, footers) = (first?, footers?);
        let mut periods = vec![Period {
            from: None,
            footers,
        }];
        read_changes(changes, first, &mut periods);
        Some(Self {
            id: id?.into_inner(),
            signature,
            periods,
        })
    }

    /// What it says about itself on a day.
    pub fn footers(&self, on: Date) -> Option<&Footers> {
        let begun = |period: &&Period| period.from.is_none_or(|from| from <= on);
        let period = self.periods.iter().rev().find(begun);
        period.map(|period| &period.footers)
    }
}

/// Reads each `[[entity.change]]` on top of the one before it, in the order of their days.
fn read_changes(changes: Vec<Section<'_>>, first: Particulars, periods: &mut Vec<Period>) {
    let dated = changes
        .into_iter()
        .filter_map(|change| Some((change.required_date("from")?, change)));
    let mut dated: Vec<(Located<Date>, Section<'_>)> = dated.collect();
    dated.sort_by_key(|(from, _)| **from);
    let mut now = first;
    for (from, change) in dated {
        if periods.last().and_then(|last| last.from) == Some(*from) {
            let help = "make one of them".to_owned();
            change.report("twice", "two changes are of one day", &from, help);
        }
        let Some(then) = Particulars::read(&change, Some(&now)) else {
            continue;
        };
        let before = periods.last().map(|period| &period.footers);
        let footers = Footers::read(&change, &then, before);
        periods.push(Period {
            from: Some(*from),
            footers,
        });
        now = then;
        change.finish();
    }
}
