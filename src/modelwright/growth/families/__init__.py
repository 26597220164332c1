"""How each family grows, one file each."""
