-- Deliveries that are tried again: when the next attempt is due, and a word for handing one over.

ALTER TABLE deliveries ADD COLUMN due INTEGER;
ALTER TABLE early_outcomes ADD COLUMN due INTEGER;

-- Dead letters, from the newest to the oldest.
CREATE INDEX deliveries_parked ON deliveries (settled, event_offset, adapter) WHERE state = 'parked';

CREATE TABLE attempts_with_handovers (
    event_offset  INTEGER NOT NULL,
    adapter       TEXT    NOT NULL,
    number        INTEGER NOT NULL,
    outcome       TEXT    NOT NULL
        CHECK (outcome IN ('done', 'retry', 'dead', 'rejected', 'delivery_limit', 'undelivered', 'handed_over')),
    detail        TEXT,
    retry_after_s INTEGER,
    duration_ms   INTEGER,
    at            INTEGER NOT NULL,
    PRIMARY KEY (event_offset, adapter, number, outcome),
    FOREIGN KEY (event_offset, adapter) REFERENCES deliveries
) STRICT, WITHOUT ROWID;

INSERT INTO attempts_with_handovers SELECT * FROM attempts;
DROP TABLE attempts;
ALTER TABLE attempts_with_handovers RENAME TO attempts;
