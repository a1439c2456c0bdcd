"""Training: `fit` trains any network with any loss, `embed` gives the embeddings, `closest` scores them."""

from labkit.training.fit import History, closest, embed, fit

__all__ = ["History", "closest", "embed", "fit"]
