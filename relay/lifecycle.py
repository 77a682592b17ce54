"""Once a day: do vendors still offer what we route to, and until when?"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping

import structlog

from accounts.alerts import raise_alert
from accounts.models import AlertSeverity
from common.sealing import SealBroken
from relay.errors import RelayError, UpstreamFailed
from relay.model_lists import Finding, ListedModel, RoutedModel, compare, read_model_list
from relay.models import Channel, LifecycleState, Route, Vendor
from relay.transport import HeaderPairs, UpstreamBroken, UpstreamClient, UpstreamNotReached
from relay.upstream import UpstreamAnswer
from relay.vendors.openai_shaped import request_headers

LIST_S = 30.0
LIST_PATHS = {Vendor.ANTHROPIC: "/v1/models?limit=1000", Vendor.GEMINI: "/v1beta/models?pageSize=1000"}
OPENAI_SHAPED_PATH = "/models"

log = structlog.get_logger(__name__)


def check_model_lists() -> int:
    """Compare every channel's list with its routes and alert operators; returns how many findings.

    A list that cannot be had says nothing about models: it is logged, and tomorrow is another day.
    """
    # Azure's list has models, its routes have deployments, which customers of Azure name as they like.
    asked = Channel.objects.filter(is_enabled=True, sealed_api_keys__isnull=False)
    channels = list(asked.exclude(vendor=Vendor.AZURE))
    routes = _routes(channels)
    lists = asyncio.run(_fetch_all([channel for channel in channels if routes[channel.pk]]))
    findings = 0
    for channel in channels:
        for finding in compare(routes[channel.pk], lists.get(channel.pk, {})):
            _tell(channel, finding)
            findings += 1
    return findings


def _routes(channels: Iterable[Channel]) -> dict[int, list[RoutedModel]]:
    routed: dict[int, list[RoutedModel]] = defaultdict(list)
    offered = Route.objects.filter(channel__in=list(channels), model__is_enabled=True).exclude(
        model__lifecycle=LifecycleState.RETIRED
    )
    for route in offered.select_related("model"):
        routed[route.channel_id].append(
            RoutedModel(route.model.name, route.upstream_model, route.model.shutdown_on)
        )
    return routed


async def _fetch_all(channels: Iterable[Channel]) -> Mapping[int, dict[str, ListedModel]]:
    client = UpstreamClient()
    try:
        return {channel.pk: await _fetch(client, channel) for channel in channels}
    finally:
        await client.aclose()


async def _fetch(client: UpstreamClient, channel: Channel) -> dict[str, ListedModel]:
    """Empty where the list cannot be had."""
    path = LIST_PATHS.get(Vendor(channel.vendor), OPENAI_SHAPED_PATH)
    try:
        async with asyncio.timeout(LIST_S):
            response = await client.get(channel.base_url.rstrip("/") + path, _headers(channel))
            async with UpstreamAnswer(response) as answer:
                payload = await answer.read_all()
        if response.status != 200:
            raise UpstreamFailed(f"The vendor answered {response.status}.")
        return read_model_list(payload)
    except (RelayError, SealBroken, UpstreamBroken, UpstreamNotReached, TimeoutError) as error:
        log.warning("model_list_not_read", channel=channel.name, error=type(error).__name__)
        return {}


def _headers(channel: Channel) -> HeaderPairs:
    """Raises SealBroken."""
    key = channel.open_api_keys()[0]
    own = {
        Vendor.ANTHROPIC: (("x-api-key", key), ("anthropic-version", "2023-06-01")),
        Vendor.GEMINI: (("x-goog-api-key", key),),
    }
    return own.get(Vendor(channel.vendor)) or request_headers(key, channel.vendor)


def _tell(channel: Channel, finding: Finding) -> None:
    raise_alert(
        kind=finding.kind,
        subject=f"{channel.name}/{finding.upstream_model}",
        message=finding.message,
        severity=AlertSeverity.CRITICAL if finding.is_urgent else AlertSeverity.WARNING,
    )
