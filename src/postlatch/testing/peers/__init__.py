"""Real mail programs, started in a folder of their own on loopback: for integration tests and benchmarks."""
