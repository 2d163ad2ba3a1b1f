"""Programs of our own that steps run as child processes, because they need a heavy library: a folder or module each.

A program is started with `starting.run_program`, which gives it a request as a file; so limits, cancel, timeout, users,
output and artifacts work as for any other process. Nothing else of the executor imports what they need.
"""
