"""How weights move: parameter groups, the learning rate of a position, and averages of weights."""
