"""What tests of losses and measures share: the devices of this machine, and a loss with its gradient."""

import pytest
import torch

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]


def with_gradient(loss, x, labels):
    """The loss of a batch and its gradient for the rows, of which `x` itself keeps none."""
    x = x.detach().clone().requires_grad_()
    value = loss(x, labels)
    value.backward()
    return value.detach(), x.grad
