"""Corpora: text prepared once, as a folder of token shards that is read from disk as it is needed."""
