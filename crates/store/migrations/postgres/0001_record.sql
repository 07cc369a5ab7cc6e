-- The record: events, the names they can be found by, and their deliveries.
-- Times are microseconds UTC; attributes, headers, reasons and scopes are JSON; bodies are bytes as they came.
-- Names and ids are compared byte by byte, whatever the database's own rules of order are or become.

CREATE TABLE events (
    event_offset BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id           TEXT COLLATE "C" NOT NULL,
    source       TEXT COLLATE "C" NOT NULL,
    type         TEXT COLLATE "C" NOT NULL,
    subject      TEXT COLLATE "C",
    attributes   TEXT NOT NULL,
    data         BYTEA,
    producer     TEXT COLLATE "C" NOT NULL,
    received     BIGINT NOT NULL,
    chain        BIGINT NOT NULL,
    UNIQUE (id, source)
);

-- Each of these ends in the offset, and so yields its matches in the order of the record.
CREATE INDEX events_by_type ON events (type, event_offset);
CREATE INDEX events_by_source ON events (source, event_offset);
CREATE INDEX events_by_subject ON events (subject, event_offset) WHERE subject IS NOT NULL;
CREATE INDEX events_by_received ON events (received, event_offset);

CREATE TABLE event_names (
    name         TEXT COLLATE "C" NOT NULL,
    event_offset BIGINT NOT NULL REFERENCES events,
    PRIMARY KEY (name, event_offset)
);

CREATE INDEX event_names_by_event ON event_names (event_offset);

CREATE TABLE deliveries (
    event_offset BIGINT NOT NULL REFERENCES events,
    adapter      TEXT COLLATE "C" NOT NULL,
    state        TEXT COLLATE "C" NOT NULL
        CHECK (state IN ('pending', 'confirmed', 'parked', 'discarded', 'expired', 'retrying')),
    attempts     BIGINT NOT NULL DEFAULT 0,
    published    BIGINT NOT NULL,
    settled      BIGINT,
    due          BIGINT,
    detail       TEXT,
    PRIMARY KEY (event_offset, adapter)
);

CREATE INDEX deliveries_by_adapter ON deliveries (adapter, event_offset);
CREATE INDEX deliveries_by_state ON deliveries (adapter, state, published);

-- Dead letters, from the newest to the oldest.
CREATE INDEX deliveries_parked ON deliveries (settled, event_offset, adapter) WHERE state = 'parked';

CREATE TABLE attempts (
    event_offset  BIGINT NOT NULL,
    adapter       TEXT COLLATE "C" NOT NULL,
    number        BIGINT NOT NULL,
    outcome       TEXT COLLATE "C" NOT NULL
        CHECK (outcome IN ('done', 'retry', 'dead', 'rejected', 'delivery_limit', 'undelivered', 'handed_over')),
    detail        TEXT,
    retry_after_s BIGINT,
    duration_ms   BIGINT,
    at            BIGINT NOT NULL,
    PRIMARY KEY (event_offset, adapter, number, outcome),
    FOREIGN KEY (event_offset, adapter) REFERENCES deliveries
);

-- Outcomes that came before their event was recorded.
CREATE TABLE early_outcomes (
    arrival       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    adapter       TEXT COLLATE "C" NOT NULL,
    event_id      TEXT COLLATE "C" NOT NULL,
    source        TEXT COLLATE "C",
    outcome       TEXT COLLATE "C" NOT NULL,
    detail        TEXT,
    retry_after_s BIGINT,
    duration_ms   BIGINT,
    attempt       BIGINT,
    due           BIGINT,
    at            BIGINT NOT NULL
);

CREATE INDEX early_outcomes_by_event ON early_outcomes (event_id, adapter);
CREATE INDEX early_outcomes_by_adapter ON early_outcomes (adapter, arrival);

CREATE TABLE adapter_activity (
    adapter        TEXT COLLATE "C" PRIMARY KEY,
    receipts_since BIGINT,
    last_settled   BIGINT NOT NULL
);

-- What cannot be counted from rows. One row.
CREATE TABLE totals (
    only_row              BIGINT PRIMARY KEY CHECK (only_row = 1),
    received              BIGINT NOT NULL DEFAULT 0,
    duplicates            BIGINT NOT NULL DEFAULT 0,
    redelivered           BIGINT NOT NULL DEFAULT 0,
    forgotten_events      BIGINT NOT NULL DEFAULT 0,
    forgotten_quarantined BIGINT NOT NULL DEFAULT 0
);

INSERT INTO totals (only_row) VALUES (1);

-- What was forgotten still counts.
CREATE TABLE forgotten_deliveries (
    adapter    TEXT COLLATE "C" NOT NULL,
    state      TEXT COLLATE "C" NOT NULL,
    deliveries BIGINT NOT NULL,
    PRIMARY KEY (adapter, state)
);

CREATE TABLE quarantine (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received     BIGINT NOT NULL,
    producer     TEXT COLLATE "C",
    reasons      TEXT NOT NULL,
    headers      TEXT NOT NULL,
    content_type TEXT COLLATE "C",
    routing_key  TEXT COLLATE "C" NOT NULL,
    body         BYTEA NOT NULL,
    fingerprint  BYTEA NOT NULL UNIQUE,
    resent       BIGINT,
    bytes        BIGINT GENERATED ALWAYS AS (octet_length(body) + octet_length(headers)) STORED
);

-- What each producer has in quarantine is added up from this index alone, without a look at the messages.
CREATE INDEX quarantine_by_producer ON quarantine (producer, id, bytes, received);
