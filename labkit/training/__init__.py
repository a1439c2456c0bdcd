"""Training: `steps` is the loop, `fit` a run around it, `embed` gives the embeddings, `Resume` saves a run."""

from labkit.training.embed import closest, embed
from labkit.training.fit import fit
from labkit.training.history import History
from labkit.training.loop import steps
from labkit.training.resume import Resume

__all__ = ["History", "Resume", "closest", "embed", "fit", "steps"]
