"""What an installation needs before its first request; safe to run at every start."""

from dataclasses import dataclass

import structlog
from django.db import transaction

from accounts.models import User
from accounts.services import create_operator, ensure_house_reseller
from billing.archive import make_usage_partitions
from config.catalog import apply_installed_catalog
from config.customers import create_customer
from config.env import ENV, variables

OPERATOR_EMAIL = "operator@farebox.localhost"
DEMO_EMAIL = "demo@farebox.localhost"
DEMO_CREDIT_NANO = 5 * 10**9

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class FirstStart:
    """What is shown once, on the very first start."""

    operator_email: str
    operator_password: str
    demo_api_key: str


def prepare() -> FirstStart | None:
    """House reseller, partitions, catalogue; on the first start of an embedded installation also an operator
    and a demo customer."""
    make_usage_partitions()
    ensure_house_reseller()
    changes = apply_installed_catalog(ENV.catalog, variables())
    if changes:
        log.info("catalog_applied", changes=len(changes))
    if ENV.database_url is None and not User.objects.filter(is_staff=True).exists():
        return _welcome()
    return None


@transaction.atomic
def _welcome() -> FirstStart:
    operator, password = create_operator(email=OPERATOR_EMAIL)
    demo = create_customer(
        email=DEMO_EMAIL, organization_name="Demo", credit_nano=DEMO_CREDIT_NANO, reason="Demo credit"
    )
    return FirstStart(operator.email, password, demo.api_key)
