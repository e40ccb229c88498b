//! How urgent a message is: our three classes, and the number that a client may give (RFC 6710).

/// A class of mail: higher ones go first.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Priority {
    /// Newsletters, and what else can wait.
    Bulk,
    /// Everything else.
    #[default]
    Normal,
    /// Referrals, results.
    Urgent,
}

impl Priority {
    /// All of them, the first to go first.
    pub const ALL: [Self; 3] = [Self::Urgent, Self::Normal, Self::Bulk];

    /// Its word in files, lists and JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Bulk => "bulk",
            Self::Normal => "normal",
            Self::Urgent => "urgent",
        }
    }

    /// Its number in the database.
    pub fn number(self) -> i64 {
        match self {
            Self::Bulk => -1,
            Self::Normal => 0,
            Self::Urgent => 1,
        }
    }

    /// Reads the number; one that nobody wrote is normal.
    pub fn of_number(number: i64) -> Self {
        let found = Self::ALL.into_iter().find(|one| one.number() == number);
        found.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_written_and_read_back_in_their_order() {
        for priority in Priority::ALL {
            assert_eq!(Priority::of_number(priority.number()), priority);
        }
        assert_eq!(Priority::of_number(7), Priority::Normal);
        assert!(Priority::Urgent > Priority::Normal && Priority::Normal > Priority::Bulk);
    }
}
