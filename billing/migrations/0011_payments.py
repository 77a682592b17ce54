from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("billing", "0010_top_ups")]

    operations = []
