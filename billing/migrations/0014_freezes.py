from typing import Any

import django.db.models.deletion
import django.db.models.manager
from django.db import migrations, models

BEFORE = "Frozen before causes were kept"


def keep_frozen(apps: Any, _schema_editor: Any) -> None:
    """Nobody can tell any more what froze these: only an operator opens them again."""
    frozen = apps.get_model("billing", "Wallet").objects.filter(status="frozen")
    freezes = apps.get_model("billing", "WalletFreeze").across_all_organizations
    for wallet in frozen.iterator():
        freezes.create(organization_id=wallet.pk, cause="operator", reason=BEFORE)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_books"),
        ("billing", "0013_refunds_and_disputes"),
    ]

    operations = [
        migrations.CreateModel(
            name="WalletFreeze",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "cause",
                    models.CharField(
                        choices=[
                            ("operator", "An operator"),
                            ("dispute", "A dispute"),
                            ("fraud_warning", "A fraud warning"),
                        ],
                        max_length=20,
                        verbose_name="cause",
                    ),
                ),
                ("subject", models.CharField(blank=True, max_length=64, verbose_name="subject")),
                ("reason", models.CharField(max_length=500, verbose_name="reason")),
                ("frozen_at", models.DateTimeField(auto_now_add=True, verbose_name="frozen")),
                ("lifted_at", models.DateTimeField(null=True, verbose_name="lifted")),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, to="accounts.organization"
                    ),
                ),
            ],
            options={
                "verbose_name": "freeze",
                "verbose_name_plural": "freezes",
                "abstract": False,
                "base_manager_name": "across_all_organizations",
                "default_manager_name": "objects",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("lifted_at__isnull", True)),
                        fields=("organization", "cause", "subject"),
                        name="one_freeze_for_each_cause",
                    )
                ],
            },
            managers=[
                ("across_all_organizations", django.db.models.manager.Manager()),
                ("objects", django.db.models.manager.Manager()),
            ],
        ),
        migrations.RunPython(keep_frozen, migrations.RunPython.noop, elidable=True),
    ]
