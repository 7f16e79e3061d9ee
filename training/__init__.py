"""A run's folder, state machine and supervisor; executors; the process that runs it; metrics, TensorBoard."""
