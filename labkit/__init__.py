"""labkit: the small package under the course. Its files, lab by lab:

00   Start here, 69 lines
     training/loop.py
01   Convolution and Gaussian filters, 251 lines
     filters.py
02   Initialization, 203 lines
     initialization.py
03   Optimizers, 243 lines
     optimizers.py
04   Siamese and triplet networks, 276 lines
     losses/contrastive.py losses/triplet.py distances.py
05   Center loss, 104 lines
     losses/center.py losses/weighted_sum.py
06   Exponential triplet loss, 215 lines
     losses/exponential_triplet.py embeddings.py
07   Circle loss, 49 lines
     losses/circle.py
08   PEDCC, 585 lines
     centroids.py losses/pedcc.py losses/softmax.py
09   Checkpoint distancing, 582 lines
     distancing.py landscape.py ensembles.py
all  networks, data, training, measures, 2,966 lines
     networks.py side_by_side.py data/ training/ evaluation.py neighbors.py claims.py checks.py
all  pictures, 2,587 lines
     figures/

Lines are counted with docstrings; `python -m tools map` counts them again. Nothing is imported here, so that
`import labkit` costs nothing; write `from labkit import data, training`.
"""
