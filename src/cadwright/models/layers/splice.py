"""Put one kind of embedding into marked positions of a sequence of token embeddings.

In: token embeddings, a mask of the marked positions, one embedding per marked position.
Out: a new tensor; the input is left as it was. Not covered: deciding which positions.
Shape suffixes: B batch, T tokens, P points, D width.
"""

from __future__ import annotations

from torch import Tensor

from cadwright.errors import InputError


def splice(embeds_BTD: Tensor, marked_BT: Tensor, inserts_BPD: Tensor) -> Tensor:
    """Replace the embeddings at marked positions, row by row and in order.

    Args:
        embeds_BTD: (B, T, D) token embeddings.
        marked_BT: (B, T) bool, true where an insert goes; exactly P true in each row.
        inserts_BPD: (B, P, D) what goes there; cast to the dtype of ``embeds_BTD``.

    Returns:
        (B, T, D), differentiable with respect to both embeddings.

    Raises:
        InputError: the batch sizes or the number of marked positions do not fit.
    """
    if inserts_BPD.shape[0] != embeds_BTD.shape[0]:
        raise InputError(
            f"the batch has {embeds_BTD.shape[0]} sequences but {inserts_BPD.shape[0]} point clouds"
        )
    counts_B = marked_BT.sum(dim=1)
    if (counts_B != inserts_BPD.shape[1]).any():
        raise InputError(
            f"each sequence must mark {inserts_BPD.shape[1]} positions for its points, "
            f"but the marks per sequence are {counts_B.tolist()}"
        )
    # masked_scatter fills the marked positions in row-major order, hence the check per row.
    marked_BTD = marked_BT.unsqueeze(-1).expand_as(embeds_BTD)
    return embeds_BTD.masked_scatter(marked_BTD, inserts_BPD.to(embeds_BTD.dtype))
