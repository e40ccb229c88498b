-- The queue and the audit trail on one machine. Times are milliseconds since 1970 in universal time.

-- A message that somebody is responsible to us for: it exists as long as one of its deliveries does.
CREATE TABLE message (
    id           INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice
    reference    TEXT NOT NULL,    -- what people quote
    reverse_path TEXT NOT NULL,    -- empty: the null path
    env_id       TEXT,             -- as after ENVID=
    ret          TEXT,             -- FULL or HDRS
    eight_bit    INTEGER NOT NULL, -- BODY=8BITMIME
    smtputf8     INTEGER NOT NULL,
    require_tls  INTEGER NOT NULL,
    patient_data INTEGER NOT NULL, -- a report quotes nothing of it
    received_at  INTEGER NOT NULL,
    message_id   TEXT,             -- its Message-ID, cut
    octets       INTEGER NOT NULL, -- size of the body
    spool        TEXT,             -- the file in spool/ that has the body; NULL if it is here
    body         BLOB              -- header and body; NULL if in a file. Last, so that the rest is read without it
) STRICT;
CREATE INDEX message_reference ON message (reference);
-- The files in use, found without a look at a million bodies.
CREATE INDEX message_spool ON message (spool) WHERE spool IS NOT NULL;

-- A recipient of a message, until it is final. The number is that of the message * 2^20 + its place in the envelope.
CREATE TABLE delivery (
    id             INTEGER PRIMARY KEY,
    -- Not by IN: SQLite makes a table of its list for each row that is checked.
    state          TEXT NOT NULL CHECK (state = 'due' OR state = 'leased' OR state = 'held' OR state = 'quarantined'),
    ready_at       INTEGER,          -- due: when it may be tried; leased: when the lease ends; else NULL
    domain         TEXT NOT NULL,    -- of the recipient, comparable; empty for the bare postmaster
    forward_path   TEXT NOT NULL,
    notify         TEXT,             -- as after NOTIFY=
    orcpt          TEXT,             -- as after ORCPT=
    binding        TEXT NOT NULL CHECK (binding = 'any' OR binding = 'verified-tls' OR binding = 'encryption'),
    rule           TEXT NOT NULL,
    because        TEXT NOT NULL,
    attempts       INTEGER NOT NULL,
    delay_notified INTEGER NOT NULL,
    last_reply     TEXT,             -- what the last attempt came to
    CHECK ((ready_at IS NULL) = (state IN ('held', 'quarantined')))
) STRICT;
-- What is due, and which lease ran out.
CREATE INDEX delivery_ready ON delivery (ready_at) WHERE ready_at IS NOT NULL;
-- What is due for one domain: so that a lease steps over a domain whose destination is busy.
CREATE INDEX delivery_domain ON delivery (domain, binding, ready_at) WHERE state = 'due';
-- What waits for somebody.
CREATE INDEX delivery_kept ON delivery (state) WHERE ready_at IS NULL;

-- The audit trail: a chain. hash = SHA-256 (hash of the row before, then event).
CREATE TABLE audit (
    id    INTEGER PRIMARY KEY, -- 1, 2, 3, ... without a gap
    event TEXT NOT NULL,       -- JSON
    hash  BLOB NOT NULL
) STRICT;
-- Where the chain ends: one row, kept in step by every transaction that adds to it.
CREATE TABLE audit_end (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    id   INTEGER NOT NULL,
    hash BLOB NOT NULL
) STRICT;
INSERT INTO audit_end VALUES (1, 0, zeroblob(32));
-- Which words a stretch of the trail knows of: a Bloom filter for every thousand rows. Unlike an
-- index it only ever grows at its end, so that a long trail costs new mail nothing.
CREATE TABLE audit_stretch (
    last     INTEGER PRIMARY KEY, -- the last row of the stretch; the first follows the one before
    earliest INTEGER NOT NULL,
    latest   INTEGER NOT NULL,
    filter   BLOB NOT NULL
) STRICT;
