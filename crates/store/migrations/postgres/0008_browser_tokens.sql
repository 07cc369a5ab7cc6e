-- Browser tokens: what API keys may mint them for, by which keys they are verified, and which are over before their time.
-- The private half of a signing key is never here.

ALTER TABLE api_keys ADD COLUMN topics TEXT NOT NULL DEFAULT '[]';

CREATE INDEX api_keys_revoked ON api_keys (revoked) WHERE revoked IS NOT NULL;

CREATE TABLE environment (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    name     TEXT NOT NULL
);

CREATE TABLE signing_keys (
    kid            TEXT COLLATE "C" PRIMARY KEY,
    public_key     BYTEA NOT NULL,
    created        BIGINT NOT NULL,
    signs_until    BIGINT NOT NULL,
    verifies_until BIGINT NOT NULL
);

CREATE TABLE token_revocations (
    kind  TEXT COLLATE "C" NOT NULL,
    name  TEXT COLLATE "C" NOT NULL,
    at    BIGINT NOT NULL,
    until BIGINT NOT NULL,
    PRIMARY KEY (kind, name)
);
