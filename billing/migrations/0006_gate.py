from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parents[1] / "sql"


class Migration(migrations.Migration):
    """What these functions replace is not restored: a step back would settle without debts and budgets."""

    dependencies = [("billing", "0005_ledger")]

    operations = [
        migrations.RunSQL((SQL / "0006_settle.sql").read_text()),
        migrations.RunSQL((SQL / "0006_lease.sql").read_text()),
        migrations.RunSQL((SQL / "0006_budgets.sql").read_text()),
    ]
