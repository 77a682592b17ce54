import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0011_payments"), migrations.swappable_dependency(settings.AUTH_USER_MODEL)]

    operations = [
        migrations.AddField(
            model_name="campaign",
            name="changed_by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
                verbose_name="terms set by",
            ),
        ),
        migrations.AddField(
            model_name="adjustment",
            name="campaign",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                to="billing.campaign",
                verbose_name="campaign",
            ),
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
                    ("claim", "Credit an unmatched payment"),
                    ("campaign", "Grant of a campaign"),
                ],
                max_length=10,
                verbose_name="kind",
            ),
        ),
        migrations.AddConstraint(
            model_name="adjustment",
            constraint=models.CheckConstraint(
                condition=models.Q(kind="campaign", campaign__isnull=False)
                | ~models.Q(kind="campaign") & models.Q(campaign__isnull=True),
                name="campaign_grant_names_its_campaign",
            ),
        ),
    ]
