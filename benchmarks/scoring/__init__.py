"""Scores of a reference panel, computed by sluiceway and by others on the same files; README.md tells how."""
