-- Version 1: the queue and the audit trail of a fleet. Times are milliseconds since 1970 in universal time. Texts are
-- compared octet by octet, as in the other store. The version stands in postern_version, which the program makes.

-- The octets of large messages, in pieces of a mebibyte: any gateway reads them, none of them as a whole from a row.
CREATE TABLE body (
    id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway TEXT COLLATE "C" NOT NULL, -- who wrote it
    put_at  BIGINT NOT NULL,
    octets  BIGINT NOT NULL
);
CREATE TABLE body_piece (
    body   BIGINT NOT NULL REFERENCES body ON DELETE CASCADE,
    place  INTEGER NOT NULL,
    octets BYTEA NOT NULL,
    PRIMARY KEY (body, place)
);
ALTER TABLE body_piece ALTER COLUMN octets SET STORAGE EXTERNAL;

-- A message that somebody is responsible to us for: it exists as long as one of its deliveries does.
CREATE TABLE message (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- never used twice
    reference    TEXT COLLATE "C" NOT NULL, -- what people quote
    reverse_path TEXT COLLATE "C" NOT NULL, -- empty: the null path
    env_id       TEXT COLLATE "C",          -- as after ENVID=
    ret          TEXT COLLATE "C",          -- FULL or HDRS
    eight_bit    BOOLEAN NOT NULL,          -- BODY=8BITMIME
    smtputf8     BOOLEAN NOT NULL,
    require_tls  BOOLEAN NOT NULL,
    patient_data BOOLEAN NOT NULL,          -- a report quotes nothing of it
    received_at  BIGINT NOT NULL,
    message_id   TEXT COLLATE "C",          -- its Message-ID, cut
    octets       BIGINT NOT NULL,           -- size of the body
    mt_priority  SMALLINT,                  -- as after MT-PRIORITY=; NULL if nothing was said
    stored       BIGINT REFERENCES body,    -- the body that has its octets; NULL if they are here
    content      BYTEA,                     -- header and body; NULL if they are not
    CHECK ((stored IS NULL) <> (content IS NULL))
);
ALTER TABLE message ALTER COLUMN content SET STORAGE EXTERNAL;
CREATE INDEX message_reference ON message (reference);
-- The bodies in use.
CREATE INDEX message_stored ON message (stored) WHERE stored IS NOT NULL;

-- A recipient of a message, until it is final. The number is that of the message * 2^20 + its place in the envelope.
CREATE TABLE delivery (
    id             BIGINT PRIMARY KEY,
    state          TEXT COLLATE "C" NOT NULL CHECK (state IN ('due', 'leased', 'held', 'quarantined')),
    ready_at       BIGINT,                    -- due: when it may be tried; leased: when the lease ends; else NULL
    leased_by      TEXT COLLATE "C",          -- leased: which gateway has it in hand
    domain         TEXT COLLATE "C" NOT NULL, -- of the recipient, comparable; empty for the bare postmaster
    forward_path   TEXT COLLATE "C" NOT NULL,
    notify         TEXT COLLATE "C",          -- as after NOTIFY=
    orcpt          TEXT COLLATE "C",          -- as after ORCPT=
    binding        TEXT COLLATE "C" NOT NULL CHECK (binding IN ('any', 'verified-tls', 'encryption')),
    rule           TEXT COLLATE "C" NOT NULL,
    because        TEXT COLLATE "C" NOT NULL,
    attempts       INTEGER NOT NULL,
    delay_notified BOOLEAN NOT NULL,
    last_reply     TEXT COLLATE "C",          -- what the last attempt came to
    priority       SMALLINT NOT NULL,         -- higher classes are leased first: 1 urgent, 0 normal, -1 bulk
    policy         BIGINT,                    -- the policy that decided, as a number; NULL: none is asked again
    CHECK ((ready_at IS NULL) = (state IN ('held', 'quarantined'))),
    CHECK ((leased_by IS NOT NULL) = (state = 'leased'))
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
-- What is due, and which lease ran out.
CREATE INDEX delivery_ready ON delivery (priority, ready_at, id) WHERE ready_at IS NOT NULL;
-- What is due for one domain: so that a lease steps over a domain whose destination is busy.
CREATE INDEX delivery_domain ON delivery (domain, binding, ready_at, id) WHERE state = 'due';
-- What a gateway has in hand.
CREATE INDEX delivery_leased ON delivery (leased_by) WHERE state = 'leased';
-- What waits for somebody.
CREATE INDEX delivery_kept ON delivery (state) WHERE ready_at IS NULL;

-- The gateways that run a scheduler. Each holds the advisory lock of its number as long as its session lasts: what a
-- living one has in hand is nobody else's, even when the time of the lease is over.
CREATE TABLE gateway (
    name     TEXT COLLATE "C" PRIMARY KEY,
    lock     INTEGER NOT NULL,
    began_at BIGINT NOT NULL
);

-- The audit trail: a chain. hash = SHA-256 (hash of the row before, then event).
CREATE TABLE audit (
    id    BIGINT PRIMARY KEY,         -- 1, 2, 3, ... without a gap
    event TEXT COLLATE "C" NOT NULL,  -- JSON
    hash  BYTEA NOT NULL
);
-- Where the chain ends: one row. Every transaction that writes begins by locking it, so that there is one order of all.
CREATE TABLE audit_end (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    id   BIGINT NOT NULL,
    hash BYTEA NOT NULL
) WITH (fillfactor = 10);
INSERT INTO audit_end VALUES (1, 0, decode(repeat('00', 32), 'hex'));
-- Which words a stretch of the trail knows of: a Bloom filter for every thousand rows.
CREATE TABLE audit_stretch (
    last     BIGINT PRIMARY KEY, -- the last row of the stretch; the first follows the one before
    earliest BIGINT NOT NULL,
    latest   BIGINT NOT NULL,
    filter   BYTEA NOT NULL
);

-- A name that leads to a mailbox of another name, and who used it. The number only grows: it bounds the table.
CREATE TABLE old_name (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       TEXT COLLATE "C" NOT NULL,
    used_by    TEXT COLLATE "C" NOT NULL, -- ODS code or domain of the sender; '-' for the null path
    mailbox    TEXT COLLATE "C" NOT NULL, -- where it led at last
    because    TEXT COLLATE "C" NOT NULL,
    uses       BIGINT NOT NULL,
    first_used BIGINT NOT NULL,
    last_used  BIGINT NOT NULL,
    UNIQUE (name, used_by)
);

-- Who was told that a name is an old one, and when.
CREATE TABLE told (
    sender TEXT COLLATE "C" NOT NULL,
    name   TEXT COLLATE "C" NOT NULL,
    at     BIGINT NOT NULL,
    PRIMARY KEY (sender, name)
);
CREATE INDEX told_at ON told (at);

-- A held delivery that its sender may let go on. The row goes with it, or with the first order that lets it go on.
CREATE TABLE self_release (
    delivery BIGINT PRIMARY KEY,
    hash     BYTEA NOT NULL,            -- SHA-256 of the code in the notice: the code itself is the sender's alone
    account  TEXT COLLATE "C",          -- the account that sent the message; the answer must come by it
    grounds  TEXT COLLATE "C" NOT NULL, -- why it is held, for the policy to judge at the time
    until    BIGINT NOT NULL            -- from when on the code is no good any more
);

-- Messages that an application may send twice and means once. A row comes with the message and goes when its time is over.
CREATE TABLE idempotency (
    account    TEXT COLLATE "C" NOT NULL,
    key        BYTEA NOT NULL,            -- SHA-256 of the key: applications make keys of what is nobody's business
    recipients BYTEA NOT NULL,            -- SHA-256 of the recipients, in order
    body       BYTEA NOT NULL,            -- SHA-256 of what follows the header
    reference  TEXT COLLATE "C" NOT NULL, -- what the application was told the first time
    until      BIGINT NOT NULL,           -- from when on the key may be used again
    PRIMARY KEY (account, key)
);
CREATE INDEX idempotency_until ON idempotency (until);
