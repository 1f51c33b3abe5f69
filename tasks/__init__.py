"""Prefect tasks: one for each step worth seeing in the UI, each a single call into core."""
