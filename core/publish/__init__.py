"""Results as tables and pages that others read."""
