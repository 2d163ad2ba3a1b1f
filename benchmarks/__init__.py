"""Speed, measured: `make bench` runs all of it, `python -m benchmarks NAME` one part. Never part of the tests."""
