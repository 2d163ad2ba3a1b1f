"""Each named crash point once: the process dies there, another one takes over, every promise holds."""
