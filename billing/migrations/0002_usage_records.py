from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parents[1] / "sql"


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial"), ("accounts", "0002_append_only")]

    operations = [
        migrations.RunSQL(
            (SQL / "0002_usage_records.sql").read_text(), "DROP TABLE billing_usagerecord;"
        ),
        migrations.RunSQL(
            (SQL / "0002_append_only.sql").read_text(),
            "DROP TRIGGER append_only ON billing_grant;"
            "DROP TRIGGER append_only ON billing_priceversion;",
        ),
        migrations.RunSQL(
            (SQL / "0002_wallet_of_organization.sql").read_text(),
            "DROP TRIGGER open_wallet ON accounts_organization; DROP FUNCTION billing_open_wallet();",
        ),
    ]
