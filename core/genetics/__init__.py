"""Genotypes, scores, and what the one says of the other."""
