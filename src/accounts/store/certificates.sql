-- Certificates that opened an account: their ends, so that somebody can be warned (since version 2).
CREATE TABLE certificate (
    account  TEXT NOT NULL,
    sha256   TEXT NOT NULL,     -- of the certificate, in hexadecimal digits
    known_as TEXT NOT NULL,     -- what in the contract it is known by
    ends_at  INTEGER NOT NULL,
    seen_at  INTEGER NOT NULL,
    PRIMARY KEY (account, sha256)
) STRICT, WITHOUT ROWID;
