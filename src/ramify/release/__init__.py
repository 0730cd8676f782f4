"""Models that leave the lab: exported, checked, and heard."""
