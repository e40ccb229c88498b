//! The change file of `postern directory import`.
//!
//! A national service changes a little every day: people come and go, pharmacies are sold. A change
//! file says what has happened, and the import works out which mailboxes are shut, which are new and
//! which names lead where. It is a CSV file (UTF-8, with a byte order mark or without) with a header row; `#` begins a comment. Columns
//! stand in any order, and those that no row needs may be left out.
//!
//! ```csv
//! change,date,from,to,confirmed_by,kind,ods_code,organisation,street,town,postcode,display_name,owner,note
//! rename,2026-11-01,jo.bell@nhs.net,jo.hart@nhs.net,,,,,,,,,,married
//! code,2026-12-01,FA001,FA777,the ICB 2026-10-20,,,,9 New Road,Bumbleton,BB1 2CD,,,relocated
//! ownership,2026-12-01,FA003,FA778,the ICB 2026-10-21,,,Meadow Pharmacy,,,,,Meadow Ltd,sold
//! consolidation,2026-12-31,FA123,FA003,the ICB 2026-11-02,,,,,,,,,
//! leaver,2026-11-30,sam.reed@nhs.net,,,,,,,,,,,
//! joiner,2026-12-01,,alex.ray@nhs.net,,personal,FA001,,,,,RAY Alex (Bumbleton Pharmacy),,
//! ```
//!
//! | change | `from` | `to` | what follows |
//! |---|---|---|---|
//! | `rename` | address | address | the mailbox has the new name; the old one leads to it; linked accounts follow |
//! | `code` | code | code | the same organisation has another code: its mailboxes whose names hold the code move |
//! | `ownership` | code | code | as `code`, but the mailboxes are new: no owner, nobody linked, not verified; people stay behind |
//! | `consolidation` | code | code | the mailboxes of `from` are shut; those of `to`, which must be in use, take its mail |
//! | `leaver` | address | | the person has gone; old names of theirs are shut as well, linked mailboxes lose them |
//! | `joiner` | | address | a new mailbox, `personal` unless `kind` says otherwise |
//!
//! # Days
//!
//! `date` is the day from which on it is so, and must be there. A day to come is written into the
//! tables (`status_date`, `since`), so that the directory changes on that day by itself: the old
//! mailbox is live until then and the new one from then on. What the tables cannot say of a day to
//! come waits: linked accounts follow a rename, and leave with a leaver, only in an import on the day
//! or after it; a name that leads elsewhere now cannot be given from a later day on.
//!
//! Changes are made in the order of their days, whatever the order of the rows. A change that was
//! made before is passed over, so that the same file may be imported again.
//!
//! # What is never done
//!
//! * Nobody's mail is redirected once they have gone: no rename of a leaver, and a name that is given
//!   again starts without the old names that led to whoever had it before.
//! * `code`, `ownership` and `consolidation` forward mail with patient data to another organisation:
//!   without `confirmed_by` they are bad rows.
//! * A name in use is not taken over: a joiner or a rename to it is a bad row.
//! * Nobody moves to a mailbox that is there and shut: `code` and `ownership` to its code are bad rows.
//!
//! # National files
//!
//! `edispensary.csv` and `epraccur.csv` have 27 columns at fixed places and no header row. Read are
//! 1 code, 2 name, 5 to 9 address (the first line that is not empty is the street, the others the
//! town), 10 postcode, 11 opening, 12 closing, 13 status, 14 sub-type (1 pharmacy, 2 appliances,
//! 3 oxygen), and of practices 26 the prescribing setting: 4 is a general practice, others become the
//! kind `shared`.
//!
//! Days decide first: a row with a closing day is closed from that day on, whatever its status.
//! Otherwise A is active from its opening day on; C closed; D (dormant) inactive; P (proposed) active
//! from an opening day to come, and inactive if that day has passed. An organisation's mailbox is
//! found by its code; where there is none, `pharmacy.CODE@nhs.net` is added, which is the rule, or
//! `practice.CODE@nhs.net`, which is a place for what is known of a practice: no rule gives its
//! address, so it accepts no patient data until somebody has put it right. Mailboxes of organisations
//! that the file does not have stay as they are.
