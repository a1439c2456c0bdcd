"""What the losses and metrics should be: loops over Python floats, written from the formulas alone.

Embeddings are lists of rows, labels lists of ints (a tensor's .tolist()).
"""

import math
from itertools import combinations


def distance(x, y, squared=False):
    """Euclidean distance of two rows, or its square."""
    total = sum((p - q) ** 2 for p, q in zip(x, y, strict=True))
    return total if squared else math.sqrt(total)


def distances(a, b, squared=False):
    return [[distance(x, y, squared) for y in b] for x in a]


def contrastive(embeddings, labels, margin=1.0):
    """Mean over unordered pairs of ½d² (same class) and ½[margin - d]₊² (different classes)."""
    terms = []
    for i, j in combinations(range(len(labels)), 2):
        d = distance(embeddings[i], embeddings[j])
        terms.append(d**2 / 2 if labels[i] == labels[j] else max(margin - d, 0) ** 2 / 2)
    return sum(terms) / len(terms) if terms else 0.0


def contrastive_gradient(embeddings, labels, margin=1.0):
    """The gradient of contrastive() as rows; pairs at distance 0 add nothing."""
    gradient = [[0.0] * len(embeddings[0]) for _ in embeddings]
    pairs = list(combinations(range(len(labels)), 2))
    for i, j in pairs:
        d = distance(embeddings[i], embeddings[j])
        if labels[i] == labels[j]:
            factor = 1.0
        elif 0 < d < margin:
            factor = -(margin - d) / d
        else:
            factor = 0.0
        for k, (u, v) in enumerate(zip(embeddings[i], embeddings[j], strict=True)):
            gradient[i][k] += factor * (u - v) / len(pairs)
            gradient[j][k] -= factor * (u - v) / len(pairs)
    return gradient


def triplets(labels):
    """All (anchor, positive, negative)."""
    n = range(len(labels))
    return [(a, p, q) for a in n for p in n for q in n if a != p and labels[a] == labels[p] and labels[a] != labels[q]]


def mined_triplets(embeddings, labels, mining, squared):
    """The triplets that a mining takes, one after the other."""
    d = distances(embeddings, embeddings, squared)
    everything = triplets(labels)
    if mining == "all":
        return everything
    chosen = []
    for a in range(len(labels)):
        positives = [p for p in range(len(labels)) if p != a and labels[p] == labels[a]]
        negatives = [n for n in range(len(labels)) if labels[n] != labels[a]]
        if not positives or not negatives:
            continue
        if mining == "hard":
            chosen.append((a, max(positives, key=lambda p: d[a][p]), min(negatives, key=lambda n: d[a][n])))
        if mining == "semihard":
            for p in positives:
                farther = [n for n in negatives if d[a][n] > d[a][p]]
                if farther:
                    chosen.append((a, p, min(farther, key=lambda n: d[a][n])))
                else:
                    chosen.append((a, p, max(negatives, key=lambda n: d[a][n])))
    return chosen


def triplet(embeddings, labels, margin=0.2, mining="all", squared=False):
    """Mean hinge over those of the mined triplets whose hinge is above 0."""
    hinges = []
    for a, p, n in mined_triplets(embeddings, labels, mining, squared):
        to_positive = distance(embeddings[a], embeddings[p], squared)
        to_negative = distance(embeddings[a], embeddings[n], squared)
        hinges.append(max(to_positive - to_negative + margin, 0.0))
    count = sum(h > 0 for h in hinges)
    return sum(hinges) / count if count else 0.0


def triplet_gradient(embeddings, labels, margin=0.2, mining="all", squared=False):
    """The gradient of triplet() as rows: every active triplet pulls on three of them."""
    gradient = [[0.0] * len(embeddings[0]) for _ in embeddings]

    def add(i, j, weight):
        """Adds weight times the gradient of d(i, j)."""
        d = distance(embeddings[i], embeddings[j])
        factor = 2.0 if squared else (1 / d if d > 0 else 0.0)
        for k, (u, v) in enumerate(zip(embeddings[i], embeddings[j], strict=True)):
            gradient[i][k] += weight * factor * (u - v)
            gradient[j][k] -= weight * factor * (u - v)

    active = []
    for a, p, n in mined_triplets(embeddings, labels, mining, squared):
        to_positive = distance(embeddings[a], embeddings[p], squared)
        if to_positive - distance(embeddings[a], embeddings[n], squared) + margin > 0:
            active.append((a, p, n))
    for a, p, n in active:
        add(a, p, 1 / len(active))
        add(a, n, -1 / len(active))
    return gradient


def triplet_counts(embeddings, labels, margin=0.2, squared=False):
    """(easy, semihard, hard)."""
    d = distances(embeddings, embeddings, squared)
    easy = semihard = hard = 0
    for a, p, n in triplets(labels):
        if d[a][n] < d[a][p]:
            hard += 1
        elif d[a][n] < d[a][p] + margin:
            semihard += 1
        else:
            easy += 1
    return easy, semihard, hard


def class_means(embeddings, labels):
    """{class: mean}, classes in ascending order."""
    means = {}
    for c in sorted(set(labels)):
        rows = [x for x, y in zip(embeddings, labels, strict=True) if y == c]
        means[c] = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    return means


def closest_accuracy(query, query_labels, reference, reference_labels):
    means = class_means(reference, reference_labels)
    right = 0
    for x, y in zip(query, query_labels, strict=True):
        right += min(means, key=lambda c: distance(x, means[c])) == y
    return right / len(query)


def range_accuracy(query, query_labels, reference, reference_labels):
    """(soft, strict, coverage, empty)."""
    means = class_means(reference, reference_labels)
    radius = {
        c: max(distance(x, means[c]) for x, y in zip(reference, reference_labels, strict=True) if y == c) for c in means
    }
    soft = strict = coverage = empty = 0.0
    for x, y in zip(query, query_labels, strict=True):
        claims = [c for c in means if distance(x, means[c]) <= radius[c] * (1 + 1e-9)]
        coverage += y in claims
        strict += claims == [y]
        empty += not claims
        soft += 1 / len(claims) if y in claims else 0
    return tuple(v / len(query) for v in (soft, strict, coverage, empty))


def nearest_neighbor_accuracy(query, query_labels, reference, reference_labels):
    right = 0
    for x, y in zip(query, query_labels, strict=True):
        nearest = min(range(len(reference)), key=lambda i: distance(x, reference[i]))
        right += reference_labels[nearest] == y
    return right / len(query)


def _neighbors(embeddings, i):
    """The other rows, nearest first, ties by index."""
    others = [j for j in range(len(embeddings)) if j != i]
    return sorted(others, key=lambda j: distance(embeddings[i], embeddings[j]))


def recall_at_k(embeddings, labels, k):
    hits = []
    for i, y in enumerate(labels):
        if labels.count(y) > 1:
            hits.append(any(labels[j] == y for j in _neighbors(embeddings, i)[:k]))
    return sum(hits) / len(hits)


def map_at_r(embeddings, labels):
    scores = []
    for i, y in enumerate(labels):
        r = labels.count(y) - 1
        if r == 0:
            continue
        score = found = 0
        for rank, j in enumerate(_neighbors(embeddings, i)[:r], start=1):
            if labels[j] == y:
                found += 1
                score += found / rank
        scores.append(score / r)
    return sum(scores) / len(scores)


def auc(distances_same, distances_different):
    """How often a same pair is closer than a different one, ties counting ½."""
    wins = sum((s < d) + (s == d) / 2 for s in distances_same for d in distances_different)
    return wins / (len(distances_same) * len(distances_different))


def scatter_matrices(embeddings, labels):
    """(within, between) as lists of rows, from their definitions class by class."""
    n, dim = len(labels), len(embeddings[0])
    mean = [sum(column) / n for column in zip(*embeddings, strict=True)]
    means = class_means(embeddings, labels)
    within = [[0.0] * dim for _ in range(dim)]
    between = [[0.0] * dim for _ in range(dim)]
    for r in range(dim):
        for s in range(dim):
            for c, center in means.items():
                share = labels.count(c) / n
                rows = [x for x, y in zip(embeddings, labels, strict=True) if y == c]
                expectation = sum((x[r] - center[r]) * (x[s] - center[s]) for x in rows) / len(rows)
                within[r][s] += share * expectation
                between[r][s] += share * (center[r] - mean[r]) * (center[s] - mean[s])
    return within, between
