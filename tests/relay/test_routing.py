"""Which target a request takes."""

from collections import Counter

from relay.routing import Target, choose_target


def target(channel: str, *, priority: int = 10, weight: int = 1) -> Target:
    return Target(
        channel=channel,
        vendor="compatible",
        base_url="http://127.0.0.1/v1",
        api_keys=("secret",),
        upstream_model="m",
        priority=priority,
        weight=weight,
        timeout_first_token_s=30,
    )


def test_the_lowest_priority_number_wins() -> None:
    chosen = choose_target([target("second", priority=20, weight=99), target("first", priority=1)], 0.99)
    assert chosen.channel == "first"


def test_equals_share_by_weight() -> None:
    targets = [target("a", weight=1), target("b", weight=3)]
    shares = Counter(choose_target(targets, number / 1000).channel for number in range(1000))
    assert shares == {"a": 250, "b": 750}


def test_a_weight_of_nothing_everywhere_still_chooses() -> None:
    assert choose_target([target("a", weight=0), target("b", weight=0)], 0.5).channel == "b"


def test_a_target_hides_its_keys() -> None:
    assert "secret" not in repr(target("a"))
