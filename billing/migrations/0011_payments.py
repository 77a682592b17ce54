from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0010_top_ups")]

    operations = [
        migrations.AddField(
            model_name="stripecustomer",
            name="livemode",
            field=models.BooleanField(default=False, verbose_name="live"),
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
                ],
                max_length=10,
                verbose_name="kind",
            ),
        ),
    ]
