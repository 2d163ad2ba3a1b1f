"""Runs plans: takes `run-requested` into the queue, claims, executes, records, tells the world."""
