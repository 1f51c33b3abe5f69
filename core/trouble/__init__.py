"""The classes of core/errors.py, from where they are imported; a file for each branch of the tree."""
