"""Documents in, and why each one goes."""
