-- Webhook endpoints that answered 410 Gone.

CREATE TABLE disabled_endpoints (
    adapter  TEXT    PRIMARY KEY,
    url      TEXT    NOT NULL,
    revision INTEGER NOT NULL,
    reason   TEXT    NOT NULL,
    at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
