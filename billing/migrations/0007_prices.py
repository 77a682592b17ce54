from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parents[1] / "sql"


class Migration(migrations.Migration):
    dependencies = [("billing", "0006_gate")]

    operations = [
        migrations.RunSQL(
            (SQL / "0007_prices.sql").read_text(),
            "ALTER TABLE billing_priceversion DROP CONSTRAINT nested_rates_are_amounts;"
            "DROP FUNCTION billing_holds_amounts(jsonb);",
        ),
    ]
