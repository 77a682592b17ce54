"""Vendors' own protocols, one folder each; `relay.adapters` knows them by name."""
