"""How long a refresh takes that finds nothing to do, and how fast metadata are cleaned."""
