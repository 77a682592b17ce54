"""Wiring: settings, URLs, servers and the supervisor. The only package that may import all the others."""
