"""Figures that papers claim, and what they claim them for."""
