-- The same for budgets: the period that runs now is to a budget what a wallet is to credit, and is made when it
-- is first asked for. Days and months are UTC. Returns the period, what was granted and what is still free,
-- what the leases of others hold, and the seconds until the period ends (null: never). No row at all: there is
-- no such budget any more.
CREATE FUNCTION billing_lease_budget(
    p_budget bigint, p_holder uuid, p_need bigint, p_want bigint, p_seconds double precision)
RETURNS TABLE (granted bigint, free bigint, with_others bigint, period_id bigint, seconds_left double precision)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_limit bigint;
    v_kind text;
    v_start timestamptz;
    v_end timestamptz;
    v_period bigint;
    v_free bigint;
    v_pending bigint;
    v_granted bigint;
BEGIN
    SELECT b.limit_nano, b.period, b.created_at INTO v_limit, v_kind, v_start
    FROM billing_budget b WHERE b.id = p_budget AND b.removed_at IS NULL;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF v_kind <> 'total' THEN
        v_start := date_trunc(v_kind, clock_timestamp(), 'UTC');
        v_end := (v_start AT TIME ZONE 'UTC' + ('1 ' || v_kind)::interval) AT TIME ZONE 'UTC';
    END IF;
    INSERT INTO billing_budgetperiod (budget_id, starts_at, ends_at, spent, pending)
    VALUES (p_budget, v_start, v_end, 0, 0) ON CONFLICT (budget_id, starts_at) DO NOTHING;
    SELECT p.id, v_limit - p.spent - p.pending, p.pending INTO STRICT v_period, v_free, v_pending
    FROM billing_budgetperiod p WHERE p.budget_id = p_budget AND p.starts_at = v_start FOR UPDATE;

    v_granted := greatest(p_need, least(p_want, v_free / 5));
    IF v_granted > v_free THEN
        v_granted := 0;
        SELECT v_pending - coalesce(sum(l.granted - l.settled), 0) INTO v_pending
        FROM billing_budgetlease l
        WHERE l.period_id = v_period AND l.holder = p_holder AND l.state = 'open';
    ELSE
        v_pending := 0;
        UPDATE billing_budgetperiod p SET pending = p.pending + v_granted WHERE p.id = v_period;
        INSERT INTO billing_budgetlease (period_id, holder, granted, settled, state, opened_at, expires_at)
        VALUES (v_period, p_holder, v_granted, 0, 'open', clock_timestamp(),
                clock_timestamp() + make_interval(secs => p_seconds))
        ON CONFLICT (period_id, holder) WHERE state = 'open'
        DO UPDATE SET granted = billing_budgetlease.granted + EXCLUDED.granted,
                      expires_at = EXCLUDED.expires_at;
    END IF;
    RETURN QUERY SELECT v_granted, v_free - v_granted, v_pending, v_period,
        extract(epoch FROM v_end - clock_timestamp())::double precision;
END;
$$;

-- Ends a budget's lease, as billing_end_lease does a wallet's; p_amount null ends it, otherwise only that much
-- is given back and the lease stays open.
CREATE FUNCTION billing_give_back_budget(
    p_period bigint, p_holder uuid, p_amount bigint, p_state text, p_expired_before timestamptz)
RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    v_lease bigint;
    v_left bigint;
BEGIN
    PERFORM 1 FROM billing_budgetperiod p WHERE p.id = p_period FOR UPDATE;
    SELECT l.id, l.granted - l.settled INTO v_lease, v_left
    FROM billing_budgetlease l
    WHERE l.period_id = p_period AND l.holder = p_holder AND l.state = 'open'
      AND (p_expired_before IS NULL OR l.expires_at < p_expired_before)
    FOR UPDATE;
    IF v_lease IS NULL THEN
        RETURN 0;
    END IF;
    IF p_amount IS NULL THEN
        UPDATE billing_budgetlease l SET state = p_state WHERE l.id = v_lease;
    ELSE
        v_left := least(p_amount, v_left);
        UPDATE billing_budgetlease l SET granted = l.granted - v_left WHERE l.id = v_lease;
    END IF;
    UPDATE billing_budgetperiod p SET pending = p.pending - v_left WHERE p.id = p_period;
    RETURN v_left;
END;
$$;
