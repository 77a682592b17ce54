-- Months of books, as settling and aggregation would have made them; `tests/factories/books.py` fills in the numbers.
-- Rates are whole nano-units per token, so that prices need no rounding here.

INSERT INTO accounts_reseller (slug, name, is_house, created_at) VALUES ('second', 'Second', false, now());
-- Half of all customers pay with paid credit: those with an even id. So that the second reseller's are among them,
-- whatever was numbered before, the i-th of all is i more than a multiple of four.
SELECT setval('accounts_organization_id_seq', (nextval('accounts_organization_id_seq') / 4 + 1) * 4);
INSERT INTO accounts_organization (reseller_id, name, created_at)
SELECT CASE WHEN i % 4 = 0 THEN (SELECT id FROM accounts_reseller WHERE NOT is_house)
    ELSE (SELECT id FROM accounts_reseller WHERE is_house) END, 'org ' || i, now()
FROM generate_series(1, {organizations}) i;
INSERT INTO accounts_apikey (organization_id, name, digest, head, tail, created_at)
SELECT id, 'key', sha256(id::text::bytea), 'sk-0000', '0000', now() FROM accounts_organization;

-- Every third model has a band over 200,000 tokens of prompt, twice as dear.
INSERT INTO billing_priceversion (reseller_id, model, kind, effective_from, currency, input, output, cache_read,
    bands, windows, tiers, override_reason, created_at)
SELECT r.id, 'model-' || m, k.kind, '2020-01-01', 'USD', (2 + m) * k.times * 1000000,
    (8 + 4 * m) * k.times * 1000000, (1 + m) * k.times * 1000000,
    CASE WHEN m % 3 = 0 THEN jsonb_build_array(jsonb_build_object('over_prompt_tokens', 200000, 'rates',
        jsonb_build_object('input', (2 + m) * k.times * 2000000, 'output', (8 + 4 * m) * k.times * 2000000,
            'cache_read', (1 + m) * k.times * 2000000))) ELSE '[]'::jsonb END, '[]', '[]', '', now()
FROM accounts_reseller r, generate_series(0, {models} - 1) m,
    (VALUES ('retail', 100::bigint), ('wholesale', 80), ('cost', 60)) k (kind, times)
WHERE r.is_house OR k.kind <> 'cost';

-- From here on as they are: no trigger opens wallets or refuses anything.
SET LOCAL session_replication_role = replica;

INSERT INTO billing_settlementbatch (id, holder, created_at, records, charge_nano, aggregated_at)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(b::text), 1, 19))::uuid,
    '00000000-0000-4000-8000-000000000001', at, {per_batch}, 0, CASE WHEN b < {aggregated} THEN at END
FROM (SELECT b, '{start}'::timestamptz + b * interval '{batch_us} microseconds' AS at
      FROM generate_series(0, {batches} - 1) b) batches;

CREATE TEMP TABLE numbered ON COMMIT DROP AS
SELECT row_number() OVER (ORDER BY created_at) - 1 AS b, id, created_at FROM billing_settlementbatch;
CREATE TEMP TABLE tenants ON COMMIT DROP AS
SELECT o.id, o.reseller_id, k.id AS key_id, row_number() OVER (ORDER BY o.id) - 1 AS nr
FROM accounts_organization o JOIN accounts_apikey k ON k.organization_id = o.id;
CREATE TEMP TABLE rates ON COMMIT DROP AS
SELECT p.id, p.reseller_id, substr(p.model, 7)::int AS m, p.kind, p.input / 1000000 AS input,
    p.output / 1000000 AS output, p.cache_read / 1000000 AS cache_read, p.bands <> '[]' AS has_band
FROM billing_priceversion p;
CREATE INDEX ON rates (m, reseller_id, kind);
ANALYZE numbered; ANALYZE tenants; ANALYZE rates;

INSERT INTO billing_usagerecord (request_id, batch_id, organization_id, reseller_id, api_key_id, model, channel,
    upstream_model, input_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, output_tokens,
    reasoning_tokens, audio_input_tokens, audio_output_tokens, image_input_tokens, charge_nano, uncollected_nano,
    cost_nano, wholesale_nano, retail_version_id, cost_version_id, wholesale_version_id, service_tier,
    usage_source, ending, is_stream, started_at, first_output_at, ended_at)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5('r' || i), 1, 19))::uuid,
    b.id, t.id, t.reseller_id, t.key_id, 'model-' || v.m, 'channel-' || v.m % 10, 'upstream-' || v.m,
    v.tokens, v.cached, 0, 0, v.output, v.reasoning, 0, 0, 0,
    CASE WHEN i % 5000 = 7 THEN p.retail / 2 ELSE p.retail END,
    CASE WHEN i % 5000 = 7 THEN p.retail - p.retail / 2 ELSE 0 END, p.cost, p.wholesale,
    r.id, c.id, w.id, '', 'reported', 'complete', i % 2 = 0, at, at, at + interval '2 seconds'
FROM (
    SELECT i, i / {per_batch} AS b, floor({organizations} * power(random(), 2))::int AS nr,
        floor(random() * 5)::int AS which, CASE WHEN random() < 0.01 THEN 250000 ELSE floor(random() * 4000)::int END
            AS tokens, floor(random() * 2000)::int AS cached, floor(random() * 800)::int AS output,
        CASE WHEN random() < 0.2 THEN floor(random() * 2000)::int ELSE 0 END AS reasoning
    FROM generate_series(0, {records} - 1) i OFFSET 0
) drawn
JOIN numbered b USING (b)
JOIN tenants t USING (nr)
CROSS JOIN LATERAL (SELECT (nr * 7 + which) % {models} AS m, tokens, cached, output, reasoning,
    b.created_at - interval '30 milliseconds' AS at) v
JOIN rates r ON r.m = v.m AND r.reseller_id = t.reseller_id AND r.kind = 'retail'
JOIN rates c ON c.m = v.m AND c.kind = 'cost'
LEFT JOIN rates w ON w.m = v.m AND w.reseller_id = t.reseller_id AND w.kind = 'wholesale'
    AND t.reseller_id <> (SELECT id FROM accounts_reseller WHERE is_house)
CROSS JOIN LATERAL (SELECT CASE WHEN r.has_band AND v.tokens + v.cached > 200000 THEN 2 ELSE 1 END AS times) band
CROSS JOIN LATERAL (SELECT
    times * (v.tokens * r.input + v.cached * r.cache_read + (v.output + v.reasoning) * r.output) AS retail,
    times * (v.tokens * c.input + v.cached * c.cache_read + (v.output + v.reasoning) * c.output) AS cost,
    coalesce(times * (v.tokens * w.input + v.cached * w.cache_read + (v.output + v.reasoning) * w.output), 0)
        AS wholesale) p;
ANALYZE billing_usagerecord;

UPDATE billing_settlementbatch b SET charge_nano = u.charge
FROM (SELECT batch_id, sum(charge_nano)::bigint AS charge FROM billing_usagerecord GROUP BY 1) u
WHERE u.batch_id = b.id;

CREATE TEMP TABLE posted ON COMMIT DROP AS
SELECT id AS batch_id, created_at, b / {batches_per_posting} AS p FROM numbered WHERE b < {aggregated};
INSERT INTO billing_ledgertransaction
    (id, scope, fact_key, digest, kind, effective_at, posted_at, reason)
SELECT md5('posting' || p)::uuid, 'op', 'usage:' || min(batch_id::text), sha256(p::text::bytea), 'usage',
    max(created_at), max(created_at), '' FROM posted GROUP BY p;
UPDATE billing_settlementbatch b SET posting_id = md5('posting' || p)::uuid FROM posted WHERE batch_id = b.id;

CREATE TEMP TABLE sold ON COMMIT DROP AS
SELECT md5('posting' || p)::uuid AS posting_id, organization_id, reseller_id, sum(charge_nano)::bigint AS charge,
    sum(uncollected_nano)::bigint AS uncollected,
    CASE WHEN organization_id % 2 = 0 THEN sum(CASE WHEN wholesale_version_id IS NULL THEN 0
        WHEN uncollected_nano > 0 THEN greatest(0, charge_nano - wholesale_nano)
        ELSE charge_nano - wholesale_nano END)::bigint ELSE 0 END AS earned
FROM billing_usagerecord u JOIN posted USING (batch_id) GROUP BY p, organization_id, reseller_id;
CREATE TEMP TABLE bought ON COMMIT DROP AS
SELECT md5('posting' || p)::uuid AS posting_id, channel, sum(cost_nano)::bigint AS cost
FROM billing_usagerecord u JOIN posted USING (batch_id) GROUP BY p, channel;
ANALYZE sold; ANALYZE bought;

CREATE TEMP TABLE lines ON COMMIT DROP AS
SELECT posting_id, CASE WHEN organization_id % 2 = 0 THEN '2010' ELSE '2020' END AS code,
    'organization:' || organization_id AS owner, charge AS amount FROM sold WHERE charge > 0
UNION ALL SELECT posting_id, '1100', 'organization:' || organization_id, uncollected FROM sold WHERE uncollected > 0
UNION ALL SELECT posting_id, '4010', 'reseller:' || reseller_id,
    -sum(uncollected + CASE WHEN organization_id % 2 = 0 THEN charge ELSE 0 END)::bigint FROM sold
    GROUP BY 1, 3
UNION ALL SELECT posting_id, '4020', 'reseller:' || reseller_id, -sum(charge)::bigint FROM sold
    WHERE organization_id % 2 = 1 GROUP BY 1, 3
UNION ALL SELECT posting_id, '5020', 'reseller:' || reseller_id, sum(earned)::bigint FROM sold GROUP BY 1, 3
UNION ALL SELECT posting_id, '2050', 'reseller:' || reseller_id, -sum(earned)::bigint FROM sold GROUP BY 1, 3
UNION ALL SELECT posting_id, '5010', 'channel:' || channel, cost FROM bought
UNION ALL SELECT posting_id, '2100', 'channel:' || channel, -cost FROM bought;
DELETE FROM lines WHERE amount = 0;

-- What came in: paid lots by top-ups, promotional ones by grants, a little more than usage took.
CREATE TEMP TABLE came_in ON COMMIT DROP AS
SELECT t.id AS organization_id, coalesce(sum(charge_nano), 0)::bigint + 1000000 + t.id AS amount
FROM tenants t LEFT JOIN billing_usagerecord u ON u.organization_id = t.id GROUP BY t.id;
INSERT INTO billing_grant (organization_id, amount_nano, kind, fact_key, reason, created_at)
SELECT organization_id, amount, 'operator', 'made:' || organization_id, 'made', '{start}' FROM came_in
WHERE organization_id % 2 = 1 ORDER BY organization_id;
CREATE TEMP TABLE arrived ON COMMIT DROP AS
SELECT md5('arrival' || c.organization_id)::uuid AS transaction_id, c.organization_id, c.amount, g.id AS grant_id
FROM came_in c LEFT JOIN billing_grant g USING (organization_id);
INSERT INTO billing_ledgertransaction (id, scope, fact_key, digest, kind, effective_at, posted_at, reason)
SELECT transaction_id, 'op', coalesce('grant:' || grant_id, 'topup:' || organization_id),
    sha256(organization_id::text::bytea), CASE WHEN grant_id IS NULL THEN 'top_up' ELSE 'grant' END,
    '{start}', '{start}', '' FROM arrived;
INSERT INTO lines
SELECT transaction_id, CASE WHEN grant_id IS NULL THEN '1010' ELSE '5100' END,
    CASE WHEN grant_id IS NULL THEN 'operator' ELSE 'campaign:operator' END, amount FROM arrived
UNION ALL SELECT transaction_id, CASE WHEN grant_id IS NULL THEN '2010' ELSE '2020' END,
    'organization:' || organization_id, -amount FROM arrived;
INSERT INTO billing_lot (organization_id, kind, origin_id, currency, original, remaining, priority, opened_at)
SELECT organization_id, CASE WHEN grant_id IS NULL THEN 'paid' ELSE 'promotional' END, transaction_id, 'USD',
    amount, amount, 100, '{start}' FROM arrived ORDER BY organization_id;
INSERT INTO billing_lotentry (lot_id, transaction_id, amount)
SELECT id, origin_id, original FROM billing_lot;
INSERT INTO billing_lotentry (lot_id, transaction_id, amount)
SELECT l.id, s.posting_id, -s.charge FROM sold s JOIN billing_lot l USING (organization_id) WHERE s.charge > 0;
UPDATE billing_lot l SET remaining = e.remaining
FROM (SELECT lot_id, sum(amount)::bigint AS remaining FROM billing_lotentry GROUP BY 1) e WHERE e.lot_id = l.id;

INSERT INTO billing_ledgeraccount (scope, code, owner, currency, balance, is_hot)
SELECT DISTINCT 'op', code, owner, 'USD', 0, code IN ('2050', '2100') OR code ~ '^[45]' FROM lines;
INSERT INTO billing_ledgerentry (transaction_id, account_id, amount)
SELECT l.posting_id, a.id, l.amount FROM lines l
JOIN billing_ledgeraccount a ON (a.code, a.owner) = (l.code, l.owner);
INSERT INTO billing_ledgerunfolded (entry_id, account_id, amount)
SELECT e.id, e.account_id, e.amount FROM billing_ledgerentry e
JOIN billing_ledgeraccount a ON a.id = e.account_id AND a.is_hot ORDER BY e.id DESC LIMIT 100;
UPDATE billing_ledgeraccount a SET balance = e.amount - coalesce(f.amount, 0)
FROM (SELECT account_id, sum(amount)::bigint AS amount FROM billing_ledgerentry GROUP BY 1) e
LEFT JOIN (SELECT account_id, sum(amount)::bigint AS amount FROM billing_ledgerunfolded GROUP BY 1) f
    USING (account_id)
WHERE e.account_id = a.id;

UPDATE billing_wallet w SET posted = c.amount - coalesce(u.charge, 0), receivable = coalesce(u.uncollected, 0),
    status = CASE WHEN u.uncollected > 0 THEN 'blocked' ELSE 'active' END
FROM came_in c LEFT JOIN (
    SELECT organization_id, sum(charge_nano)::bigint AS charge, sum(uncollected_nano)::bigint AS uncollected
    FROM billing_usagerecord GROUP BY 1) u USING (organization_id)
WHERE c.organization_id = w.organization_id;
INSERT INTO billing_lease (wallet_id, holder, granted, settled, state, opened_at, expires_at)
SELECT organization_id, '00000000-0000-4000-8000-000000000001', 1000, 400, 'open', now(), now()
FROM billing_wallet WHERE posted > 600 ORDER BY organization_id LIMIT 10;
UPDATE billing_wallet w SET pending = 600 FROM billing_lease l WHERE l.wallet_id = w.organization_id;

INSERT INTO billing_usagerollup (organization_id, reseller_id, api_key_id, model, bucket, requests,
    prompt_tokens, completion_tokens, charge_nano, cost_nano)
SELECT organization_id, reseller_id, api_key_id, model, date_bin('15 minutes', started_at, 'epoch'), count(*),
    sum(input_tokens + cache_read_tokens), sum(output_tokens + reasoning_tokens), sum(charge_nano), sum(cost_nano)
FROM billing_usagerecord JOIN posted USING (batch_id) GROUP BY 1, 2, 3, 4, 5;

SET LOCAL session_replication_role = origin;
