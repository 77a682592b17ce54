"""What comes to the webhook: who may speak, what is kept, when it is looked at again."""

import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.utils import timezone
from stripe import WebhookSignature

from accounts.models import OperatorAlert
from billing.models import SavedCard, StripeEvent, TopUp, UnmatchedPayment
from billing.stripe import catch_up
from billing.stripe.client import stripe_client
from billing.stripe.inbox import HANDLERS, forget_payloads, process_event, sweep_inbox
from billing.top_ups import payment_page
from tests.doubles.stripe.double import StripeDouble
from tests.factories.credit import assert_money_adds_up
from tests.factories.money import Payer
from tests.factories.stripe import Post, fresh, open_page, session_of

pytestmark = pytest.mark.django_db

CENT = 10**7


def make_event(**values: Any) -> dict[str, Any]:
    return {
        "id": f"evt_{uuid4().hex}",
        "object": "event",
        "type": "payment_intent.succeeded",
        "livemode": False,
        "created": int(timezone.now().timestamp()),
        "data": {"object": {"id": "pi_nobody", "object": "payment_intent"}},
        **values,
    }


def alerts() -> dict[str, int]:
    return dict(OperatorAlert.objects.filter(kind="stripe_webhook_refused").values_list("subject", "count"))


def test_an_event_is_kept_once_however_often_it_comes(post: Post) -> None:
    event = make_event()
    assert [post.send(event) for _ in range(3)] == [200, 200, 200]
    [row] = StripeEvent.objects.all()
    assert (row.event_id, row.type, row.object_id, row.state) == (
        event["id"],
        "payment_intent.succeeded",
        "pi_nobody",
        "waiting",
    )


def test_both_secrets_count_while_one_is_rotated(post: Post, settings: Any) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = ("whsec_new", "whsec_old")
    assert [post.send(make_event(), secret=secret) for secret in ("whsec_new", "whsec_old")] == [200, 200]


@pytest.mark.parametrize("forgery", ["another secret", "changed body", "no signature", "old", "nonsense"])
def test_what_stripe_did_not_say_is_refused_and_counted(post: Post, forgery: str) -> None:
    body = json.dumps(make_event())
    good = WebhookSignature.generate_signature_header(body, post.stripe.secret)
    old = WebhookSignature.generate_signature_header(body, post.stripe.secret, 1_700_000_000)
    other = WebhookSignature.generate_signature_header(body, "whsec_other")
    sent = {
        "another secret": (body, other),
        "changed body": (body.replace("pi_nobody", "pi_anybody"), good),
        "no signature": (body, ""),
        "old": (body, old),
        "nonsense": (body, "t=x,v1=\x00"),
    }[forgery]
    assert post.send_bytes(sent[0].encode(), sent[1]) == 400
    assert post.send_bytes(sent[0].encode(), sent[1]) == 400
    assert not StripeEvent.objects.exists()
    assert alerts() == {"signature": 2}


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b"null", b"\xff\xfe", b'{"id": "evt_1", "data": 1}']
)
def test_what_is_no_event_is_refused(post: Post, body: bytes) -> None:
    signature = WebhookSignature.generate_signature_header(body.decode("latin-1"), post.stripe.secret)
    assert post.send_bytes(body, signature) == 400
    assert not StripeEvent.objects.exists()
    assert sum(alerts().values()) == 1


def test_an_event_of_the_other_mode_is_kept_as_refused(post: Post) -> None:
    assert post.send(make_event(livemode=True)) == 200
    [row] = StripeEvent.objects.all()
    assert row.state == "refused"
    assert "other mode" in row.reason
    assert alerts() == {"mode": 1}


def test_nothing_is_taken_without_a_secret(post: Post, settings: Any) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = ()
    assert post.send(make_event(), secret="whsec_x") == 400
    assert alerts() == {"off": 1}


def test_the_webhook_listens_to_post_only(post: Post) -> None:
    assert post.client.get("/stripe/webhook").status_code == 405


def test_types_without_a_handler_end_as_nothing_to_do(post: Post) -> None:
    post.send(make_event(type="invoice.created"))
    [row] = post.look()
    assert row.state == "ignored"


def test_events_in_any_order_come_to_the_same(stripe: StripeDouble, payer: Payer, post: Post) -> None:
    top_up = open_page(payer)
    assert not stripe.pay(session_of(top_up), "chargeDeclined")
    stripe.pay(session_of(top_up))
    events = post.waiting()
    for event in [*reversed(events), *events]:
        post.send(event)
        post.look()
    assert (fresh(top_up).state, payer.wallet.posted) == ("paid", 2000 * CENT)
    assert_money_adds_up()


@pytest.mark.parametrize(
    "only", ["checkout.session.completed", "payment_intent.succeeded", "charge.succeeded"]
)
def test_any_one_event_of_a_payment_is_enough(
    stripe: StripeDouble, payer: Payer, post: Post, only: str
) -> None:
    top_up = open_page(payer)
    stripe.pay(session_of(top_up))
    post.bring(only={only})
    assert (fresh(top_up).state, payer.wallet.posted) == ("paid", 2000 * CENT)


def test_while_stripe_is_away_an_event_waits_and_backs_off(
    stripe: StripeDouble, payer: Payer, post: Post
) -> None:
    top_up = open_page(payer)
    stripe.pay(session_of(top_up))
    post.send(next(one for one in post.waiting() if one["type"] == "charge.succeeded"))
    [row] = StripeEvent.objects.all()
    stripe.control("settings", down=True)
    waits = []
    for _ in range(3):
        process_event(row.pk)
        row.refresh_from_db()
        waits.append((row.next_try_at - timezone.now()).total_seconds())  # type: ignore[operator]
    assert (row.state, row.tries, row.reason) == ("waiting", 3, "stripe_unknown")
    assert waits[0] < waits[1] < waits[2]
    stripe.control("settings", down=False)
    assert sweep_inbox() == 0
    with time_machine.travel(timezone.now() + timedelta(hours=1)):
        assert sweep_inbox() == 1
    assert fresh(top_up).state == "paid"


def test_stripe_may_be_away_for_days_and_nothing_is_given_up(
    stripe: StripeDouble, payer: Payer, post: Post
) -> None:
    post.send(make_event())
    stripe.control("settings", down=True)
    with time_machine.travel(timezone.now() + timedelta(days=3)):
        post.look()
    [row] = StripeEvent.objects.all()
    assert row.state == "waiting"


def test_a_payment_that_nobody_asked_for_waits_a_day_and_goes_to_suspense(
    stripe: StripeDouble, payer: Payer, post: Post
) -> None:
    intent = stripe.control("stray_payment", amount=1234)
    post.bring()
    waiting = {row.type for row in StripeEvent.objects.filter(state="waiting")}
    assert waiting == {"payment_intent.succeeded", "charge.succeeded"}
    assert not UnmatchedPayment.objects.exists()
    with time_machine.travel(timezone.now() + timedelta(hours=25)):
        post.look()
    [unmatched] = UnmatchedPayment.objects.all()
    assert (unmatched.payment_intent_id, unmatched.amount_minor) == (intent["id"], 1234)
    assert not StripeEvent.objects.filter(state="waiting").exists()
    assert OperatorAlert.objects.filter(kind="unmatched_payment", severity="critical").count() == 1


def test_an_event_that_comes_before_its_row_waits_for_it(
    stripe: StripeDouble, payer: Payer, post: Post
) -> None:
    top_up = open_page(payer)
    stripe.pay(session_of(top_up))
    TopUp.across_all_organizations.filter(pk=top_up.pk).delete()
    post.bring()
    assert StripeEvent.objects.filter(state="waiting").exists()
    top_up.session_id = session_of(top_up)
    TopUp.across_all_organizations.bulk_create([top_up])
    post.look()
    assert (fresh(top_up).state, payer.wallet.posted) == ("paid", 2000 * CENT)


def test_a_handler_with_a_bug_holds_up_nobody_else(
    stripe: StripeDouble, payer: Payer, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_event: StripeEvent) -> Any:
        raise ZeroDivisionError

    monkeypatch.setitem(HANDLERS, "charge.updated", broken)
    post.send(make_event(type="charge.updated"))
    top_up = open_page(payer)
    stripe.pay(session_of(top_up))
    for event in post.waiting():
        post.send(event)
    with time_machine.travel(timezone.now() + timedelta(minutes=1)):
        sweep_inbox()
    assert fresh(top_up).state == "paid"
    assert StripeEvent.objects.get(type="charge.updated").state == "waiting"


def test_catching_up_finds_what_was_never_told(stripe: StripeDouble, payer: Payer, post: Post) -> None:
    top_up = open_page(payer)
    stripe.pay(session_of(top_up))
    assert catch_up.catch_up() > 0
    assert (fresh(top_up).state, payer.wallet.posted) == ("paid", 2000 * CENT)
    assert {row.came_by for row in StripeEvent.objects.all()} == {"catch-up"}
    assert catch_up.catch_up() == 0
    assert catch_up.catch_up(overlap=catch_up.LONG_OVERLAP) == 0


def test_catching_up_adds_nothing_to_what_was_told(stripe: StripeDouble, payer: Payer, post: Post) -> None:
    stripe.pay(session_of(open_page(payer)))
    post.bring()
    assert catch_up.catch_up() == 0


def test_who_waits_without_webhooks_waits_seconds(stripe: StripeDouble, payer: Payer) -> None:
    top_up = open_page(payer)
    stripe.pay(session_of(top_up))
    with time_machine.travel(timezone.now() + timedelta(seconds=20)):
        assert catch_up.reconcile_top_ups_under_way() == 1
        assert catch_up.reconcile_top_ups_under_way() == 0
    assert fresh(top_up).state == "paid"


def test_an_old_attempt_is_compared_more_rarely(stripe: StripeDouble, payer: Payer) -> None:
    top_up = open_page(payer)
    stripe.control("pay_delayed", session=session_of(top_up))
    with time_machine.travel(timezone.now() + timedelta(hours=5)):
        assert catch_up.reconcile_top_ups_under_way() == 1
    with time_machine.travel(timezone.now() + timedelta(hours=5, minutes=10)):
        assert catch_up.reconcile_top_ups_under_way() == 0
    with time_machine.travel(timezone.now() + timedelta(hours=5, minutes=16)):
        assert catch_up.reconcile_top_ups_under_way() == 1


def test_nothing_is_asked_without_a_key(payer: Payer) -> None:
    assert (catch_up.catch_up(), catch_up.reconcile_top_ups_under_way(), sweep_inbox()) == (0, 0, 0)


def test_a_card_that_was_removed_at_stripe_is_removed_here(
    stripe: StripeDouble, payer: Payer, post: Post
) -> None:
    top_up = open_page(payer)
    customer = stripe.get(session_of(top_up))["customer"]
    method = stripe.control("save_card", customer=customer)
    post.bring()
    [card] = SavedCard.across_all_organizations.all()
    assert (card.payment_method_id, card.removed_at) == (method["id"], None)
    detach(stripe, method["id"])
    post.bring()
    card.refresh_from_db()
    assert card.removed_at is not None


def detach(stripe: StripeDouble, method_id: str) -> None:
    stripe_client().v1.payment_methods.detach(method_id)


def test_an_expired_page_of_nobody_is_nothing_to_do(stripe: StripeDouble, payer: Payer, post: Post) -> None:
    top_up = open_page(payer)
    assert payment_page(top_up)
    TopUp.across_all_organizations.filter(pk=top_up.pk).delete()
    stripe.control("expire", session=session_of(top_up))
    post.bring()
    assert StripeEvent.objects.get(type="checkout.session.expired").state == "ignored"


def test_what_events_carried_is_forgotten_after_a_month(post: Post) -> None:
    post.send(make_event(type="invoice.created"))
    post.send(make_event())
    post.look()
    with time_machine.travel(timezone.now() + timedelta(days=31)):
        assert forget_payloads() == 1
        assert forget_payloads() == 0
    assert StripeEvent.objects.get(type="invoice.created").payload == {}
    assert StripeEvent.objects.get(state="waiting").payload["id"]
