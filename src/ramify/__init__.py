"""Ramify: a laboratory for small language models in which every answer branches off a trunk."""
