"""Programs that are measured beside each other."""
