-- Version 3: held deliveries that their sender may let go on. Times as in version 1.

-- A row goes with its delivery, or with the first order that lets it go on.
CREATE TABLE self_release (
    delivery INTEGER PRIMARY KEY,
    hash     BLOB NOT NULL,    -- SHA-256 of the code in the notice: the code itself is the sender's alone
    account  TEXT,             -- the account that sent the message; the answer must come by it
    grounds  TEXT NOT NULL,    -- why it is held, for the policy to judge at the time
    until    INTEGER NOT NULL  -- from when on the code is no good any more
) STRICT, WITHOUT ROWID;
