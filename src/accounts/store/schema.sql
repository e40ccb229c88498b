-- Secrets and counters of accounts. Times are milliseconds since 1970 in universal time; names of accounts are folded.

-- Secrets, hashed. Those whose time is over stay for the rule that a new one is none of the last four.
CREATE TABLE secret (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    hash    TEXT NOT NULL,     -- Argon2id, as a PHC text
    scram   TEXT,              -- keys of SCRAM-SHA-256; NULL: this secret is not for SCRAM
    made_at INTEGER NOT NULL,
    ends_at INTEGER NOT NULL,  -- from when on it opens nothing
    warned  INTEGER            -- so many days before its end its owner was warned last
) STRICT;
CREATE INDEX secret_account ON secret (account, id);

-- Secrets of accounts.toml whose time ends because there is a newer one here.
CREATE TABLE file_secret (
    digest  BLOB PRIMARY KEY,  -- SHA-256 of the PHC text
    ends_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Who may not try for now: account:NAME or client:ADDRESS.
CREATE TABLE lock (
    who   TEXT PRIMARY KEY,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- From where an account was used with its secret: these clients are let in while the account is locked for others.
CREATE TABLE known_client (
    account TEXT NOT NULL,
    client  TEXT NOT NULL,
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (account, client)
) STRICT, WITHOUT ROWID;

-- What each account did on each day (days since 1970).
CREATE TABLE day (
    account    TEXT NOT NULL,
    day        INTEGER NOT NULL,
    recipients INTEGER NOT NULL, -- of messages that were accepted
    reserved   INTEGER NOT NULL, -- never less than recipients: where counting goes on after a crash
    accepted   INTEGER NOT NULL, -- messages
    repeated   INTEGER NOT NULL, -- messages that were here before
    refused    INTEGER NOT NULL, -- messages
    over_rate  INTEGER NOT NULL, -- told to slow down
    over_quota INTEGER NOT NULL, -- told to come again tomorrow
    octets     INTEGER NOT NULL,
    PRIMARY KEY (account, day)
) STRICT, WITHOUT ROWID;

-- One key, made with the database: what a name without an account answers in SCRAM must not change from day to day.
CREATE TABLE seed (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    key BLOB NOT NULL
) STRICT;
