from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parents[1] / "sql"


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]

    operations = [
        migrations.RunSQL(
            (SQL / "0002_append_only.sql").read_text(),
            "DROP TRIGGER append_only ON accounts_auditevent; DROP FUNCTION farebox_refuse_change();",
        )
    ]
