"""Icons and form fields."""

from typing import Any

from django import template
from django.forms import BaseForm, BoundField, CheckboxInput
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()


@register.simple_tag
def icon(name: str, size: str = "") -> SafeString:
    """One drawing of static/img/icons.svg; decoration only, so it is silent for screen readers."""
    return format_html(
        '<svg class="icon {}" aria-hidden="true"><use href="{}#{}"></use></svg>',
        size,
        static("img/icons.svg"),
        name,
    )


@register.inclusion_tag("includes/field.html")
def field(
    bound: BoundField,
    placeholder: str = "",
    *,
    hint: bool = True,
    aside_url: str = "",
    aside_text: str = "",
) -> dict[str, Any]:
    """Label, control, hint and errors of one field, without placeholders that repeat the label."""
    inline = isinstance(bound.field.widget, CheckboxInput)
    attributes: dict[str, Any] = {"placeholder": placeholder or False}
    if not inline:
        attributes["class"] = "select" if bound.widget_type == "select" else "input"
    return {
        "field": bound,
        "control": bound.as_widget(attrs=attributes),
        "inline": inline,
        "show_hint": hint,
        "aside_url": aside_url,
        "aside_text": aside_text,
    }


@register.inclusion_tag("includes/form_fields.html")
def form_fields(form: BaseForm) -> dict[str, Any]:
    """A whole form without its <form> element."""
    return {"form": form}
