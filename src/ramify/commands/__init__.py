"""The commands, in rooms of their own; nothing heavy is imported until a command needs it."""
