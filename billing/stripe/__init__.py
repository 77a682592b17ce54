"""The border to Stripe: only here is its SDK imported. In and out go our rows and frozen dataclasses."""
