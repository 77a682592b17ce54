from pathlib import Path

import django.db.models.deletion
import django.db.models.manager
from django.conf import settings
from django.db import migrations, models

SQL = Path(__file__).parents[1] / "sql"


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_books"),
        ("billing", "0008_archive"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="UsageCorrection",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("request_id", models.UUIDField(db_index=True, verbose_name="request")),
                ("amount_nano", models.BigIntegerField(verbose_name="given back")),
                ("uncollected_nano", models.BigIntegerField(verbose_name="of what was uncollected")),
                ("margin_nano", models.BigIntegerField(verbose_name="margin")),
                ("reason", models.CharField(max_length=500, verbose_name="reason")),
                ("fact_key", models.CharField(max_length=120, unique=True, verbose_name="fact key")),
                ("corrected_at", models.DateTimeField(auto_now_add=True, verbose_name="corrected")),
            ],
            options={
                "verbose_name": "correction of usage",
                "verbose_name_plural": "corrections of usage",
                "abstract": False,
                "base_manager_name": "across_all_organizations",
                "default_manager_name": "objects",
            },
            managers=[
                ("across_all_organizations", django.db.models.manager.Manager()),
                ("objects", django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name="VoucherMiss",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("missed_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "verbose_name": "wrong voucher code",
                "verbose_name_plural": "wrong voucher codes",
                "abstract": False,
                "base_manager_name": "across_all_organizations",
                "default_manager_name": "objects",
            },
            managers=[
                ("across_all_organizations", django.db.models.manager.Manager()),
                ("objects", django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name="VoucherSeries",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("campaign", models.CharField(max_length=100, verbose_name="campaign")),
                ("fact_key", models.CharField(max_length=120, unique=True, verbose_name="fact key")),
                ("size", models.IntegerField(verbose_name="codes")),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created")),
                ("downloaded_at", models.DateTimeField(blank=True, null=True, verbose_name="downloaded")),
            ],
            options={
                "verbose_name": "voucher series",
                "verbose_name_plural": "voucher series",
            },
        ),
        migrations.RemoveConstraint(
            model_name="adjustment",
            name="adjustment_is_positive",
        ),
        migrations.AddField(
            model_name="adjustment",
            name="may_owe",
            field=models.BooleanField(default=False, verbose_name="may leave a debt"),
        ),
        migrations.AddField(
            model_name="adjustment",
            name="reference",
            field=models.CharField(blank=True, max_length=120, verbose_name="bank reference"),
        ),
        migrations.AddField(
            model_name="adjustment",
            name="subject",
            field=models.UUIDField(null=True, verbose_name="concerns"),
        ),
        migrations.AddField(
            model_name="adjustment",
            name="tax_nano",
            field=models.BigIntegerField(default=0, verbose_name="tax"),
        ),
        migrations.AddField(
            model_name="refund",
            name="fact_key",
            field=models.CharField(default=None, max_length=120, unique=True, verbose_name="fact key"),
            preserve_default=False,
        ),
        migrations.AlterField(
            model_name="adjustment",
            name="kind",
            field=models.CharField(
                choices=[
                    ("goodwill", "Give credit"),
                    ("take_back", "Take credit back"),
                    ("write_off", "Forgive what is owed"),
                    ("top_up", "Record a bank transfer"),
                    ("reversal", "Reverse a posting"),
                    ("correction", "Give a charge back"),
                ],
                max_length=10,
                verbose_name="kind",
            ),
        ),
        migrations.AddIndex(
            model_name="adjustment",
            index=models.Index(
                condition=models.Q(("state", "requested")),
                fields=["requested_at"],
                name="adjustments_that_wait",
            ),
        ),
        migrations.AddConstraint(
            model_name="adjustment",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount_nano__gt", 0), ("tax_nano__gte", 0)),
                name="adjustment_is_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="adjustment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind", "top_up"), _negated=True),
                    models.Q(("reference", ""), _negated=True),
                    _connector="OR",
                ),
                name="transfer_has_a_reference",
            ),
        ),
        migrations.AddConstraint(
            model_name="adjustment",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    models.Q(("reference", ""), _negated=True), models.Q(("state", "rejected"), _negated=True)
                ),
                fields=("reference",),
                name="one_record_per_transfer",
            ),
        ),
        migrations.AddConstraint(
            model_name="adjustment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind__in", ["reversal", "correction"]), _negated=True),
                    ("subject__isnull", False),
                    _connector="OR",
                ),
                name="adjustment_names_its_subject",
            ),
        ),
        migrations.AddConstraint(
            model_name="adjustment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "posted"), _negated=True),
                    ("transaction__isnull", False),
                    _connector="OR",
                ),
                name="posted_has_its_posting",
            ),
        ),
        migrations.AddField(
            model_name="usagecorrection",
            name="corrected_by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                to=settings.AUTH_USER_MODEL,
                verbose_name="corrected by",
            ),
        ),
        migrations.AddField(
            model_name="usagecorrection",
            name="organization",
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="accounts.organization"),
        ),
        migrations.AddField(
            model_name="usagecorrection",
            name="transaction",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="usage_correction",
                to="billing.ledgertransaction",
                verbose_name="ledger transaction",
            ),
        ),
        migrations.AddField(
            model_name="usagecorrection",
            name="usage_posting",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.ledgertransaction",
            ),
        ),
        migrations.AddField(
            model_name="vouchermiss",
            name="organization",
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="accounts.organization"),
        ),
        migrations.AddField(
            model_name="voucherseries",
            name="created_by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                to=settings.AUTH_USER_MODEL,
                verbose_name="created by",
            ),
        ),
        migrations.AddField(
            model_name="voucherseries",
            name="downloaded_by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
                verbose_name="downloaded by",
            ),
        ),
        migrations.AddField(
            model_name="voucherseries",
            name="reseller",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, to="accounts.reseller", verbose_name="reseller"
            ),
        ),
        migrations.AddField(
            model_name="voucher",
            name="series",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="vouchers",
                to="billing.voucherseries",
                verbose_name="series",
            ),
        ),
        migrations.AddConstraint(
            model_name="usagecorrection",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("amount_nano__gt", 0),
                    ("uncollected_nano__gte", 0),
                    ("uncollected_nano__lte", models.F("amount_nano")),
                ),
                name="correction_is_positive",
            ),
        ),
        migrations.AddIndex(
            model_name="vouchermiss",
            index=models.Index(fields=["organization", "missed_at"], name="voucher_misses_lately"),
        ),
        migrations.AddIndex(
            model_name="ledgertransaction",
            index=models.Index(
                condition=models.Q(("kind", "usage"), _negated=True),
                fields=["kind", "-id"],
                name="postings_by_kind",
            ),
        ),
        migrations.RunSQL(
            (SQL / "0009_corrections.sql").read_text(),
            "DROP TRIGGER append_only ON billing_usagecorrection;"
            "DROP TRIGGER correction_within_price ON billing_usagecorrection;"
            "DROP FUNCTION billing_correction_within_price();",
        ),
    ]
