"""Points in, cost, curve and interval out."""
