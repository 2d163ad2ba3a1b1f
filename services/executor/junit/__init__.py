"""JUnit XML that a step's programs leave, as test cases."""
