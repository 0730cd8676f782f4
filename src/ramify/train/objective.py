"""What a step minimizes: a module from token rows to the sum of their losses."""

from __future__ import annotations

from torch import Tensor, nn

from ramify.model.loss import linear_cross_entropy
from ramify.model.network import Transformer


class NextToken(nn.Module):
    """Predict each next token: cross-entropy in nats, summed over the slots that bear loss."""

    def __init__(self, model: Transformer, loss_chunk: int) -> None:
        super().__init__()
        self.model = model
        self.loss_chunk = loss_chunk

    def forward(
        self, tokens_BT1: Tensor, weights_B: Tensor, documents_BT: Tensor | None, losses_B: Tensor
    ) -> Tensor:
        """Return the sum of weighted losses of rows [B, T+1]; fill `losses_B` with each row's."""
        hidden_BTD = self.model(tokens_BT1[:, :-1], documents_BT=documents_BT)
        B, T, D = hidden_BTD.shape
        losses_N = hidden_BTD.new_empty(B * T, dtype=losses_B.dtype, requires_grad=False)
        loss = linear_cross_entropy(
            hidden_BTD.reshape(B * T, D),
            self.model.head_weight,
            tokens_BT1[:, 1:].reshape(B * T),
            weights_B.repeat_interleave(T),
            chunk=self.loss_chunk,
            losses_N=losses_N,
        )
        losses_B.copy_(losses_N.view(B, T).sum(1))
        return loss
