"""Text to tokens to batches: tokenizer, shards, mixture, and which batch any position has."""
