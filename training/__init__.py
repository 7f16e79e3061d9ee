"""A run's folder, states and supervisor; executors; the process that runs it; TensorBoard."""
