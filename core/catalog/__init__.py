"""The PGS Catalog: its scoring files, and what is known about them."""
