"""Wanted, existing, and the difference: recipes, plans, labs, and the engine that runs them."""
