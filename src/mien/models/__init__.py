"""Networks, and nothing but networks: what trains them is in `mien.classifiers`."""
