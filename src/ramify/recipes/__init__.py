"""Recipes that come with Ramify: `ramify run NAME`."""
