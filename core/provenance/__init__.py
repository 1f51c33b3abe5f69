"""What went into a result: content keys, digests, and the software that computed it."""
