"""What each request must have cost, worked out in SQL from its tokens: nothing of the Python that charged it.

A price version becomes rows of rates: one for each service tier and time window, times one for each context
band. Of these exactly one holds for a request.
"""

from django.utils.translation import gettext_noop as _

from billing.books.rules import Search, search

# A class that is not priced by itself costs what the other one does, worked out in this order.
FOLLOWS = {
    "cache_read": "input",
    "cache_write_5m": "input",
    "cache_write_1h": "cache_write_5m",
    "reasoning": "output",
    "audio_input": "input",
    "audio_output": "output",
    "image_input": "input",
}
TOKENS = ("input", "output", *FOLLOWS)
CLASSES = (*TOKENS, "per_request")
PROMPT = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "audio_input", "image_input")
MOST = 2**63 - 1
SAFE = 2**62
SAFE_PRICE = 4 * 10**12
WEEK_MINUTES = 7 * 1440
MONDAY = 3 * 1440  # 1970 began on a Thursday


def _over(base: str, given: str) -> str:
    """Rates of `base` with those of the JSON object `given` in their place. Whatever is left out of what
    follows another class follows it anew."""
    return ", ".join(
        f"({given} ->> '{name}')::bigint AS {name}"
        if name in FOLLOWS
        else f"coalesce(({given} ->> '{name}')::bigint, {base}.{name}) AS {name}"
        for name in CLASSES
    )


def _complete(name: str) -> str:
    follows = FOLLOWS.get(name)
    return f"coalesce(b.{name}, {_complete(follows)})" if follows else f"coalesce(b.{name}, 0)"


# The default tier at all hours (hours 0), its windows (1, 2, …), and the other tiers; without bands.
SEGMENTS = f"""
SELECT v.id, v.model, v.kind, v.tiers, '' AS tier, 0 AS hours, v.bands,
    {", ".join(f"v.{name}" for name in CLASSES)}
FROM billing_priceversion v
UNION ALL
SELECT v.id, v.model, v.kind, v.tiers, '', w.nr::int, coalesce(w.it -> 'bands', '[]'),
    {_over("v", "(w.it -> 'rates')")}
FROM billing_priceversion v, jsonb_array_elements(v.windows) WITH ORDINALITY w (it, nr)
UNION ALL
SELECT * FROM (
    SELECT DISTINCT ON (v.id, t.it ->> 'tier') v.id, v.model, v.kind, v.tiers,
        t.it ->> 'tier', 0, coalesce(t.it -> 'bands', '[]'), {_over("v", "(t.it -> 'rates')")}
    FROM billing_priceversion v, jsonb_array_elements(v.tiers) WITH ORDINALITY t (it, nr)
    ORDER BY v.id, t.it ->> 'tier', t.nr) tiers
"""  # noqa: S608 - names of this module

# The week of each version, in minutes since Monday 00:00 UTC, cut wherever a window begins or ends. Of the
# windows open at a moment the first counts; one may end on the day after it began.
WEEK = f"""
SELECT id, since, lead(since, 1, {WEEK_MINUTES}) OVER (PARTITION BY id ORDER BY since) AS until,
    coalesce((
        SELECT min(w.nr) FROM jsonb_array_elements(windows) WITH ORDINALITY w (it, nr)
        WHERE CASE
            WHEN (w.it ->> 'from_minute')::int < (w.it ->> 'to_minute')::int THEN w.it -> 'days' ? day
                AND minute >= (w.it ->> 'from_minute')::int AND minute < (w.it ->> 'to_minute')::int
            WHEN minute >= (w.it ->> 'from_minute')::int THEN w.it -> 'days' ? day
            ELSE minute < (w.it ->> 'to_minute')::int AND w.it -> 'days' ? day_before END), 0) AS hours
FROM (
    SELECT DISTINCT v.id, v.windows, cut.since, mod(cut.since, 1440) AS minute,
        (ARRAY['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'])[cut.since / 1440 + 1] AS day,
        (ARRAY['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'])[cut.since / 1440 + 1] AS day_before
    FROM billing_priceversion v
    LEFT JOIN LATERAL jsonb_array_elements(v.windows) w ON true
    CROSS JOIN generate_series(0, 6) day
    CROSS JOIN LATERAL (VALUES (0), (day * 1440), (day * 1440 + (w ->> 'from_minute')::int),
        (day * 1440 + (w ->> 'to_minute')::int)) cut (since)
    WHERE cut.since < {WEEK_MINUTES} AND (w IS NOT NULL OR cut.since = 0)
) cuts
"""  # noqa: S608 - names of this module

# `above` < prompt tokens <= `up_to`. `named` are the tiers that the version prices by themselves; one without
# any, and without windows, `is_plain`. Below `safe_tokens` of each class, 64 bits hold the sum.
RATES = f"""
SELECT b.id, b.model, b.kind, b.tier, b.tiers = '[]' AND k.until - k.since = {WEEK_MINUTES} AS is_plain,
    b.above, coalesce(k.since, 0) AS since,
    coalesce(k.until, {WEEK_MINUTES}) AS until,
    ARRAY(SELECT t ->> 'tier' FROM jsonb_array_elements(b.tiers) t) AS named,
    coalesce(b.next, {MOST}) AS up_to,
    {", ".join(f"{_complete(name)} AS {name}" for name in CLASSES)},
    trunc({SAFE} / greatest(1, {" + ".join(f"{_complete(name)}::numeric" for name in TOKENS)})) AS safe_tokens
FROM (
    SELECT *, lead(above) OVER (PARTITION BY id, tier, hours ORDER BY above, nr) AS next
    FROM (
        SELECT s.id, s.model, s.kind, s.tiers, s.tier, s.hours, -1::bigint AS above, 0::bigint AS nr,
            {", ".join(f"s.{name}" for name in CLASSES)}
        FROM ({SEGMENTS}) s
        UNION ALL
        SELECT s.id, s.model, s.kind, s.tiers, s.tier, s.hours,
            (b.it ->> 'over_prompt_tokens')::bigint, b.nr, {_over("s", "(b.it -> 'rates')")}
        FROM ({SEGMENTS}) s, jsonb_array_elements(s.bands) WITH ORDINALITY b (it, nr)
    ) banded
) b
LEFT JOIN ({WEEK}) k ON k.id = b.id AND k.hours = b.hours AND b.tier = ''
WHERE b.tier <> '' OR k.id IS NOT NULL
"""  # noqa: S608 - names of this module

# Worked out once and handed to the long query, which uses them for each of the three prices of a request.
ALL_RATES = f"SELECT coalesce(json_agg(r), '[]')::text FROM ({RATES}) r"  # noqa: S608 - names of this module
GIVEN_RATES = f"""
SELECT * FROM json_to_recordset(%(given)s) AS x (id bigint, model text, kind text, tier text,
    is_plain boolean, since int, until int, above bigint, named text[], up_to bigint, safe_tokens bigint,
    {", ".join(f"{name} bigint" for name in CLASSES)})
"""  # noqa: S608 - names of this module


def _holds(r: str, kind: str) -> str:
    """The row of rates `r` is the one for request `u` at its version of this kind, which is of its model."""
    return f"""{r}.id = u.{kind}_version_id AND {r}.kind = '{kind}' AND {r}.model = u.model
        AND u.prompt > {r}.above AND u.prompt <= {r}.up_to
        AND ({r}.is_plain OR (u.minute >= {r}.since AND u.minute < {r}.until
            AND {r}.tier = CASE WHEN u.service_tier = ANY ({r}.named) THEN u.service_tier ELSE '' END))"""


def _total(r: str, kind: str = "bigint") -> str:
    return " + ".join(f"u.{name}_tokens::{kind} * {r}.{name}" for name in TOKENS)


def _is_due(r: str, price: str) -> str:
    """Whether `price` is the total by the rates of `r`, rounded half to even: at most half a unit away, and
    even where it is just a half. In 64 bits where nothing can go beyond them, else in any number."""
    rounded = f"({price} - {r}.per_request)"

    def near(kind: str) -> str:
        far = f"abs({_total(r, kind)} - {rounded}::{kind} * 1000000)"
        return f"({far} < 500000 OR ({far} = 500000 AND mod({rounded}, 2) = 0))"

    return f"""CASE
        WHEN u.most <= {r}.safe_tokens AND {rounded} BETWEEN 0 AND {SAFE_PRICE} THEN {near("bigint")}
        ELSE {near("numeric")} END"""


def _due(r: str) -> str:
    """The price itself, for showing it."""
    total = f"({_total(r, 'numeric')})"
    return f"""div({total}, 1000000) + {r}.per_request + CASE
        WHEN mod({total}, 1000000) > 500000
            OR (mod({total}, 1000000) = 500000 AND mod(div({total}, 1000000), 2) = 1) THEN 1 ELSE 0 END"""


PRICES: Search = search(
    "prices",
    _("A request cost its tokens at its model's price versions: the customer, the reseller, the house."),
    f"""
    SELECT u.request_id AS request, u.price AS price_nano, {_due("r")} AS price_due_nano,
        u.cost_nano, {_due("c")} AS cost_due_nano, u.wholesale_nano, {_due("w")} AS wholesale_due_nano
    FROM (
        SELECT *, charge_nano + uncollected_nano AS price,
            {" + ".join(f"{name}_tokens" for name in PROMPT)} AS prompt,
            greatest({", ".join(f"{name}_tokens" for name in TOKENS)}) AS most,
            mod(floor(date_part('epoch', started_at) / 60)::bigint + {MONDAY}, {WEEK_MINUTES}) AS minute
        FROM billing_usagerecord
    ) u
    LEFT JOIN ({GIVEN_RATES}) r ON {_holds("r", "retail")}
    LEFT JOIN ({GIVEN_RATES}) c ON {_holds("c", "cost")}
    LEFT JOIN ({GIVEN_RATES}) w ON {_holds("w", "wholesale")}
    WHERE ({_is_due("r", "u.price")}) IS NOT TRUE
        OR (CASE WHEN u.cost_version_id IS NULL THEN u.cost_nano = 0
            ELSE {_is_due("c", "u.cost_nano")} END) IS NOT TRUE
        OR (CASE WHEN u.wholesale_version_id IS NULL THEN u.wholesale_nano = 0
            ELSE {_is_due("w", "u.wholesale_nano")} END) IS NOT TRUE
    """,  # noqa: S608 - a query of this module
    given=ALL_RATES,
)

SEARCHES: tuple[Search, ...] = (PRICES,)
