"""Scores of spotters: their benchmark, ledger, metrics and report."""
