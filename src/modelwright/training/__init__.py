"""Training: one loop, split in *when* (`trainer.Trainer`) and *what* (`rule.StepRule`)."""
