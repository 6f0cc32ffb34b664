"""Teaching a language model to read the VQ-VAE's codes of a shape (run)."""
