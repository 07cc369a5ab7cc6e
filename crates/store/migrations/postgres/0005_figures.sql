-- What dashboards ask again and again, each answered from an index alone.

-- How many events each source sent lately.
DROP INDEX events_by_received;
CREATE INDEX events_by_received ON events (received, event_offset) INCLUDE (source);

-- How an adapter's attempts ended lately, and its last success.
CREATE INDEX attempts_by_outcome ON attempts (adapter, outcome, at) INCLUDE (event_offset, number);
