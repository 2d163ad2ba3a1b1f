"""The lake: where things lie, what is written in which order, how it is indexed and asked."""
