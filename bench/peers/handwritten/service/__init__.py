"""The service itself, which knows nothing of the benchmark."""
