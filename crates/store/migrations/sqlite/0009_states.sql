-- Live state: the latest state of each topic. `memory` says which events it comes from, so that a late one and one
-- that comes again are known.

CREATE TABLE states (
    topic   TEXT    NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    time    TEXT    NOT NULL,
    data    TEXT    NOT NULL,
    memory  TEXT    NOT NULL,
    expires INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX states_by_expires ON states (expires) WHERE expires IS NOT NULL;

-- The greatest version that was forgotten with its topic: new topics begin above it.
CREATE TABLE states_floor (version INTEGER NOT NULL) STRICT;
INSERT INTO states_floor (version) VALUES (0);
