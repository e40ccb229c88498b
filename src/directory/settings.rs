//! The section `[directory]` of the gateway's own file.

use crate::config::Section;

/// How the directory is looked after.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// An import that would take out, shut or redirect more than this share of the addresses in use,
    /// in percent, must be confirmed.
    pub confirm_over_percent: f64,
}

impl Settings {
    /// Reads the section.
    pub fn read(top: &Section<'_>) -> Self {
        let section = top.section("directory");
        let share = section.number("confirm-over-percent");
        if let Some(share) = &share
            && !(0.0..=100.0).contains(&**share)
        {
            section.report(
                "out-of-bounds",
                "`confirm-over-percent` is out of bounds",
                share,
                "between 0 and 100".to_owned(),
            );
        }
        section.finish();
        Self {
            confirm_over_percent: share.map_or(CONFIRM_OVER_PERCENT, |share| *share),
        }
    }
}

/// A twentieth: more than a month's changes, less than a file that was cut off.
const CONFIRM_OVER_PERCENT: f64 = 5.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Diagnostics, SourceFile, read_toml};

    #[test]
    fn a_share_is_between_nothing_and_all() {
        let read = |text: &str| {
            let file = std::sync::Arc::new(SourceFile {
                path: "postern.toml".into(),
                text: text.to_owned(),
            });
            let diagnostics = Diagnostics::default();
            let settings = read_toml(&file, &diagnostics, Settings::read);
            (settings.confirm_over_percent, diagnostics.into_vec().len())
        };
        assert_eq!(read(""), (5.0, 0));
        assert_eq!(read("[directory]\nconfirm-over-percent = 0.5\n"), (0.5, 0));
        assert_eq!(read("[directory]\nconfirm-over-percent = 120\n").1, 1);
    }
}
