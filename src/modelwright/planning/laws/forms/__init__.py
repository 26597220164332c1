"""Forms of scaling laws, one a file."""
