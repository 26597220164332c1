"""The HTTP server of a model: its interface for programs, and its page for people."""
