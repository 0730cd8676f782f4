"""What a model can do, measured: so far, bits per byte of held-out documents."""
