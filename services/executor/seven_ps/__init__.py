"""7PS: what it is asked for, what its results mean, and how its test sets run on this executor instead."""
