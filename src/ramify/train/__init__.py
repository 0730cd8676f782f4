"""One run: objective, state, loop, checkpoint, probes and scores."""
