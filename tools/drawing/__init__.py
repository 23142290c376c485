"""Toy scenes and fruit, drawn from seeds; scripts that bundle them and train the checkpoints."""
