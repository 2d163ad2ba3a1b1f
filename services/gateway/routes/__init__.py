"""HTTP in and out: parse, call one use case, map the answer. One file per resource."""
