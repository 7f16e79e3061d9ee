"""Warm predictor processes: messages, worker, pool, batches, swap."""
