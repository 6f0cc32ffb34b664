"""3-D alignment: codebook vectors of a shape as tokens of a Qwen-VL language model.

Sequence (order, truncation, pooling), projector, branch (the joined model), collate (both data
forms), conversation (question and answer to ids and labels), checkpoint. The modules are imported
by name; importing this package alone does not import torch.
"""
