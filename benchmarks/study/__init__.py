"""The reproduction study: what of a lab is kept, what it says of each claim, and its page."""
