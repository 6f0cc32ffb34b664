"""What the models share: Fourier point encoding, splicing, masks, clouds, reading prompts once."""
