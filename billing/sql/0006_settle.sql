-- Settles what a relay process has finished: one call is one transaction.
--
-- p_records: a JSON array of usage records (columns of billing_usagerecord) with `price_nano` in place of
-- charge and uncollected part, and `budget_period_ids` where budgets apply. The batch id is the claim: the same
-- batch again changes nothing, and a request id that was settled before is passed over, here and for budgets.
-- Wallets are locked in id order before anything is read from them, budget periods after them.
--
-- A record is charged its price as long as the holder's lease and what is free in the wallet can pay it;
-- what they cannot pay stands in uncollected_nano, is owed by the wallet, and blocks it. A budget is charged
-- the whole price, beyond its limit if it must be: the usage is real. Returns per wallet what the holder's
-- lease has left, and whether the wallet can be leased from.
DROP FUNCTION billing_settle(uuid, uuid, json);

CREATE FUNCTION billing_settle(p_batch uuid, p_holder uuid, p_records json)
RETURNS TABLE (organization_id bigint, lease_left bigint, is_active boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_organization bigint;
    v_lease bigint;
    v_left bigint;
    v_free bigint;
    v_charged bigint;
    v_uncollected bigint;
    v_released bigint;
    v_total bigint := 0;
BEGIN
    INSERT INTO billing_settlementbatch (id, holder, created_at, records, charge_nano)
    VALUES (p_batch, p_holder, clock_timestamp(), json_array_length(p_records), 0)
    ON CONFLICT (id) DO NOTHING;
    IF NOT FOUND THEN
        RETURN;
    END IF;

    FOR v_organization IN
        SELECT DISTINCT (r ->> 'organization_id')::bigint FROM json_array_elements(p_records) r ORDER BY 1
    LOOP
        SELECT w.posted - w.pending INTO STRICT v_free
        FROM billing_wallet w WHERE w.organization_id = v_organization FOR UPDATE;

        v_lease := NULL;
        SELECT l.id, l.granted - l.settled INTO v_lease, v_left
        FROM billing_lease l
        WHERE l.wallet_id = v_organization AND l.holder = p_holder AND l.state = 'open' FOR UPDATE;
        IF v_lease IS NULL THEN
            v_left := 0;
        END IF;

        WITH incoming AS (
            SELECT r.*
            FROM json_to_recordset(p_records) AS r (
                request_id uuid, organization_id bigint, reseller_id bigint, api_key_id bigint, model text,
                channel text, upstream_model text, input_tokens bigint, cache_read_tokens bigint,
                cache_write_5m_tokens bigint, cache_write_1h_tokens bigint, output_tokens bigint,
                reasoning_tokens bigint, audio_input_tokens bigint, audio_output_tokens bigint,
                image_input_tokens bigint, price_nano bigint, cost_nano bigint, wholesale_nano bigint,
                retail_version_id bigint, cost_version_id bigint, wholesale_version_id bigint,
                service_tier text, usage_source text, ending text, is_stream boolean,
                started_at timestamptz, first_output_at timestamptz, ended_at timestamptz)
            WHERE r.organization_id = v_organization
              AND NOT EXISTS (SELECT 1 FROM billing_usagerecord u WHERE u.request_id = r.request_id)
        ), priced AS (
            SELECT i.*, greatest(0, least(
                i.price_nano,
                v_free + v_left - (sum(i.price_nano) OVER (ORDER BY i.request_id) - i.price_nano)
            ))::bigint AS charge
            FROM incoming i
        ), inserted AS (
            INSERT INTO billing_usagerecord (
                request_id, batch_id, organization_id, reseller_id, api_key_id, model, channel,
                upstream_model, input_tokens, cache_read_tokens, cache_write_5m_tokens,
                cache_write_1h_tokens, output_tokens, reasoning_tokens, audio_input_tokens,
                audio_output_tokens, image_input_tokens, charge_nano, uncollected_nano, cost_nano,
                wholesale_nano, retail_version_id, cost_version_id, wholesale_version_id, service_tier,
                usage_source, ending, is_stream, started_at, first_output_at, ended_at)
            SELECT
                p.request_id, p_batch, p.organization_id, p.reseller_id, p.api_key_id, p.model, p.channel,
                p.upstream_model, p.input_tokens, p.cache_read_tokens, p.cache_write_5m_tokens,
                p.cache_write_1h_tokens, p.output_tokens, p.reasoning_tokens, p.audio_input_tokens,
                p.audio_output_tokens, p.image_input_tokens, p.charge, p.price_nano - p.charge, p.cost_nano,
                coalesce(p.wholesale_nano, 0), p.retail_version_id, p.cost_version_id,
                p.wholesale_version_id, coalesce(p.service_tier, ''), p.usage_source, p.ending, p.is_stream,
                p.started_at, p.first_output_at, p.ended_at
            FROM priced p
            RETURNING charge_nano, uncollected_nano
        )
        SELECT coalesce(sum(charge_nano), 0)::bigint, coalesce(sum(uncollected_nano), 0)::bigint
        INTO v_charged, v_uncollected FROM inserted;

        v_released := least(v_charged, v_left);
        UPDATE billing_lease l SET settled = l.settled + v_released WHERE l.id = v_lease;
        UPDATE billing_wallet w
        SET posted = w.posted - v_charged,
            pending = w.pending - v_released,
            receivable = w.receivable + v_uncollected,
            status = CASE WHEN v_uncollected > 0 AND w.status = 'active' THEN 'blocked' ELSE w.status END
        WHERE w.organization_id = v_organization
        RETURNING w.status = 'active' INTO is_active;
        v_total := v_total + v_charged;
        organization_id := v_organization;
        lease_left := v_left - v_released;
        RETURN NEXT;
    END LOOP;

    IF position('budget_period_ids' IN p_records::text) > 0 THEN
        PERFORM billing_charge_budgets(p_batch, p_holder, p_records);
    END IF;
    UPDATE billing_settlementbatch SET charge_nano = v_total WHERE id = p_batch;
END;
$$;

-- Charges budget periods for the records that came in with this batch. A period whose budget was removed is
-- passed over.
CREATE FUNCTION billing_charge_budgets(p_batch uuid, p_holder uuid, p_records json)
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    v_period bigint;
    v_price bigint;
    v_lease bigint;
    v_left bigint;
    v_released bigint;
BEGIN
    FOR v_period, v_price IN
        SELECT b.id::bigint, sum(r.price_nano)::bigint
        FROM json_to_recordset(p_records) AS r (request_id uuid, price_nano bigint, budget_period_ids json)
        JOIN billing_usagerecord u ON u.request_id = r.request_id AND u.batch_id = p_batch
        CROSS JOIN LATERAL json_array_elements_text(r.budget_period_ids) AS b (id)
        WHERE r.budget_period_ids IS NOT NULL
        GROUP BY 1 ORDER BY 1
    LOOP
        PERFORM 1 FROM billing_budgetperiod p WHERE p.id = v_period FOR UPDATE;
        CONTINUE WHEN NOT FOUND;
        v_lease := NULL;
        SELECT l.id, l.granted - l.settled INTO v_lease, v_left
        FROM billing_budgetlease l
        WHERE l.period_id = v_period AND l.holder = p_holder AND l.state = 'open' FOR UPDATE;
        v_released := CASE WHEN v_lease IS NULL THEN 0 ELSE least(v_price, v_left) END;
        UPDATE billing_budgetlease l SET settled = l.settled + v_released WHERE l.id = v_lease;
        UPDATE billing_budgetperiod p
        SET spent = p.spent + v_price, pending = p.pending - v_released WHERE p.id = v_period;
    END LOOP;
END;
$$;
