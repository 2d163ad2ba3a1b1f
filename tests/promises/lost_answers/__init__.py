"""Every write to the database once with its answer lost, never sent, and late: the promises hold all the same."""
