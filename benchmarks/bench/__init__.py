"""What the benchmarks share: starting servers and clients, taking turns, reporting."""
