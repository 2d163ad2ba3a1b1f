"""The parts of an `http` step: its body, what is expected of the answer, and whether it is so."""
