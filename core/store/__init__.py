"""Results, kept under the name of what they are."""
