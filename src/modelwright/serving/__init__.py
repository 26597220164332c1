"""The bundle, and predicting with nothing but it."""
