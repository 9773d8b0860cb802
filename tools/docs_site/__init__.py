"""What the documentation site adds to the pages in docs/: facts of the registry, the reference, the gallery."""
