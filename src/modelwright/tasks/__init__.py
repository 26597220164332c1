"""Tasks: what is learnt, with its loss, its metrics, and how an output is shown to a person."""
