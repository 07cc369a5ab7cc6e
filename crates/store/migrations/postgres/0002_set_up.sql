-- What operators set up: revisions of the configuration, API keys, adapters' credentials; which webhook endpoints
-- answered 410 Gone; and which hubs live.

CREATE TABLE revisions (
    number  BIGINT PRIMARY KEY,
    created BIGINT NOT NULL,
    author  TEXT NOT NULL,
    note    TEXT,
    digest  TEXT NOT NULL
);

CREATE TABLE revision_files (
    revision BIGINT NOT NULL REFERENCES revisions,
    path     TEXT COLLATE "C" NOT NULL,
    text     TEXT NOT NULL,
    PRIMARY KEY (revision, path)
);

CREATE TABLE api_keys (
    id        TEXT COLLATE "C" PRIMARY KEY,
    name      TEXT NOT NULL,
    hash      BYTEA NOT NULL,
    scopes    TEXT NOT NULL,
    adapter   TEXT COLLATE "C",
    created   BIGINT NOT NULL,
    expires   BIGINT,
    revoked   BIGINT,
    last_used BIGINT
);

CREATE TABLE adapter_credentials (
    adapter    TEXT COLLATE "C" NOT NULL,
    generation BIGINT NOT NULL,
    api_key_id TEXT COLLATE "C" NOT NULL REFERENCES api_keys,
    created    BIGINT NOT NULL,
    retired    BIGINT,
    PRIMARY KEY (adapter, generation)
);

CREATE TABLE disabled_endpoints (
    adapter  TEXT COLLATE "C" PRIMARY KEY,
    url      TEXT NOT NULL,
    revision BIGINT NOT NULL,
    reason   TEXT NOT NULL,
    at       BIGINT NOT NULL
);

CREATE TABLE hubs (
    hub_id        TEXT COLLATE "C" PRIMARY KEY,
    host          TEXT NOT NULL,
    version       TEXT NOT NULL,
    config_digest TEXT NOT NULL,
    revision      BIGINT,
    at            BIGINT NOT NULL
);
