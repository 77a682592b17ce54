-- Gives a relay process credit to spend from memory: at least p_need, about p_want, all or nothing.
--
-- A lease takes at most a fifth of what the wallet has free, so that other processes find some too, but
-- always what the waiting request needs. Asking again enlarges the open lease. Returns what was granted now
-- (0: refused), what the wallet still has free, and what the leases of others hold: worth recalling.
DROP FUNCTION billing_lease_credit(bigint, uuid, bigint, bigint, double precision);

CREATE FUNCTION billing_lease_credit(
    p_organization bigint, p_holder uuid, p_need bigint, p_want bigint, p_seconds double precision)
RETURNS TABLE (granted bigint, free bigint, with_others bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_free bigint;
    v_pending bigint;
    v_granted bigint;
    v_status text;
BEGIN
    SELECT w.posted - w.pending, w.pending, w.status INTO v_free, v_pending, v_status
    FROM billing_wallet w WHERE w.organization_id = p_organization FOR UPDATE;
    v_granted := greatest(p_need, least(p_want, v_free / 5));
    IF v_free IS NULL OR v_status <> 'active' THEN
        RETURN QUERY SELECT 0::bigint, 0::bigint, 0::bigint;
        RETURN;
    END IF;
    IF v_granted > v_free THEN
        RETURN QUERY SELECT 0::bigint, v_free, v_pending - coalesce((
            SELECT l.granted - l.settled FROM billing_lease l
            WHERE l.wallet_id = p_organization AND l.holder = p_holder AND l.state = 'open'), 0);
        RETURN;
    END IF;
    UPDATE billing_wallet w SET pending = w.pending + v_granted WHERE w.organization_id = p_organization;
    INSERT INTO billing_lease (wallet_id, holder, granted, settled, state, opened_at, expires_at)
    VALUES (p_organization, p_holder, v_granted, 0, 'open', clock_timestamp(),
            clock_timestamp() + make_interval(secs => p_seconds))
    ON CONFLICT (wallet_id, holder) WHERE state = 'open'
    DO UPDATE SET granted = billing_lease.granted + EXCLUDED.granted, expires_at = EXCLUDED.expires_at;
    RETURN QUERY SELECT v_granted, v_free - v_granted, 0::bigint;
END;
$$;

-- Gives back part of an open lease that its holder does not need now. Returns what was given back.
CREATE FUNCTION billing_shrink_lease(p_organization bigint, p_holder uuid, p_amount bigint)
RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    v_given bigint;
BEGIN
    PERFORM 1 FROM billing_wallet w WHERE w.organization_id = p_organization FOR UPDATE;
    SELECT least(p_amount, l.granted - l.settled) INTO v_given
    FROM billing_lease l
    WHERE l.wallet_id = p_organization AND l.holder = p_holder AND l.state = 'open' FOR UPDATE;
    IF coalesce(v_given, 0) <= 0 THEN
        RETURN 0;
    END IF;
    UPDATE billing_lease l SET granted = l.granted - v_given
    WHERE l.wallet_id = p_organization AND l.holder = p_holder AND l.state = 'open';
    UPDATE billing_wallet w SET pending = w.pending - v_given WHERE w.organization_id = p_organization;
    RETURN v_given;
END;
$$;
