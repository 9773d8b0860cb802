"""The referee: scores predictions that others made, from their files alone; no model is involved."""
