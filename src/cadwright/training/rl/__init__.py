"""Reinforcement learning: programs are tried, built and rewarded by how well they fit (run)."""
