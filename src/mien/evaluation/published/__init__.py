"""Scores that papers claim, with what they claim them for."""
