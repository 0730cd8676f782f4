"""What was made, shown to people: a summary, a tree in the terminal, and one self-contained page."""
