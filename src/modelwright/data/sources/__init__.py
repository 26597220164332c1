"""Sources, one file each: where examples are read from."""
