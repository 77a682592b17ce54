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
SELECT v.id, v.model, v.kind, v.tiers, v.windows, '' AS tier, 0 AS hours, v.bands,
    {", ".join(f"v.{name}" for name in CLASSES)}
FROM billing_priceversion v
UNION ALL
SELECT v.id, v.model, v.kind, v.tiers, v.windows, '', w.nr::int, coalesce(w.it -> 'bands', '[]'),
    {_over("v", "(w.it -> 'rates')")}
FROM billing_priceversion v, jsonb_array_elements(v.windows) WITH ORDINALITY w (it, nr)
UNION ALL
SELECT * FROM (
    SELECT DISTINCT ON (v.id, t.it ->> 'tier') v.id, v.model, v.kind, v.tiers, v.windows,
        t.it ->> 'tier', 0,
        coalesce(t.it -> 'bands', '[]'), {_over("v", "(t.it -> 'rates')")}
    FROM billing_priceversion v, jsonb_array_elements(v.tiers) WITH ORDINALITY t (it, nr)
    ORDER BY v.id, t.it ->> 'tier', t.nr) tiers
"""  # noqa: S608 - names of this module

# `above` < prompt tokens <= `up_to`. `named` are the tiers that the version prices by themselves. Below
# `safe_tokens` of each class, 64 bits hold the sum.
RATES = f"""
SELECT b.id, b.model, b.kind, b.tier, b.hours, nullif(b.windows, '[]') AS windows, b.above,
    ARRAY(SELECT t ->> 'tier' FROM jsonb_array_elements(b.tiers) t) AS named,
    coalesce(lead(b.above) OVER (PARTITION BY b.id, b.tier, b.hours ORDER BY b.above, b.nr), {MOST}) AS up_to,
    {", ".join(f"{_complete(name)} AS {name}" for name in CLASSES)},
    trunc({MOST} / greatest(1, {" + ".join(f"{_complete(name)}::numeric" for name in TOKENS)})) AS safe_tokens
FROM (
    SELECT s.id, s.model, s.kind, s.tiers, s.windows, s.tier, s.hours, -1::bigint AS above, 0::bigint AS nr,
        {", ".join(f"s.{name}" for name in CLASSES)}
    FROM ({SEGMENTS}) s
    UNION ALL
    SELECT s.id, s.model, s.kind, s.tiers, s.windows, s.tier, s.hours,
        (b.it ->> 'over_prompt_tokens')::bigint, b.nr,
        {_over("s", "(b.it -> 'rates')")}
    FROM ({SEGMENTS}) s, jsonb_array_elements(s.bands) WITH ORDINALITY b (it, nr)
) b
"""  # noqa: S608 - names of this module

# Worked out once and handed to the long query, which uses them for each of the three prices of a request.
ALL_RATES = f"SELECT coalesce(json_agg(r), '[]')::text FROM ({RATES}) r"  # noqa: S608 - names of this module
GIVEN_RATES = f"""
SELECT * FROM json_to_recordset(%(given)s) AS x (id bigint, model text, kind text, tier text, hours int,
    windows jsonb, above bigint, named text[], up_to bigint, safe_tokens bigint,
    {", ".join(f"{name} bigint" for name in CLASSES)})
"""  # noqa: S608 - names of this module

# The first window of version r that the start of request u falls into; one may end on the next day.
OPEN_WINDOW = """
SELECT min(w.nr) FROM jsonb_array_elements({r}.windows) WITH ORDINALITY w (it, nr)
CROSS JOIN (SELECT u.started_at AT TIME ZONE 'UTC' AS at) moment
CROSS JOIN LATERAL (SELECT extract(hour FROM at)::int * 60 + extract(minute FROM at)::int AS minute,
    (ARRAY['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'])[extract(isodow FROM at)] AS day,
    (ARRAY['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'])[extract(isodow FROM at)] AS day_before) clock
WHERE CASE
    WHEN (w.it ->> 'from_minute')::int < (w.it ->> 'to_minute')::int THEN w.it -> 'days' ? day
        AND minute >= (w.it ->> 'from_minute')::int AND minute < (w.it ->> 'to_minute')::int
    WHEN minute >= (w.it ->> 'from_minute')::int THEN w.it -> 'days' ? day
    ELSE minute < (w.it ->> 'to_minute')::int AND w.it -> 'days' ? day_before END
"""


def _holds(r: str, kind: str) -> str:
    """The row of rates `r` is the one for request `u` at its version of this kind, which is of its model."""
    tier = f"CASE WHEN u.service_tier = ANY ({r}.named) THEN u.service_tier ELSE '' END"
    return f"""{r}.id = u.{kind}_version_id AND {r}.kind = '{kind}' AND {r}.model = u.model
        AND u.prompt > {r}.above AND u.prompt <= {r}.up_to AND {r}.tier = {tier}
        AND {r}.hours = CASE WHEN {r}.windows IS NULL OR {tier} <> '' THEN 0
            ELSE coalesce(({OPEN_WINDOW.format(r=r)}), 0) END"""


def _rounded(r: str) -> str:
    """Half to even. In 64 bits where no token count of the request can go beyond them, else in any number."""
    terms = [(f"u.{name}_tokens", f"{r}.{name}") for name in TOKENS]
    fast = " + ".join(f"{tokens} * {rate}" for tokens, rate in terms)
    safe = " + ".join(f"{tokens}::numeric * {rate}" for tokens, rate in terms)
    return f"""CASE WHEN u.most <= {r}.safe_tokens THEN (SELECT x.total / 1000000 + CASE
            WHEN mod(x.total, 1000000) > 500000
                OR (mod(x.total, 1000000) = 500000 AND mod(x.total / 1000000, 2) = 1) THEN 1
            ELSE 0 END FROM (SELECT {fast} AS total) x)
        ELSE (SELECT div(x.total, 1000000) + CASE
            WHEN mod(x.total, 1000000) > 500000
                OR (mod(x.total, 1000000) = 500000 AND mod(div(x.total, 1000000), 2) = 1) THEN 1
            ELSE 0 END FROM (SELECT {safe} AS total) x)
        END + {r}.per_request"""  # noqa: S608 - names of this module


PRICES: Search = search(
    "prices",
    _("A request cost its tokens at its model's price versions: the customer, the reseller, the house."),
    f"""
    SELECT request_id AS request, charge_nano + uncollected_nano AS price_nano, retail AS price_due_nano,
        cost_nano, cost AS cost_due_nano, wholesale_nano, wholesale AS wholesale_due_nano
    FROM (
        SELECT u.request_id, u.charge_nano, u.uncollected_nano, u.cost_nano, u.wholesale_nano,
            {_rounded("r")} AS retail,
            CASE WHEN u.cost_version_id IS NULL THEN 0 ELSE {_rounded("c")} END AS cost,
            CASE WHEN u.wholesale_version_id IS NULL THEN 0 ELSE {_rounded("w")} END AS wholesale
        FROM (
            SELECT *, {" + ".join(f"{name}_tokens" for name in PROMPT)} AS prompt,
                greatest({", ".join(f"{name}_tokens" for name in TOKENS)}) AS most
            FROM billing_usagerecord
        ) u
        LEFT JOIN ({GIVEN_RATES}) r ON {_holds("r", "retail")}
        LEFT JOIN ({GIVEN_RATES}) c ON {_holds("c", "cost")}
        LEFT JOIN ({GIVEN_RATES}) w ON {_holds("w", "wholesale")}
    ) priced
    WHERE charge_nano + uncollected_nano IS DISTINCT FROM retail OR cost_nano IS DISTINCT FROM cost
        OR wholesale_nano IS DISTINCT FROM wholesale
    """,  # noqa: S608 - a query of this module
    given=ALL_RATES,
)

SEARCHES: tuple[Search, ...] = (PRICES,)
