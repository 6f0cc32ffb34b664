"""Layers shared by the models: Fourier point encoding and splicing into token embeddings."""
