-- Version 2: how old names are used. Times as in version 1.

-- A name that leads to a mailbox of another name, and who used it. The number only grows: it bounds the table.
CREATE TABLE old_name (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    used_by    TEXT NOT NULL, -- ODS code or domain of the sender; '-' for the null path
    mailbox    TEXT NOT NULL, -- where it led at last
    because    TEXT NOT NULL,
    uses       INTEGER NOT NULL,
    first_used INTEGER NOT NULL,
    last_used  INTEGER NOT NULL,
    UNIQUE (name, used_by)
) STRICT;

-- Who was told that a name is an old one, and when.
CREATE TABLE told (
    sender TEXT NOT NULL,
    name   TEXT NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (sender, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX told_at ON told (at);
