"""What provenance costs: digests, status, claims, and a task of one second."""
