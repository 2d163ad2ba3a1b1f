"""Starting, streaming, limiting and ending operating-system processes; the guardian that outlives the worker."""
