"""Tables and figures of papers, as grids of runs."""
