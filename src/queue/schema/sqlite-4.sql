-- Version 4: messages that an application may send twice and means once. Times as in version 1.

-- A row comes with the message, in its transaction, and goes when its time is over.
CREATE TABLE idempotency (
    account    TEXT NOT NULL,
    key        BLOB NOT NULL,    -- SHA-256 of the key: applications make keys of what is nobody's business
    recipients BLOB NOT NULL,    -- SHA-256 of the recipients, in order
    body       BLOB NOT NULL,    -- SHA-256 of what follows the header
    reference  TEXT NOT NULL,    -- what the application was told the first time
    until      INTEGER NOT NULL, -- from when on the key may be used again
    PRIMARY KEY (account, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_until ON idempotency (until);
