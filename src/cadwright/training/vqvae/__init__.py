"""Training of the VQ-VAE over sparse signed distances, in the published stages (run)."""
