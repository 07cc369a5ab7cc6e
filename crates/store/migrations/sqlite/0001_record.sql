-- The record: events, the names they can be found by, and their deliveries.
-- Times are microseconds UTC; attributes, headers, reasons and scopes are JSON; bodies are bytes as they came.

CREATE TABLE events (
    event_offset INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT    NOT NULL,
    source       TEXT    NOT NULL,
    type         TEXT    NOT NULL,
    subject      TEXT,
    attributes   TEXT    NOT NULL,
    data         BLOB,
    producer     TEXT    NOT NULL,
    received     INTEGER NOT NULL,
    chain        INTEGER NOT NULL,
    UNIQUE (id, source)
) STRICT;

-- Each of these ends in the offset, and so yields its matches in the order of the record.
CREATE INDEX events_by_type ON events (type);
CREATE INDEX events_by_source ON events (source);
CREATE INDEX events_by_subject ON events (subject);
CREATE INDEX events_by_received ON events (received);

CREATE TABLE event_names (
    name         TEXT    NOT NULL,
    event_offset INTEGER NOT NULL REFERENCES events,
    PRIMARY KEY (name, event_offset)
) STRICT, WITHOUT ROWID;

CREATE INDEX event_names_by_event ON event_names (event_offset);

CREATE TABLE deliveries (
    event_offset INTEGER NOT NULL REFERENCES events,
    adapter      TEXT    NOT NULL,
    state        TEXT    NOT NULL
        CHECK (state IN ('pending', 'confirmed', 'parked', 'discarded', 'expired', 'retrying')),
    attempts     INTEGER NOT NULL DEFAULT 0,
    published    INTEGER NOT NULL,
    settled      INTEGER,
    detail       TEXT,
    PRIMARY KEY (event_offset, adapter)
) STRICT, WITHOUT ROWID;

CREATE INDEX deliveries_by_adapter ON deliveries (adapter, event_offset);
CREATE INDEX deliveries_by_state ON deliveries (adapter, state, published);

CREATE TABLE attempts (
    event_offset  INTEGER NOT NULL,
    adapter       TEXT    NOT NULL,
    number        INTEGER NOT NULL,
    outcome       TEXT    NOT NULL
        CHECK (outcome IN ('done', 'retry', 'dead', 'rejected', 'delivery_limit', 'undelivered')),
    detail        TEXT,
    retry_after_s INTEGER,
    duration_ms   INTEGER,
    at            INTEGER NOT NULL,
    PRIMARY KEY (event_offset, adapter, number, outcome),
    FOREIGN KEY (event_offset, adapter) REFERENCES deliveries
) STRICT, WITHOUT ROWID;

-- Outcomes that came before their event was recorded.
CREATE TABLE early_outcomes (
    arrival       INTEGER PRIMARY KEY AUTOINCREMENT,
    adapter       TEXT    NOT NULL,
    event_id      TEXT    NOT NULL,
    source        TEXT,
    outcome       TEXT    NOT NULL,
    detail        TEXT,
    retry_after_s INTEGER,
    duration_ms   INTEGER,
    attempt       INTEGER,
    at            INTEGER NOT NULL
) STRICT;

CREATE INDEX early_outcomes_by_event ON early_outcomes (event_id, adapter);
CREATE INDEX early_outcomes_by_adapter ON early_outcomes (adapter);

CREATE TABLE adapter_activity (
    adapter        TEXT    PRIMARY KEY,
    receipts_since INTEGER,
    last_settled   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What cannot be counted from rows. One row.
CREATE TABLE totals (
    only_row    INTEGER PRIMARY KEY CHECK (only_row = 1),
    received    INTEGER NOT NULL,
    duplicates  INTEGER NOT NULL,
    redelivered INTEGER NOT NULL
) STRICT;

INSERT INTO totals (only_row, received, duplicates, redelivered) VALUES (1, 0, 0, 0);

CREATE TABLE quarantine (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    received     INTEGER NOT NULL,
    producer     TEXT,
    reasons      TEXT    NOT NULL,
    headers      TEXT    NOT NULL,
    content_type TEXT,
    routing_key  TEXT    NOT NULL,
    body         BLOB    NOT NULL,
    fingerprint  BLOB    NOT NULL UNIQUE,
    resent       INTEGER
) STRICT;
