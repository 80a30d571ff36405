"""HTML pages as text from plain values: each one file, without script and without network."""
