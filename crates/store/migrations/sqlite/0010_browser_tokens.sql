-- Browser tokens: what API keys may mint them for, by which keys they are verified, and which are over before their time.
-- The private half of a signing key is never here.

ALTER TABLE api_keys ADD COLUMN topics TEXT NOT NULL DEFAULT '[]';

CREATE INDEX api_keys_revoked ON api_keys (revoked) WHERE revoked IS NOT NULL;

CREATE TABLE environment (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    name     TEXT    NOT NULL
) STRICT;

CREATE TABLE signing_keys (
    kid            TEXT    PRIMARY KEY,
    public_key     BLOB    NOT NULL,
    created        INTEGER NOT NULL,
    signs_until    INTEGER NOT NULL,
    verifies_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE token_revocations (
    kind  TEXT    NOT NULL,
    name  TEXT    NOT NULL,
    at    INTEGER NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
