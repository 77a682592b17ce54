-- Credit that was granted before there were lots: a posting and a lot for each grant. Usage of that time is
-- aggregated once more, which consumes the lots and posts it.
DO $$
DECLARE
    v_grant record;
    v_transaction uuid;
BEGIN
    FOR v_grant IN SELECT * FROM billing_grant ORDER BY id LOOP
        SELECT transaction_id INTO v_transaction FROM billing_post(
            gen_random_uuid(), 'op', 'grant:' || v_grant.id, sha256('carried over'), 'grant',
            v_grant.created_at, v_grant.reason, v_grant.granted_by_id, NULL, 'USD',
            json_build_array(
                json_build_object('code', '5100', 'owner', 'campaign:' || v_grant.kind, 'hot', true,
                                  'amount', v_grant.amount_nano),
                json_build_object('code', '2020', 'owner', 'organization:' || v_grant.organization_id,
                                  'hot', false, 'amount', -v_grant.amount_nano)));
        INSERT INTO billing_lot
            (organization_id, kind, origin_id, currency, original, remaining, priority, opened_at)
        VALUES (v_grant.organization_id, 'promotional', v_transaction, 'USD', v_grant.amount_nano,
                v_grant.amount_nano, 100, v_grant.created_at);
        INSERT INTO billing_lotentry (lot_id, transaction_id, amount)
        VALUES (currval(pg_get_serial_sequence('billing_lot', 'id')), v_transaction, v_grant.amount_nano);
    END LOOP;

    UPDATE billing_wallet w SET receivable = u.owed, status = 'blocked'
    FROM (SELECT organization_id, sum(uncollected_nano)::bigint AS owed
          FROM billing_usagerecord GROUP BY 1 HAVING sum(uncollected_nano) > 0) u
    WHERE u.organization_id = w.organization_id;
    DELETE FROM billing_usagerollup;
    UPDATE billing_settlementbatch SET aggregated_at = NULL;
END;
$$;
