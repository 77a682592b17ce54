"""The payment page that Stripe hosts: plain, clickable, and never to be taken for the real one."""

import html

from tests.doubles.stripe.money import shown as money
from tests.doubles.stripe.params import Json

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,"><title>Stripe double: pay</title>
<style>
 body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 28rem; margin: 3rem auto; padding: 0 1rem;
  color: #1a1f36 }}
 .mode {{ background: #fde68a; padding: .25rem .5rem; border-radius: .25rem; font-weight: 600 }}
 h1 {{ font-size: 2rem; margin: .5rem 0 }}
 dl {{ display: grid; grid-template-columns: 1fr auto; gap: .25rem }}
 dd {{ margin: 0; text-align: right }}
 button, a.button {{ display: block; width: 100%; box-sizing: border-box; padding: .7rem; margin: .5rem 0;
  border: 1px solid #c1c9d2; border-radius: .4rem; background: #fff; font: inherit; text-align: center;
  color: inherit; text-decoration: none; cursor: pointer }}
 button.main {{ background: #635bff; color: #fff; border-color: #635bff }} .problem {{ color: #b3093c }}
</style></head><body>
<p><span class="mode">TEST MODE</span> a stand-in for Stripe, no money moves</p>
{body}
</body></html>"""


def pay_page(session: Json, problem: str = "") -> str:
    currency = session["currency"]
    tax = session["total_details"]["amount_tax"]
    told = f'<p class="problem" role="alert">{html.escape(problem)}</p>' if problem else ""
    saved = (
        "<p>The card is saved for later charges.</p>" if session["_intent"].get("setup_future_usage") else ""
    )
    buttons = "".join(
        f'<button name="how" value="{how}"{" class=main" if how == "good" else ""}>{text}</button>'
        for how, text in BUTTONS.items()
    )
    return PAGE.format(
        body=f"""<h1>{money(session["amount_total"], currency)}</h1>
<dl><dt>API credit</dt><dd>{money(session["amount_subtotal"], currency)}</dd>
<dt>Tax</dt><dd>{money(tax, currency)}</dd></dl>{told}{saved}
<form method="post">{buttons}</form>
<a class="button" href="{html.escape(session["cancel_url"] or "#")}">Go back without paying</a>"""
    )


def bank_page(session: Json) -> str:
    return PAGE.format(
        body=f"""<h1>Your bank asks</h1>
<p>Confirm {money(session["amount_total"], session["currency"])}?</p>
<form method="post"><button class="main" name="how" value="confirmed">Confirm</button>
<button name="how" value="not_confirmed">Refuse</button></form>"""
    )


def portal_page(visit: Json, cards: list[Json]) -> str:
    shown = "".join(
        f'<form method="post"><button name="remove" value="{card["id"]}">Remove {html.escape(_name(card))}'
        "</button></form>"
        for card in cards
    )
    back = html.escape(visit["return_url"] or "#")
    return PAGE.format(
        body=f"""<h1>Your cards</h1>{shown or "<p>No card is saved.</p>"}
<a class="button" href="{back}">Go back</a>"""
    )


def _name(method: Json) -> str:
    kind = method["type"]
    return f"{method[kind].get('brand', kind)} {method[kind]['last4']}"


def closed_page(session: Json) -> str:
    words = {
        "complete": "This page was paid already. You were not charged again.",
        "expired": "This page has expired. You were not charged.",
    }
    back = session["success_url"] if session["status"] == "complete" else session["cancel_url"]
    link = html.escape((back or "#").replace("{CHECKOUT_SESSION_ID}", session["id"]))
    told = f"<h1>All done here</h1><p>{words[session['status']]}</p>"
    return PAGE.format(body=f'{told}<a class="button" href="{link}">Go back</a>')


BUTTONS = {
    "good": "Pay with a good card",
    "declined": "Pay with a card that is declined",
    "3ds": "Pay with a card that asks for 3-D Secure",
    "later": "Pay with a card that is declined later on",
    "disputed": "Pay with a card whose owner disputes it",
    "delayed": "Pay by bank debit, which takes days",
}
