"""From one argument to batches: sources, schema, cleaning, splits, encoding, loading."""
