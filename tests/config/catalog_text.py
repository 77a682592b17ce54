"""A small catalogue file, and what it says."""

from pathlib import Path

CATALOG = """
[[channel]]
name = "main"
vendor = "openai"
base_url = "https://vendor.example/v1"
api_key = "vendor-secret-1"

[[model]]
id = "gpt-test"
owned_by = "Tests"
routes = [{ channel = "main", upstream_model = "gpt-test-1" }]
context_window = 128000
max_output_tokens = 16000
price = { input = "2.50", output = "10.00" }
cost = { input = "2.00", output = "8.00" }
"""


def write_catalog(folder: Path, text: str = CATALOG) -> Path:
    path = folder / "catalog.toml"
    path.write_text(text)
    return path
