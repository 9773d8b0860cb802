"""Protocols, metrics, ledgers, runs and reports: how methods are scored."""
