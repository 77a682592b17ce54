import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_books"),
        ("billing", "0012_promotions"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="dispute",
            name="dispute_is_positive",
        ),
        migrations.RemoveConstraint(
            model_name="refund",
            name="refund_is_positive",
        ),
        migrations.AddField(
            model_name="dispute",
            name="from_held",
            field=models.BooleanField(default=False, verbose_name="held before"),
        ),
        migrations.AddField(
            model_name="dispute",
            name="margin_nano",
            field=models.BigIntegerField(default=0, verbose_name="reseller's earnings taken back"),
        ),
        migrations.AddField(
            model_name="dispute",
            name="outcome",
            field=models.CharField(
                choices=[("open", "Open"), ("won", "Won"), ("lost", "Lost")],
                default="open",
                max_length=4,
                verbose_name="outcome",
            ),
        ),
        migrations.AddField(
            model_name="dispute",
            name="taken_nano",
            field=models.BigIntegerField(default=0, verbose_name="credit taken"),
        ),
        migrations.AddField(
            model_name="dispute",
            name="tax_nano",
            field=models.BigIntegerField(default=0, verbose_name="tax"),
        ),
        migrations.AddField(
            model_name="dispute",
            name="withdrawn_minor",
            field=models.BigIntegerField(default=0, verbose_name="withdrawn"),
        ),
        migrations.AddField(
            model_name="fraudwarning",
            name="froze_wallet",
            field=models.BooleanField(default=False, verbose_name="froze the wallet"),
        ),
        migrations.AddField(
            model_name="refund",
            name="approved_by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
                verbose_name="approved by",
            ),
        ),
        migrations.AddField(
            model_name="refund",
            name="from_held",
            field=models.BooleanField(default=False, verbose_name="from held credit"),
        ),
        migrations.AddField(
            model_name="refund",
            name="needs_second",
            field=models.BooleanField(default=False, verbose_name="needs a second operator"),
        ),
        migrations.AddField(
            model_name="refund",
            name="paid_at",
            field=models.DateTimeField(null=True, verbose_name="paid"),
        ),
        migrations.AddField(
            model_name="refund",
            name="sent_at",
            field=models.DateTimeField(null=True, verbose_name="sent to Stripe"),
        ),
        migrations.AddField(
            model_name="refund",
            name="stripe_status",
            field=models.CharField(blank=True, max_length=20, verbose_name="status at Stripe"),
        ),
        migrations.AddField(
            model_name="refund",
            name="tried_at",
            field=models.DateTimeField(null=True, verbose_name="last compared with Stripe"),
        ),
        migrations.AddIndex(
            model_name="dispute",
            index=models.Index(
                condition=models.Q(("outcome", "open")), fields=["opened_at"], name="open_disputes"
            ),
        ),
        migrations.AddIndex(
            model_name="refund",
            index=models.Index(
                condition=models.Q(("state", "requested"), ("top_up__isnull", False)),
                fields=["tried_at"],
                name="refunds_under_way",
            ),
        ),
        # What was paid before was paid when it ended.
        migrations.RunSQL(
            "UPDATE billing_refund SET paid_at = ended_at WHERE state = 'succeeded'", migrations.RunSQL.noop
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("amount_minor__gt", 0),
                    ("held_nano__gte", 0),
                    ("withdrawn_minor__gte", 0),
                    ("owed_nano__gte", 0),
                    ("taken_nano__gte", 0),
                    ("tax_nano__gte", 0),
                ),
                name="dispute_is_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.CheckConstraint(
                condition=models.Q(("outcome", "open"), ("held_nano", 0), _connector="OR"),
                name="only_an_open_dispute_holds_credit",
            ),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("outcome", "lost"),
                    models.Q(("margin_nano", 0), ("owed_nano", 0), ("taken_nano", 0), ("tax_nano", 0)),
                    _connector="OR",
                ),
                name="only_a_lost_dispute_took_credit",
            ),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("amount_nano__gte", 0),
                    ("tax_nano__gte", 0),
                    models.Q(("amount_nano__gt", 0), ("tax_nano__gt", 0), _connector="OR"),
                ),
                name="refund_is_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.CheckConstraint(
                condition=models.Q(("owed_nano__gte", 0), ("owed_nano__lte", models.F("amount_nano"))),
                name="refund_owes_a_part_of_it",
            ),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "succeeded"), _negated=True),
                    ("paid_at__isnull", False),
                    _connector="OR",
                ),
                name="refund_that_succeeded_was_paid",
            ),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("sent_at__isnull", True),
                    ("needs_second", False),
                    ("approved_by__isnull", False),
                    _connector="OR",
                ),
                name="large_refund_is_sent_with_a_second_operator",
            ),
        ),
    ]
