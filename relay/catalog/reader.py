"""A catalogue file's text to a Catalog, or one CatalogError that says what to correct.

Pure: the environment is handed in and nothing is fetched. `default.toml` beside this file describes
every key.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from relay.capabilities import ModelTraits, TraitsInvalid, read_traits
from relay.catalog.prices import read_rate_card
from relay.catalog.specs import (
    BandSpec,
    Catalog,
    ChannelSpec,
    Lifecycle,
    LifecycleState,
    ModelSpec,
    RateCard,
    RouteSpec,
    WindowSpec,
)
from relay.catalog.tables import CatalogError, Table, refuse_twins

__all__ = [
    "DEFAULT_CATALOG",
    "VENDORS",
    "BandSpec",
    "Catalog",
    "CatalogError",
    "ChannelSpec",
    "Lifecycle",
    "LifecycleState",
    "ModelSpec",
    "RateCard",
    "RouteSpec",
    "WindowSpec",
    "read_catalog",
]

DEFAULT_CATALOG = Path(__file__).with_name("default.toml")

VENDORS = (
    "openai",
    "azure",
    "anthropic",
    "gemini",
    "deepseek",
    "xai",
    "qwen",
    "llama",
    "openrouter",
    "compatible",
)
TOKEN_FIELDS = ("max_tokens", "max_completion_tokens")
CREDENTIAL_KEYS = ("api_key", "api_keys", "api_key_env")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,119}")
NAME_RULE = "up to 120 letters, digits and . _ : / @ + -"
UPSTREAM = re.compile(r"[\x21-\x7e]{1,200}")
UPSTREAM_RULE = "the vendor's model id, up to 200 characters without spaces"
OWNER = re.compile(r".{1,60}")
OWNER_RULE = "a name of up to 60 characters"
CAPABILITY = re.compile(r"[a-z][a-z0-9_]*")
VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
VARIABLE_RULE = "the name of an environment variable, in capitals"
# Visible ASCII: what may stand in a header or a request line without changing it.
VISIBLE = re.compile(r"[\x21-\x7e]{1,500}")
CREDENTIAL_RULE = "a credential of up to 500 visible ASCII characters"
URL_RULE = "an http(s) address without credentials, query or fragment"


def read_catalog(text: str, environ: Mapping[str, str]) -> Catalog:
    """Raises CatalogError. `environ` answers the `…_env` keys; an empty variable is unset."""
    root = Table(_parse(text))
    channel_tables, model_tables = root.tables("channel"), root.tables("model")
    root.finish()
    channels = tuple(_read_channel(table, environ) for table in channel_tables)
    refuse_twins([channel.name for channel in channels], 'channel "{}"'.format)
    names = frozenset(channel.name for channel in channels)
    models = tuple(_read_model(table, names) for table in model_tables)
    refuse_twins([model.id for model in models], 'model "{}"'.format)
    return Catalog(channels=channels, models=models)


def _parse(text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CatalogError(f"The catalogue is not TOML: {error}") from error


def _read_channel(table: Table, environ: Mapping[str, str]) -> ChannelSpec:
    name = table.matching("name", NAME, NAME_RULE)
    table.place = f'channel "{name}"'
    channel = ChannelSpec(
        name=name,
        vendor=table.choice("vendor", VENDORS),
        base_url=_read_base_url(table, environ),
        api_keys=_read_api_keys(table, environ),
        priority=table.integer("priority", minimum=0, default=10),
        weight=table.integer("weight", minimum=1, default=1),
        timeout_first_token_s=table.seconds("timeout_first_token_s", default=30),
        max_concurrency=table.integer("max_concurrency", minimum=1, default=500),
    )
    table.finish()
    return channel


def _read_base_url(table: Table, environ: Mapping[str, str]) -> str:
    written = table.text("base_url", expected=URL_RULE)
    replaced = _from_environment(table, "base_url_env", environ)
    url = replaced or written
    if not _is_plain_url(url):
        raise table.mistake("base_url_env" if replaced else "base_url", URL_RULE)
    return url.rstrip("/")


def _is_plain_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        has_place = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    is_web = parts.scheme in {"http", "https"} and VISIBLE.fullmatch(url) is not None
    return is_web and has_place and not ("@" in parts.netloc or "?" in url or "#" in url)


def _read_api_keys(table: Table, environ: Mapping[str, str]) -> tuple[str, ...]:
    given = [key for key in CREDENTIAL_KEYS if table.has(key)]
    if len(given) > 1:
        raise table.mistake(given[1], "only one of " + ", ".join(CREDENTIAL_KEYS))
    single = table.optional_text("api_key", expected=CREDENTIAL_RULE)
    named = _from_environment(table, "api_key_env", environ)
    several = table.texts("api_keys", "a list of credentials")
    keys = (*filter(None, (single, named)), *several)
    if not all(VISIBLE.fullmatch(key) for key in keys):
        raise table.mistake(given[0], CREDENTIAL_RULE)
    return keys


def _from_environment(table: Table, key: str, environ: Mapping[str, str]) -> str | None:
    variable = table.optional_matching(key, VARIABLE, VARIABLE_RULE)
    return None if variable is None else environ.get(variable, "").strip() or None


def _read_model(table: Table, channels: frozenset[str]) -> ModelSpec:
    name = table.matching("id", NAME, NAME_RULE)
    table.place = f'model "{name}"'
    model = ModelSpec(
        id=name,
        owned_by=table.optional_matching("owned_by", OWNER, OWNER_RULE) or "unknown",
        routes=_read_routes(table, channels),
        context_window=table.integer("context_window", minimum=1),
        max_output_tokens=table.integer("max_output_tokens", minimum=1),
        max_tokens_field=table.choice("max_tokens_field", TOKEN_FIELDS, default=TOKEN_FIELDS[0]),
        capabilities=_read_capabilities(table),
        traits=_read_traits(table),
        lifecycle=_read_lifecycle(table.table("lifecycle"), name),
        price=_read_card(table, "price"),
        cost=_read_card(table, "cost"),
        wholesale=_read_card(table, "wholesale"),
    )
    table.finish()
    if model.max_output_tokens > model.context_window:
        raise table.mistake("max_output_tokens", "no more than context_window")
    return model


def _read_routes(table: Table, channels: frozenset[str]) -> tuple[RouteSpec, ...]:
    routes = tuple(_read_route(route, channels) for route in table.tables("routes"))
    if not routes:
        raise table.mistake("routes", "at least one { channel, upstream_model }")
    if len(set(routes)) < len(routes):
        raise table.mistake("routes", "each pair of channel and upstream_model only once")
    return routes


def _read_route(table: Table, channels: frozenset[str]) -> RouteSpec:
    route = RouteSpec(
        channel=table.text("channel", expected="the name of a channel"),
        upstream_model=table.matching("upstream_model", UPSTREAM, UPSTREAM_RULE),
    )
    table.finish()
    if route.channel not in channels:
        raise table.mistake("channel", "the name of a channel in this file")
    return route


def _read_capabilities(table: Table) -> tuple[str, ...]:
    expected = 'a list of names like "json_schema"'
    names = table.texts("capabilities", expected)
    if not all(CAPABILITY.fullmatch(name) for name in names):
        raise table.mistake("capabilities", expected)
    return names


def _read_traits(table: Table) -> Mapping[str, object]:
    """As they are written; what they come to also depends on the vendor. See `relay.capabilities`."""
    traits = table.get("traits")
    try:
        read_traits(traits if isinstance(traits, dict) else {"": traits} if traits else {}, ModelTraits())
    except TraitsInvalid as error:
        raise table.mistake("traits", f"a table of traits ({error})") from error
    return traits if isinstance(traits, dict) else {}


def _read_lifecycle(table: Table | None, model: str) -> Lifecycle:
    if table is None:
        return Lifecycle()
    lifecycle = Lifecycle(
        state=LifecycleState(table.choice("state", [state.value for state in LifecycleState])),
        shutdown=table.day("shutdown"),
        successor=table.optional_text("successor", expected="the id of a model"),
    )
    table.finish()
    if lifecycle.successor == model:
        raise table.mistake("successor", "the id of another model")
    return lifecycle


def _read_card(table: Table, key: str) -> RateCard | None:
    card = table.table(key)
    return None if card is None else read_rate_card(card)
