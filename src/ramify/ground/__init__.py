"""The ground: what every other room stands on, and nothing that knows a run."""
