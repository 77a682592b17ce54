"""Everything of an installation under one process: `manage.py up`."""
