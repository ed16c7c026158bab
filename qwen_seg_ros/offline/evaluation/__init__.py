"""How well a checkpoint answers, measured on scenes whose truth is known."""
