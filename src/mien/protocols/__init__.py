"""Folds, metrics, comparisons, and checks against leaks. Nothing here sees pixels."""
