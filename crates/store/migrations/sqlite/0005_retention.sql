-- What was forgotten still counts.

ALTER TABLE totals ADD COLUMN forgotten_events INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN forgotten_quarantined INTEGER NOT NULL DEFAULT 0;

CREATE TABLE forgotten_deliveries (
    adapter    TEXT    NOT NULL,
    state      TEXT    NOT NULL,
    deliveries INTEGER NOT NULL,
    PRIMARY KEY (adapter, state)
) STRICT, WITHOUT ROWID;

-- What each producer has in quarantine is added up from this index alone, without a look at the messages.
ALTER TABLE quarantine ADD COLUMN bytes INTEGER
    GENERATED ALWAYS AS (length(body) + length(CAST(headers AS BLOB))) VIRTUAL;
CREATE INDEX quarantine_by_producer ON quarantine (producer, id, bytes, received);
