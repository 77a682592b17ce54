-- Gives a relay process credit to spend from memory: at least p_need, about p_want, all or nothing.
--
-- A lease takes at most a fifth of what the wallet has free, so that other processes find some too, but
-- always what the waiting request needs. Asking again enlarges the open lease. Returns what was granted now
-- (0: refused) and what the wallet still has free.
CREATE OR REPLACE FUNCTION billing_lease_credit(
    p_organization bigint, p_holder uuid, p_need bigint, p_want bigint, p_seconds double precision)
RETURNS TABLE (granted bigint, free bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_free bigint;
    v_granted bigint;
    v_status text;
BEGIN
    SELECT w.posted - w.pending, w.status INTO v_free, v_status
    FROM billing_wallet w WHERE w.organization_id = p_organization FOR UPDATE;
    v_granted := greatest(p_need, least(p_want, v_free / 5));
    IF v_free IS NULL OR v_status <> 'active' OR v_granted > v_free THEN
        RETURN QUERY SELECT 0::bigint, CASE WHEN v_status = 'active' THEN v_free ELSE 0::bigint END;
        RETURN;
    END IF;
    UPDATE billing_wallet w SET pending = w.pending + v_granted WHERE w.organization_id = p_organization;
    INSERT INTO billing_lease (wallet_id, holder, granted, settled, state, opened_at, expires_at)
    VALUES (p_organization, p_holder, v_granted, 0, 'open', clock_timestamp(),
            clock_timestamp() + make_interval(secs => p_seconds))
    ON CONFLICT (wallet_id, holder) WHERE state = 'open'
    DO UPDATE SET granted = billing_lease.granted + EXCLUDED.granted, expires_at = EXCLUDED.expires_at;
    RETURN QUERY SELECT v_granted, v_free - v_granted;
END;
$$;

-- Ends a lease and gives back what it did not spend. p_state is 'closed' (the holder returns it) or 'reaped'
-- (its deadline passed). Returns what was given back; 0 where there is no such open lease, or, when reaping,
-- where the holder renewed it meanwhile.
CREATE OR REPLACE FUNCTION billing_end_lease(
    p_organization bigint, p_holder uuid, p_state text, p_expired_before timestamptz)
RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    v_lease bigint;
    v_left bigint;
BEGIN
    PERFORM 1 FROM billing_wallet w WHERE w.organization_id = p_organization FOR UPDATE;
    SELECT l.id, l.granted - l.settled INTO v_lease, v_left
    FROM billing_lease l
    WHERE l.wallet_id = p_organization AND l.holder = p_holder AND l.state = 'open'
      AND (p_expired_before IS NULL OR l.expires_at < p_expired_before)
    FOR UPDATE;
    IF v_lease IS NULL THEN
        RETURN 0;
    END IF;
    UPDATE billing_lease l SET state = p_state WHERE l.id = v_lease;
    UPDATE billing_wallet w SET pending = w.pending - v_left WHERE w.organization_id = p_organization;
    RETURN v_left;
END;
$$;
