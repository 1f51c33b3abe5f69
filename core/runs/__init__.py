"""A run: what is asked for, what happens to it, and what comes back."""
