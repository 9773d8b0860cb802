"""Synthetic faces that move, with exactly known motion: clips, flow pictures and whole corpora."""
