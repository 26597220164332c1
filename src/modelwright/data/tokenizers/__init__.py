"""The kinds of tokenizers, a file each."""
