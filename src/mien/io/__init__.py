"""Reading and writing: films, pictures, and files that are never half written."""
