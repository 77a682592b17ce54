-- Posts one business fact: the transaction, its entries, and the balances of all accounts but the hot ones.
--
-- p_entries: a JSON array of {code, owner, amount, hot}; amounts of one account are summed, and what comes to
-- nothing is left out. The fact key is the claim: the same fact again changes nothing and returns
-- is_new = false; the same key with another digest is an error (FB001). Accounts are locked in id order.
-- Entries of hot accounts, which every customer's posting shares, wait in billing_ledgerunfolded.
CREATE FUNCTION billing_post(
    p_id uuid, p_scope text, p_fact_key text, p_digest bytea, p_kind text, p_effective_at timestamptz,
    p_reason text, p_actor bigint, p_reverses uuid, p_currency text, p_entries json)
RETURNS TABLE (transaction_id uuid, is_new boolean)
LANGUAGE plpgsql AS $$
DECLARE
    v_known record;
BEGIN
    INSERT INTO billing_ledgertransaction
        (id, scope, fact_key, digest, kind, effective_at, posted_at, reason, actor_id, reverses_id)
    VALUES (p_id, p_scope, p_fact_key, p_digest, p_kind, p_effective_at, clock_timestamp(), p_reason,
            p_actor, p_reverses)
    ON CONFLICT (scope, fact_key) DO NOTHING;
    IF NOT FOUND THEN
        SELECT t.id, t.digest INTO STRICT v_known
        FROM billing_ledgertransaction t WHERE t.scope = p_scope AND t.fact_key = p_fact_key;
        IF v_known.digest <> p_digest THEN
            RAISE EXCEPTION 'the fact % was posted otherwise', p_fact_key USING ERRCODE = 'FB001';
        END IF;
        RETURN QUERY SELECT v_known.id, false;
        RETURN;
    END IF;

    INSERT INTO billing_ledgeraccount (scope, code, owner, currency, balance, is_hot)
    SELECT DISTINCT p_scope, e.code, e.owner, p_currency, 0, e.hot
    FROM json_to_recordset(p_entries) AS e (code text, owner text, hot boolean)
    WHERE NOT EXISTS (
        SELECT 1 FROM billing_ledgeraccount a
        WHERE a.scope = p_scope AND a.code = e.code AND a.owner = e.owner AND a.currency = p_currency)
    ORDER BY 2, 3
    ON CONFLICT (scope, code, owner, currency) DO NOTHING;

    WITH moved AS (
        SELECT a.id AS account_id, sum(e.amount)::bigint AS amount
        FROM json_to_recordset(p_entries) AS e (code text, owner text, amount bigint)
        JOIN billing_ledgeraccount a ON a.scope = p_scope AND a.code = e.code AND a.owner = e.owner
            AND a.currency = p_currency
        GROUP BY a.id
        HAVING sum(e.amount) <> 0
    )
    INSERT INTO billing_ledgerentry (transaction_id, account_id, amount)
    SELECT p_id, m.account_id, m.amount FROM moved m ORDER BY m.account_id;

    PERFORM 1 FROM billing_ledgeraccount a
    JOIN billing_ledgerentry e ON e.account_id = a.id
    WHERE e.transaction_id = p_id AND NOT a.is_hot
    ORDER BY a.id FOR UPDATE OF a;
    UPDATE billing_ledgeraccount a SET balance = a.balance + e.amount
    FROM billing_ledgerentry e
    WHERE e.transaction_id = p_id AND e.account_id = a.id AND NOT a.is_hot;

    INSERT INTO billing_ledgerunfolded (entry_id, account_id, amount)
    SELECT e.id, e.account_id, e.amount
    FROM billing_ledgerentry e JOIN billing_ledgeraccount a ON a.id = e.account_id
    WHERE e.transaction_id = p_id AND a.is_hot;

    RETURN QUERY SELECT p_id, true;
END;
$$;

-- Adds waiting entries to the balances of their hot accounts; returns how many. Two at once take different
-- entries, and one that dies leaves its own where they were.
CREATE FUNCTION billing_fold(p_most integer)
RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    v_folded bigint;
BEGIN
    WITH taken AS (
        DELETE FROM billing_ledgerunfolded
        WHERE entry_id IN (
            SELECT entry_id FROM billing_ledgerunfolded ORDER BY entry_id LIMIT p_most FOR UPDATE SKIP LOCKED)
        RETURNING account_id, amount
    ), sums AS (
        SELECT account_id, sum(amount)::bigint AS amount, count(*) AS entries FROM taken GROUP BY account_id
    ), locked AS (
        SELECT a.id FROM billing_ledgeraccount a WHERE a.id IN (SELECT account_id FROM sums)
        ORDER BY a.id FOR UPDATE
    ), folded AS (
        UPDATE billing_ledgeraccount a SET balance = a.balance + s.amount
        FROM sums s JOIN locked l ON l.id = s.account_id WHERE a.id = s.account_id
        RETURNING s.entries
    )
    SELECT coalesce(sum(entries), 0) INTO v_folded FROM folded;
    RETURN v_folded;
END;
$$;

-- The database transaction a posting was made in: entries come with their transaction or not at all.
ALTER TABLE billing_ledgertransaction ADD COLUMN made_in xid8 NOT NULL DEFAULT pg_current_xact_id();

CREATE FUNCTION billing_entries_come_at_once() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT 1 FROM added a JOIN billing_ledgertransaction t ON t.id = a.transaction_id
        WHERE t.made_in <> pg_current_xact_id()
    ) THEN
        RAISE EXCEPTION 'entries cannot be added to a posted transaction' USING ERRCODE = 'FB002';
    END IF;
    RETURN NULL;
END;
$$;
CREATE TRIGGER entries_come_at_once AFTER INSERT ON billing_ledgerentry
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION billing_entries_come_at_once();

-- Checked when the database transaction commits, once for each posting.
CREATE FUNCTION billing_posting_balances() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) < 2 OR count(DISTINCT a.scope) > 1 OR min(a.scope) <> NEW.scope
        FROM billing_ledgerentry e JOIN billing_ledgeraccount a ON a.id = e.account_id
        WHERE e.transaction_id = NEW.id)
    OR EXISTS (
        SELECT 1 FROM billing_ledgerentry e JOIN billing_ledgeraccount a ON a.id = e.account_id
        WHERE e.transaction_id = NEW.id GROUP BY a.currency HAVING sum(e.amount) <> 0)
    THEN
        RAISE EXCEPTION 'the entries of % do not balance', NEW.fact_key USING ERRCODE = 'FB003';
    END IF;
    RETURN NULL;
END;
$$;
CREATE CONSTRAINT TRIGGER posting_balances AFTER INSERT ON billing_ledgertransaction
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing_posting_balances();

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_ledgertransaction
FOR EACH ROW EXECUTE FUNCTION farebox_refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_ledgerentry
FOR EACH ROW EXECUTE FUNCTION farebox_refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_lotentry
FOR EACH ROW EXECUTE FUNCTION farebox_refuse_change();
