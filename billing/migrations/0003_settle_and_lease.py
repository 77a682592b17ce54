from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parents[1] / "sql"


class Migration(migrations.Migration):
    dependencies = [("billing", "0002_usage_records")]

    operations = [
        migrations.RunSQL(
            (SQL / "0003_settle.sql").read_text(), "DROP FUNCTION billing_settle(uuid, uuid, json);"
        ),
        migrations.RunSQL(
            (SQL / "0003_lease.sql").read_text(),
            "DROP FUNCTION billing_lease_credit(bigint, uuid, bigint, bigint, double precision);"
            "DROP FUNCTION billing_end_lease(bigint, uuid, text, timestamptz);",
        ),
    ]
