-- How the record is written to. A function is never changed once released: a hub of the version before may still
-- call it. What replaces it has another name, and this one is dropped a version later.

-- Waits for the right to write to the record, which lasts until the transaction ends. Only so do offsets become
-- visible in their order, and only so does either of a record and a word about it see the other
-- (docs/adr/0011-one-writer-at-a-time.md). The number spells Crossdok.
CREATE FUNCTION writers_turn() RETURNS void LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(4860069489534070635)
$$;

-- Keeps a batch: e_ are the columns of its events, each key once; n_ and d_ the names and deliveries with the place,
-- from 1, of their event among them; q_ the quarantined messages; c_ what else is to be counted, as if no event were
-- new. Gives the smallest new offset, 0 if no event was new.
--
-- Unless `early_too` it does nothing and gives null where a word waits for one of the events: whoever calls must
-- then apply that word in the same transaction.
--
-- Each statement in here sees what was committed before it began, so those after the first see all that earlier
-- writers have done. One statement that also waited would not: it sees what was there before it waited.
CREATE FUNCTION record_batch(
    e_id TEXT[], e_source TEXT[], e_type TEXT[], e_subject TEXT[], e_attributes TEXT[], e_data BYTEA[],
    e_producer TEXT[], e_received BIGINT[], e_chain BIGINT[],
    n_place BIGINT[], n_name TEXT[],
    d_place BIGINT[], d_adapter TEXT[], d_published BIGINT[],
    q_received BIGINT[], q_producer TEXT[], q_reasons TEXT[], q_headers TEXT[], q_content_type TEXT[],
    q_routing_key TEXT[], q_body BYTEA[], q_fingerprint BYTEA[], q_redelivered BOOLEAN[],
    c_received BIGINT, c_duplicates BIGINT, c_redelivered BIGINT,
    early_too BOOLEAN
) RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
    first_offset BIGINT;
    inserted BIGINT;
BEGIN
    PERFORM writers_turn();
    IF NOT early_too AND EXISTS (SELECT FROM early_outcomes WHERE event_id = ANY (e_id)) THEN
        RETURN NULL;
    END IF;

    WITH new AS (
        INSERT INTO events (id, source, type, subject, attributes, data, producer, received, chain)
        SELECT id, source, type, subject, attributes, data, producer, received, chain
        FROM unnest(e_id, e_source, e_type, e_subject, e_attributes, e_data, e_producer, e_received, e_chain)
            WITH ORDINALITY
            AS given (id, source, type, subject, attributes, data, producer, received, chain, place)
        ORDER BY place
        ON CONFLICT (id, source) DO NOTHING
        RETURNING event_offset, id, source
    ), placed AS (
        SELECT place, event_offset
        FROM unnest(e_id, e_source) WITH ORDINALITY AS given (id, source, place) JOIN new USING (id, source)
    ), named AS (
        INSERT INTO event_names (name, event_offset)
        SELECT name, event_offset FROM unnest(n_place, n_name) AS given (place, name) JOIN placed USING (place)
    ), delivered AS (
        INSERT INTO deliveries (event_offset, adapter, published, state)
        SELECT event_offset, adapter, published, 'pending'
        FROM unnest(d_place, d_adapter, d_published) AS given (place, adapter, published)
        JOIN placed USING (place)
    )
    SELECT coalesce(min(event_offset), 0), count(*) INTO first_offset, inserted FROM new;
    c_duplicates := c_duplicates - inserted;

    FOR i IN 1 .. cardinality(q_fingerprint) LOOP
        INSERT INTO quarantine (received, producer, reasons, headers, content_type, routing_key, body, fingerprint)
        VALUES (q_received[i], q_producer[i], q_reasons[i], q_headers[i], q_content_type[i], q_routing_key[i],
                q_body[i], q_fingerprint[i])
        ON CONFLICT (fingerprint) DO NOTHING;
        IF FOUND THEN
            c_received := c_received + 1;
            CONTINUE;
        END IF;
        -- One that was sent again and came back waits once more, with its new reasons.
        UPDATE quarantine SET reasons = q_reasons[i], resent = NULL
        WHERE fingerprint = q_fingerprint[i] AND resent IS NOT NULL;
        IF q_redelivered[i] THEN
            c_redelivered := c_redelivered + 1;
        ELSE
            c_received := c_received + 1;
            c_duplicates := c_duplicates + 1;
        END IF;
    END LOOP;

    UPDATE totals SET
        received = received + c_received, duplicates = duplicates + c_duplicates,
        redelivered = redelivered + c_redelivered;
    IF NOT FOUND THEN
        RAISE 'totals: expected one row, found none' USING ERRCODE = 'data_corrupted';
    END IF;
    RETURN first_offset;
END
$$;
