-- What dashboards ask again and again, each answered from an index alone.

-- How many events each source sent lately.
DROP INDEX events_by_received;
CREATE INDEX events_by_received ON events (received, source);

-- How an adapter's attempts ended lately, and its last success. The rest of the primary key ends the index.
CREATE INDEX attempts_by_outcome ON attempts (adapter, outcome, at);
