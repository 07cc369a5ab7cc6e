-- What operators set up: revisions of the configuration, API keys, adapters' credentials; and which hubs live.

CREATE TABLE revisions (
    number  INTEGER PRIMARY KEY,
    created INTEGER NOT NULL,
    author  TEXT    NOT NULL,
    note    TEXT,
    digest  TEXT    NOT NULL
) STRICT;

CREATE TABLE revision_files (
    revision INTEGER NOT NULL REFERENCES revisions,
    path     TEXT    NOT NULL,
    text     TEXT    NOT NULL,
    PRIMARY KEY (revision, path)
) STRICT, WITHOUT ROWID;

CREATE TABLE api_keys (
    id        TEXT    PRIMARY KEY,
    name      TEXT    NOT NULL,
    hash      BLOB    NOT NULL,
    scopes    TEXT    NOT NULL,
    adapter   TEXT,
    created   INTEGER NOT NULL,
    expires   INTEGER,
    revoked   INTEGER,
    last_used INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE adapter_credentials (
    adapter    TEXT    NOT NULL,
    generation INTEGER NOT NULL,
    api_key_id TEXT    NOT NULL REFERENCES api_keys,
    created    INTEGER NOT NULL,
    retired    INTEGER,
    PRIMARY KEY (adapter, generation)
) STRICT, WITHOUT ROWID;

CREATE TABLE hubs (
    hub_id        TEXT    PRIMARY KEY,
    host          TEXT    NOT NULL,
    version       TEXT    NOT NULL,
    config_digest TEXT    NOT NULL,
    revision      INTEGER,
    at            INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
