"""Prefect blocks: connections and configuration that outlive a run."""
