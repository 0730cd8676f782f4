"""The network, its losses, sampling, and Hugging Face weights."""
