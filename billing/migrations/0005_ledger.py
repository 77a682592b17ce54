from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parents[1] / "sql"


class Migration(migrations.Migration):
    dependencies = [("billing", "0004_books")]

    operations = [
        migrations.RunSQL(
            (SQL / "0005_ledger.sql").read_text(),
            "DROP TRIGGER append_only ON billing_lotentry;"
            "DROP TRIGGER append_only ON billing_ledgerentry;"
            "DROP TRIGGER append_only ON billing_ledgertransaction;"
            "DROP TRIGGER posting_balances ON billing_ledgertransaction;"
            "DROP TRIGGER entries_come_at_once ON billing_ledgerentry;"
            "DROP FUNCTION billing_posting_balances(), billing_entries_come_at_once(), billing_fold(integer),"
            " billing_post(uuid, text, text, bytea, text, timestamptz, text, bigint, uuid, text, json);"
            "ALTER TABLE billing_ledgertransaction DROP COLUMN made_in;",
        ),
        migrations.RunSQL((SQL / "0005_carry_over.sql").read_text(), migrations.RunSQL.noop),
    ]
