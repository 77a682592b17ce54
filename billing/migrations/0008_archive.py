from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

SQL = Path(__file__).parents[1] / "sql"


class Migration(migrations.Migration):
    dependencies = [("billing", "0007_prices")]

    operations = [
        migrations.RunSQL((SQL / "0008_sum.sql").read_text(), "DROP FUNCTION billing_mark(bigint, bigint); DROP AGGREGATE billing_sum(bigint);"),
        migrations.AddField(
            model_name="usagearchive",
            name="rollups_until",
            field=models.DateTimeField(verbose_name="rollups until"),
            preserve_default=False,
        ),
        migrations.CreateModel(
            name="ArchivedBatch",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("records", models.BigIntegerField(verbose_name="records")),
                ("charge_nano", models.BigIntegerField(verbose_name="charge")),
                ("uncollected_nano", models.BigIntegerField(verbose_name="uncollected")),
                ("cost_nano", models.BigIntegerField(verbose_name="vendor cost")),
                (
                    "archive",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        to="billing.usagearchive",
                    ),
                ),
                (
                    "batch",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        to="billing.settlementbatch",
                    ),
                ),
            ],
            options={
                "verbose_name": "archived batch",
                "verbose_name_plural": "archived batches",
                "constraints": [
                    models.UniqueConstraint(fields=("batch", "archive"), name="batch_archived_once_each")
                ],
            },
        ),
    ]
