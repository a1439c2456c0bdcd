"""The papers' tables: definitions, one run, records, statistics and reports."""

import dataclasses
import json
import math
import threading
import time

import numpy as np
import pytest
import torch
from scipy.stats import ttest_rel
from sklearn.decomposition import PCA

from experiments import (
    curves,
    definitions,
    measured,
    networks,
    parts,
    recipe,
    records,
    report,
    show,
    store,
    trial,
    tuning,
)
from experiments.definitions import BASELINE, TABLES
from labkit import data

TRAINED = [name for name in TABLES if TABLES[name].runs == "trial"]
DIGITS = data.Images(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64), ("0",))
ROWS = [(table, row) for table in TRAINED for row in TABLES[table].rows if table not in ("convergence", "steps")]


# ---- definitions


@pytest.mark.parametrize("table, row", ROWS)
def test_every_row_builds_its_loss_and_takes_a_step_that_changes_the_network(table, row):
    torch.manual_seed(0)
    labels = torch.arange(20) % 10
    for setting in range(len(TABLES[table].rows[row].settings)):
        definition, plan, dim = trial.definition(job := trial.Job(table, "tiny", "digits", row, "final", 0, setting))
        network = trial.InSpace(networks.network(plan.network, DIGITS, dim), definition.space)
        loss = trial.make_loss(job, classes=10)
        parameters = [p for module in (network, loss) for p in module.parameters()]
        optimizer = trial.optimizer(definition, plan, setting)(parameters)
        before = [p.detach().clone() for p in network.parameters()]
        embeddings = network(torch.randn(20, 1, 8, 8))
        loss(embeddings, labels).backward()
        optimizer.step()
        assert any(not torch.equal(p, old) for p, old in zip(network.parameters(), before, strict=True))
        assert embeddings.shape == (20, dim)
        assert all(p.isfinite().all() for p in parameters)


@pytest.mark.parametrize("table", sorted({*TRAINED} - {"recipe"}))
def test_compared_rows_are_tuned_over_grids_of_one_size_and_every_table_has_cross_entropy(table):
    rows = TABLES[table].rows
    for row in rows.values():
        assert len(row.settings) >= 4 and all("rate" in setting for setting in row.settings)
        assert len({json.dumps(setting) for setting in row.settings}) == len(row.settings)
        assert row.tuned_as is None or rows[row.tuned_as].settings == row.settings
        assert row.space == row.measured or (row.space, row.measured) == ("anywhere", "l2")
    for row, other in TABLES[table].pairs:
        # Cross-entropy has no parameter but its rate; what is learned of centroids has one more.
        sizes = [len(rows[each].settings) for each in (row, other)]
        assert sizes[0] == sizes[1] or other == BASELINE or row.startswith("PEDCC, fine-tuned"), (row, other)
    assert BASELINE in rows or table == "embedding_size"
    assert set(TABLES[table].datasets) <= definitions.DATASETS.keys()


def test_what_scales_with_the_classes_is_tuned_in_that_form():
    for classes in (10, 964):
        loss = parts.exponential_triplet(classes, 8, 20, diameter=0.3)
        assert loss.diameter == pytest.approx(0.3)
        assert (
            parts.composite(classes, 8, 20, parts.exponential_triplet, ("center",), diameter=0.3).losses[1].radius
            == 0.3
        )


def test_rows_that_are_one_run_under_two_names_share_its_record():
    def asked(table, row, setting=0, seed=0, kind="final"):
        return tuning.key(trial.Job(table, "reduced", "fashion_mnist", row, kind, seed, setting))

    for table in sorted({*TRAINED} - {"recipe", "embedding_size"}):
        assert asked(table, BASELINE) == asked("circle", BASELINE)
    assert asked("convergence", "L_std", 3) == asked("exponential_triplet", "L_std", 3) == asked("steps", "L_std", 3)
    assert asked("steps", "circle", 7) == asked("circle", "circle", 7) == asked("circle", "circle, m=0.4", 3)
    assert asked("center", "center", 4) == asked("center", "center, λ=0.001", 0)
    others = [asked("circle", "triplet, m=0.4"), asked("exponential_triplet", "L_std, L2"), asked("pedcc", "hinge")]
    others += [asked("steps", f"{BASELINE}, 4× steps"), asked("circle", BASELINE, seed=1), asked("circle", BASELINE)]
    others += [asked("circle", BASELINE, kind="tuning"), asked("circle", BASELINE, 1)]
    assert len(set(others)) == len(others)


def test_the_recipe_is_measured_with_cross_entropy_at_one_of_the_rates_that_tuning_has():
    (row,) = TABLES["recipe"].rows.values()
    assert row.loss is parts.softmax and len(row.settings) == 1 and row.settings[0] in definitions.RATES
    assert tuning.runs("recipe", "full", "mnist", BASELINE) == []
    assert tuning.chosen("recipe", "full", "mnist", BASELINE, {}) == tuning.Choice(0)


@pytest.mark.parametrize("table", [name for name in TABLES if TABLES[name].published])
def test_every_row_of_a_table_that_the_paper_has_is_printed_there_and_the_other_way_round(table):
    printed = records.published(TABLES[table].published)
    spaces = {row for row in TABLES[table].rows if row.endswith((", L2", ", Unit-Bounce"))}
    own = spaces | {BASELINE} if table == "exponential_triplet" else set()  # the paper prints no figures for them
    assert set(printed) == set(TABLES[table].rows) - own
    named = {name for names in definitions.PUBLISHED_AS.values() for name in names}
    assert {dataset for of_row in printed.values() for dataset in of_row} <= named


def test_the_composites_have_the_terms_that_their_names_say():
    kinds = {
        row: [type(part).__name__ for part in getattr(loss_of("exponential_triplet", row), "losses", [])]
        for row in TABLES["exponential_triplet"].rows
    }
    assert kinds["L_std"] == kinds["L_exp"] == []
    assert kinds["L_std + L_class"] == ["TripletLoss", "L2SoftmaxLoss"]
    assert kinds["L_exp + L_center"] == ["ExponentialTripletLoss", "CenterLoss"]
    assert kinds["L_exp + L_center + L_class"] == ["ExponentialTripletLoss", "CenterLoss", "L2SoftmaxLoss"]
    # The diameter of a class in the ball of radius 1 is 2·c_n; the center loss takes half of it.
    assert loss_of("exponential_triplet", "L_exp + L_center", setting=1).losses[1].radius == 0.3


def loss_of(table, row, setting=0):
    return trial.make_loss(trial.Job(table, "tiny", "digits", row, "final", 0, setting), classes=10)


def test_annealing_is_over_halfway_through_the_run():
    for steps in (100, 5000):
        annealing = parts.a_softmax(10, 8, steps, margin=4, lowest=5.0).annealing
        assert annealing(torch.tensor(steps / 4)) > 5.05
        assert annealing(torch.tensor(steps / 2)).item() == pytest.approx(5.0, rel=1e-5)


# ---- recipes


def test_the_rate_rises_then_falls_and_centroids_learn_only_in_the_end():
    plan = recipe.recipe("tiny", "digits")
    weights = [torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))]
    optimizer = parts.optimizer(plan, 2.0, late=0.4, centroid_rate=0.7)(weights)
    schedule = parts.schedule(plan, late=0.4)(optimizer, 100)
    rates = []
    for _ in range(100):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    network, centroids = np.array(rates).T
    assert np.argmax(network) == 20 and network.max() == pytest.approx(0.2) and network[-1] < 0.01
    assert (centroids[:60] == 0).all() and (centroids[60:] == 0.7).all()
    assert optimizer.param_groups[1]["weight_decay"] == optimizer.param_groups[1]["momentum"] == 0


@pytest.mark.parametrize("size", ["full", "reduced"])
def test_every_recipe_draws_batches_and_its_network_takes_the_images(size):
    shapes = {
        "cifar": (3, 32, 32),
        "tiny-i": (3, 64, 64),
        "orl-fa": (1, 64, 64),
        "olivet": (1, 64, 64),
        "lfw": (1, 64, 64),
    }
    for dataset in recipe._DATASETS[size]:
        plan = recipe.recipe(size, dataset)
        shape = next((s for start, s in shapes.items() if dataset.startswith(start)), (1, 28, 28))
        images = data.Images(torch.zeros(4, *shape, dtype=torch.uint8), torch.arange(4), tuple("abcd"))
        pixels, _ = next(iter(data.Batches(images, 4, augment=plan.augment)))
        assert networks.network(plan.network, images, plan.dim)(pixels).shape == (4, plan.dim)
        assert recipe.steps_of(plan, "final")[0] == plan.points
        assert math.prod(recipe.steps_of(plan, "final")) == pytest.approx(plan.steps, rel=0.1)
        assert math.prod(recipe.steps_of(plan, "tuning")) == pytest.approx(plan.steps / 2, rel=0.1)
    with pytest.raises(ValueError, match="dataset: got 'digits', expected one of mnist"):
        recipe.recipe(size, "digits")


# ---- one run


def test_the_validation_split_takes_a_tenth_of_every_class_and_nothing_of_it_is_trained_on():
    train = data.load("digits")
    kept, held = trial.validation_split(train, by_class=False)
    assert len(kept) + len(held) == len(train)
    assert held.labels.bincount().tolist() == pytest.approx((train.labels.bincount() / 10).tolist(), abs=1)
    rows = {bytes(image.numpy()) for image in kept.images}
    assert sum(bytes(image.numpy()) in rows for image in held.images) == 0
    kept, held = trial.validation_split(train, by_class=True)
    assert len(held.classes) == 2 and not set(held.classes) & set(kept.classes) and len(kept) + len(held) == len(train)


def test_a_run_is_the_same_again_and_all_losses_of_a_seed_start_from_one_network():
    job = trial.Job("pedcc", "tiny", "digits", BASELINE, "final", 3, 1)
    once, twice = (trial.run(job, device="cpu") for _ in range(2))
    assert once["results"] == twice["results"] and once["curve"] == twice["curve"]
    assert once["curve"]["step"] == [4, 8] and len(once["curve"]["loss"]) == 2
    assert once["results"] != trial.run(dataclasses.replace(job, seed=4), device="cpu")["results"]
    tuned = trial.run(dataclasses.replace(job, kind="tuning", seed=tuning.SEEDS[0]), device="cpu")
    assert set(tuned["results"]) == {"closest accuracy", "recall@1", "MAP@R", "accuracy"} and tuned["curve"] == {}


def test_learned_centroids_are_measured_by_how_far_they_have_moved():
    finetuned = [
        trial.run(trial.Job("pedcc", "tiny", "digits", "PEDCC, fine-tuned (m=0.5, n=1)", "final", 0, n), device="cpu")
        for n in (0, 1)  # centroid rates of 0.1 and 1
    ]
    moved = [found["results"]["centroids moved"] for found in finetuned]
    assert 0.5 < moved[0] < moved[1] < 60  # degrees
    given = trial.run(trial.Job("pedcc", "tiny", "digits", "PEDCC (m=0.5, n=1)", "final", 0, 0), device="cpu")
    assert "centroids moved" not in given["results"]


@pytest.mark.parametrize("size, like, setting", [("full", "mnist", 2), ("reduced", "fashion_mnist", 0)])
def test_the_networks_of_the_sizes_learn(size, like, setting, monkeypatch):
    small = {**recipe._DATASETS[size][like], "steps": 16, "batches": {"batch_size": 32}, "augment": None}
    monkeypatch.setitem(recipe._DATASETS[size], "digits", small)
    monkeypatch.setitem(recipe._OF_SIZE, size, {**recipe._OF_SIZE[size], "points": 2})
    found = [data.load("digits", split).take(torch.arange(160)) for split in ("train", "test")]
    digits = [  # 16×16, because the large network halves them too often
        dataclasses.replace(some, images=some.images.repeat_interleave(2, 2).repeat_interleave(2, 3)) for some in found
    ]
    monkeypatch.setattr(trial, "images", lambda name, root: digits)
    done = trial.run(trial.Job("exponential_triplet", size, "digits", BASELINE, "final", 0, setting), device="cpu")
    assert done["results"]["closest accuracy"] > 0.5 and done["curve"]["loss"][1] < done["curve"]["loss"][0]


def test_the_filters_of_the_large_network_whiten_the_patches_of_its_images():
    images = data.load("digits", "train")
    filters = networks.whitening_filters(images.floats(), floor=0.0)
    assert filters.shape == (8, 1, 2, 2) and torch.equal(filters[4:], -filters[:4])
    windows = images.floats().unfold(2, 2, 1).unfold(3, 2, 1).reshape(-1, 4)
    trusted = PCA(whiten=True).fit(windows.double())
    cosines = torch.nn.functional.cosine_similarity(
        torch.from_numpy(trusted.components_)[:, None], filters[:4].flatten(1).double()[None], dim=2
    )
    torch.testing.assert_close(cosines.abs().fliplr(), torch.eye(4, dtype=torch.float64), atol=1e-4, rtol=0)
    answers = windows @ filters[:4].flatten(1).T
    torch.testing.assert_close(torch.cov(answers.T), torch.eye(4), atol=1e-3, rtol=0)
    nothing = networks.whitening_filters(torch.zeros(3, 1, 8, 8))  # patches that never vary
    assert nothing.isfinite().all() and nothing.norm(dim=(2, 3)).max() == pytest.approx(5e-4**-0.5)


def test_the_large_network_begins_with_whitened_images_and_small_embeddings_and_keeps_its_filters():
    torch.manual_seed(0)
    images = data.load("digits", "train")
    pixels = torch.nn.functional.interpolate(images.floats(torch.arange(64)), size=28)
    network = networks.SevenConvolutions(images, 16)
    assert "filters" in dict(network.named_buffers()) and "filters" not in dict(network.named_parameters())
    first = network.stages[1]
    passed = first(whitened := torch.randn(2, first.in_channels, 5, 5))
    torch.testing.assert_close(passed[:, : first.in_channels], whitened)  # its first channels begin as the identity
    embeddings = network(pixels)
    assert embeddings.shape == (64, 16) and embeddings.norm(dim=1).max() < 3
    large_images = torch.rand(2, 1, 64, 64)
    halved = torch.nn.functional.avg_pool2d(large_images, 2)
    torch.testing.assert_close(network.eval()(large_images), network(halved))


def test_the_network_for_photographs_measures_the_mean_over_an_image_and_its_mirror_image():
    torch.manual_seed(0)
    images = data.Images(torch.randint(256, (40, 3, 32, 32), dtype=torch.uint8), torch.arange(40) % 2, ("a", "b"))
    network = networks.TenConvolutions(images, 16, widths=(8, 12, 16))
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in network.modules()) + 1 == 10  # the first is a buffer
    assert "filters" in dict(network.named_buffers())
    assert not any(layer.affine for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm2d))
    pixels = torch.randn(8, 3, 64, 64)
    assert network(pixels).norm(dim=1).max() < 3
    halved = torch.nn.functional.avg_pool2d(pixels, 2)
    one, mirrored = network.eval()(halved), network(halved.flip(3))
    torch.testing.assert_close(one, mirrored)
    torch.testing.assert_close(one, network(pixels))
    for layer in network.modules():  # what training computes, with eval mode's normalization
        layer.training = layer is network
    views = [network(halved), network(halved.flip(3))]
    assert not torch.allclose(*views, atol=0.01)
    torch.testing.assert_close(one, sum(views) / 2)


def test_a_stage_is_bypassed_and_begins_with_identities():
    torch.manual_seed(0)
    stage = networks.Stage(2, 4).eval()
    images = torch.rand(3, 2, 8, 8)
    first = torch.nn.functional.gelu(torch.nn.functional.max_pool2d(images, 2))
    torch.testing.assert_close(stage.first(images)[:, :2], first, rtol=1e-4, atol=1e-4)
    inner = torch.nn.functional.gelu(first)
    torch.testing.assert_close(stage(images)[:, :2], torch.nn.functional.gelu(first + inner), rtol=1e-4, atol=1e-4)


def test_a_shift_moves_64_times_as_far_as_a_bias():
    images = torch.randn(5, 3, 4, 4)
    shift, bias = networks.Shift(3), torch.nn.Parameter(torch.zeros(3))
    moved = []
    for parameter, shifted in ((shift.eighth, shift), (bias, lambda x: x + bias.view(-1, 1, 1))):
        optimizer = torch.optim.SGD([parameter], lr=0.01, momentum=0.9, nesterov=True)
        (shifted(images) * images).sum().backward()
        optimizer.step()
        moved.append((shifted(images) - images).detach())
    torch.testing.assert_close(moved[0], 64 * moved[1], rtol=1e-3, atol=1e-4)
    assert shift(images.bfloat16()).dtype == torch.bfloat16


def test_only_full_size_computes_in_bf16_on_a_cpu_that_can(monkeypatch):
    cpu = torch.device("cpu")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert [trial.precision(size, cpu) for size in recipe.SIZES] == ["bf16-mixed", "auto", "auto"]
    assert trial.precision("full", torch.device("cuda")) == "auto"  # where `fit` chooses
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    assert trial.precision("full", cpu) == "auto"
    asked = []

    def diverges(*_, precision, **__):
        asked.append(precision)
        raise FloatingPointError

    monkeypatch.setattr(trial.training, "fit", diverges)
    monkeypatch.setattr(trial, "precision", lambda size, device: f"{size} on {device}")
    trial.run(trial.Job("recipe", "tiny", "digits", BASELINE, "final", 0, 0), device="cpu")
    assert asked == ["tiny on cpu"]


def test_a_run_that_diverges_is_recorded_as_failed(monkeypatch):
    row = dataclasses.replace(TABLES["pedcc"].rows[BASELINE], settings=({"rate": 1e30},) * 4)
    monkeypatch.setitem(TABLES["pedcc"].rows, BASELINE, row)
    done = trial.run(trial.Job("pedcc", "tiny", "digits", BASELINE, "final", 0, 0), device="cpu")
    assert "finite" in done["results"]["failed"] or "nan" in done["results"]["failed"]


# ---- what tuning chooses


SETTINGS = definitions.grid(rate=(1.0, 3.0, 9.0), margin=(0.1,))


def test_the_best_mean_of_two_seeds_is_chosen_and_what_the_noise_does_not_tell_from_it_is_level():
    # The spread of a pair is √2·0.01 on average, that of the difference of two means 0.01·√2.
    chosen = tuning.choose(SETTINGS, [[0.60, 0.62], [0.72, 0.70], [0.69, 0.71]])
    assert chosen == tuning.Choice(1, (1, 2), {})
    assert tuning.choose(SETTINGS, [[0.80, 0.82], [0.72, 0.70], [0.69, 0.71]]).level == (0,)
    assert tuning.choose(SETTINGS, [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]).setting == 0


def test_a_winner_at_the_edge_of_its_grid_is_said_and_a_setting_with_a_failed_run_is_not_chosen():
    chosen = tuning.choose(SETTINGS, [[0.99, -1.0], [0.3, 0.3], [0.5, 0.5]])
    assert chosen == tuning.Choice(2, (2,), {"rate": "largest"})
    assert tuning.choose(SETTINGS, [[0.9, 0.9], [0.3, 0.3], [0.5, 0.5]]).edges == {"rate": "smallest"}
    assert tuning.choose(SETTINGS, [[-1.0, -1.0]] * 3).level == (0,)


def test_tuning_goes_by_the_metric_that_the_table_compares():
    assert TABLES["circle"].deciding("fashion_mnist", unseen=False) == "recall@1"
    assert TABLES["circle"].deciding("omniglot28", unseen=True) == "recall@1"
    assert TABLES["pedcc"].deciding("fashion_mnist", unseen=False) == "accuracy"
    assert TABLES["exponential_triplet"].deciding("orl-faces", unseen=True) == "MAP@R"
    assert TABLES["exponential_triplet"].deciding("mnist", unseen=False) == "MAP@R"  # the others are at their ceiling
    asked = tuning.runs("circle", "reduced", "fashion_mnist", "triplet, m=0.4")
    records = {}
    for number, of_setting in enumerate(asked):
        for job in of_setting:
            assert tuning.chosen("circle", "reduced", "fashion_mnist", "triplet, m=0.4", records) is None
            results = {"closest accuracy": 0.9 - 0.1 * number, "recall@1": 0.5 + 0.1 * number}
            records[tuning.key(job)] = {"results": results}
    assert tuning.chosen("circle", "reduced", "fashion_mnist", "triplet, m=0.4", records).setting == 3


def test_unseen_classes_are_measured_by_hand_computed_numbers():
    # Two classes of four on a line: each class's images 0 and 2 give its center, images 1 and 3 are scored.
    rows = torch.tensor([[0.0], [1.0], [0.0], [9.0], [10.0], [11.0], [10.0], [12.0]])
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    found = trial.of_unseen_classes(rows, labels)
    assert found["closest accuracy"] == 0.75  # the 9 lies nearer to 10 than to 0
    shuffled = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    order = shuffled[shuffled.argsort(stable=True)]
    assert trial.of_unseen_classes(rows[order], labels[order]) == found
    assert 0.5 < found["verification AUC"] < 1 and 0 <= found["verification accuracy"] <= 1


def test_losses_are_measured_where_they_say(monkeypatch):
    images = data.load("digits", "test")
    torch.manual_seed(0)
    network = trial.InSpace(networks.network("lenet", DIGITS, 4), "anywhere")
    plain, labels = trial.embedded(network, images, "anywhere")
    sphere, _ = trial.embedded(network, images, "l2")
    torch.testing.assert_close(sphere, plain / plain.norm(dim=1, keepdim=True))
    assert torch.equal(labels, images.labels) and not torch.allclose(plain.norm(dim=1), torch.ones(len(plain)))
    ball = trial.InSpace(network.network, "unit_range")(images.floats() * 100)
    assert ball.norm(dim=1).max() <= 1 + 1e-5


def test_batch_normalization_forbids_several_processes_on_a_cpu():
    network = networks.network("three convolutions", DIGITS, 8)
    with pytest.raises(ValueError, match="slice of each batch"):
        trial._synchronized(network, torch.device("cpu"))
    on_gpus = trial._synchronized(network, torch.device("cuda"))
    assert sum(isinstance(layer, torch.nn.SyncBatchNorm) for layer in on_gpus.modules()) == 3


# ---- records


def example(**changes):
    record = {"dataset": "digits", "row": BASELINE, "kind": "final", "seed": 0, "setting": 1, "results": {}}
    return record | {"settings": {"rate": 1.0}, "behavior": {"loop": 1}} | changes


def test_a_record_is_found_by_what_was_run_whatever_its_row_is_called():
    same = [example(), example(row="another"), example(setting=0), example(settings={"content": "a", "rate": 1.0})]
    assert len({store.key(record) for record in same}) == 1
    others = [example(seed=1), example(kind="tuning"), example(dataset="mnist"), example(settings={"rate": 2.0})]
    assert len({store.key(record) for record in [*same, *others]}) == 5


def test_records_come_back_and_a_line_that_was_cut_short_is_dropped(tmp_path):
    path = tmp_path / "table.jsonl"
    assert store.read(path) == []
    for seed in range(2):
        store.append(path, example(seed=seed))
    with path.open("ab") as file:
        file.write(b'{"dataset": "dig')
    assert [record["seed"] for record in store.read(path)] == [0, 1]
    store.append(path, example(seed=2))
    assert [record["seed"] for record in store.read(path)] == [0, 1, 2]
    assert path.read_bytes().count(b"\n") == 3
    path.write_bytes(b"nonsense\n" + path.read_bytes())
    with pytest.raises(ValueError, match="line 1: is no record"):
        store.read(path)


def test_a_record_that_does_not_fit_is_refused_with_what_differs(tmp_path):
    path = tmp_path / "t.jsonl"
    store.check(example(), {"rate": 1.0}, {"loop": 1}, path)
    with pytest.raises(store.Mismatch, match=r"(?s)digits, cross-entropy, final, seed 0.*rate: recorded 1.0, now 2.0"):
        store.check(example(), {"rate": 2.0}, {"loop": 1}, path)
    with pytest.raises(store.Mismatch, match=r"(?s)dim: recorded null, now 8"):
        store.check(example(), {"rate": 1.0, "dim": 8}, {"loop": 1}, path)
    with pytest.raises(store.Mismatch, match=r"(?s)rate: recorded 1.0, now null"):
        store.check(example(), {}, {"loop": 1}, path)
    with pytest.raises(store.Mismatch, match=r"(?s)behavior of loop: recorded 1, now 2.*--again"):
        store.check(example(), {"rate": 1.0}, {"loop": 2}, path)
    with pytest.raises(store.Mismatch, match=r"behavior of data: recorded null, now 5"):
        store.check(example(), {"rate": 1.0}, {"loop": 1, "data": 5}, path)
    with pytest.raises(store.Mismatch, match=r"behavior of loop: recorded 1, now null"):
        store.check(example(), {"rate": 1.0}, {}, path)


def behavior_of(table, row, size="reduced", dataset="mnist"):
    job = trial.Job(table, size, dataset, row, "final", 0, 0)
    return trial.behavior(*trial.definition(job)[:2])


def test_a_record_names_the_behaviors_that_decide_it_and_no_others():
    pedcc, center = (behavior_of("pedcc", row) for row in ("PEDCC (m=0.5, n=2)", "center"))
    common = {*store.OF_ALL, "three convolutions", "augmentation"}
    assert pedcc == common | {"losses.pedcc", "centroids"}
    assert center == common | {"losses.center", "losses.softmax", "losses.weighted_sum"}
    composite = behavior_of("exponential_triplet", "L_exp + L_center")
    assert composite == common | {"losses.exponential_triplet", "losses.center", "losses.weighted_sum"}
    assert behavior_of("pedcc", "center", "tiny", "digits") == center - common | {*store.OF_ALL, "lenet"}
    networks_of = [behavior_of("recipe", BASELINE, "full", name) - common for name in ("mnist", "cifar10")]
    assert networks_of == [{"seven convolutions", "losses.softmax"}, {"ten convolutions", "losses.softmax"}]
    assert store.versions(["loop", "data"]) == {"data": store.BEHAVIOR["data"], "loop": store.BEHAVIOR["loop"]}


def test_records_that_do_not_fit_are_moved_not_lost(tmp_path):
    path = tmp_path / "table.jsonl"
    for seed in range(3):
        store.append(path, example(seed=seed))
    asides = [store.put_aside(path, [example(seed=seed)]) for seed in (1, 2)]
    assert [[r["seed"] for r in store.read(each)] for each in (path, *asides)] == [[0], [1], [2]]


@pytest.mark.skipif(store.fcntl is None, reason="Windows has no such lock")
def test_commands_that_share_a_file_wait_for_each_other_and_lose_no_record(tmp_path):
    path, waiting = tmp_path / "runs.jsonl", threading.Event()
    store.append(path, example(seed=0))
    second = threading.Thread(target=lambda: (waiting.set(), store.append(path, example(seed=1))))
    with store._alone(path):
        second.start()
        waiting.wait()
        time.sleep(0.05)
        assert [record["seed"] for record in store.read(path)] == [0]
        records.write_whole(path, path.read_bytes())  # as `put_aside` replaces it
    second.join()
    assert [record["seed"] for record in store.read(path)] == [0, 1]


@pytest.mark.skipif(store.fcntl is None, reason="Windows has no such lock")
def test_two_commands_do_not_write_the_same_records(tmp_path):
    with store.only_writer(tmp_path / "a.jsonl"), store.only_writer(tmp_path / "b.jsonl"):
        with pytest.raises(ValueError, match="a: another labkit measure"), store.only_writer(tmp_path / "a.jsonl"):
            pass
    with store.only_writer(tmp_path / "new" / "a.jsonl"):
        pass
    assert not list(tmp_path.rglob("*.lock"))


@pytest.mark.skipif(store.fcntl is None, reason="Windows has no such lock")
def test_a_lock_that_a_kill_has_left_is_no_hindrance_and_a_link_in_its_place_is_not_followed(tmp_path):
    (tmp_path / "a.lock").touch()
    with store.only_writer(tmp_path / "a.jsonl"):
        pass
    precious = tmp_path / "precious.txt"
    precious.write_text("years of work", encoding="utf-8")
    (tmp_path / "a.lock").symlink_to(precious)
    with pytest.raises(ValueError, match=r"a\.lock: cannot be locked"), store.only_writer(tmp_path / "a.jsonl"):
        pass
    assert precious.read_text(encoding="utf-8") == "years of work"


@pytest.mark.skipif(store.fcntl is None, reason="Windows has no such lock")
def test_who_has_opened_a_lock_just_before_it_was_put_away_takes_the_next_one(tmp_path, monkeypatch):
    lock, opened, locks = tmp_path / "a.lock", store.os.open, []

    def slow(*arguments):
        locks.append(opened(*arguments))
        if len(locks) == 1:
            lock.unlink()  # by its holder, between the two lines
        return locks[-1]

    monkeypatch.setattr(store.os, "open", slow)
    with store.only_writer(tmp_path / "a.jsonl"):
        assert len(locks) == 2 and lock.exists()


# ---- statistics and reports


def test_holm_is_right_on_numbers_computed_by_hand():
    assert report.holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert report.holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}
    assert report.holm({}) == {}


def test_the_comparison_is_paired_over_the_common_seeds():
    ours = {BASELINE: {0: 0.90, 1: 0.92, 2: 0.91}, "a": {0: 0.93, 1: 0.94, 2: 0.94, 3: 0.1}, "b": {0: 0.9, 5: 1.0}}
    ours["same"] = {seed: value + 0.25 for seed, value in ours[BASELINE].items()}
    found = report.compared(ours, [(row, BASELINE) for row in ("a", "b", "same", "missing")])
    p = ttest_rel([0.93, 0.94, 0.94], [0.90, 0.92, 0.91]).pvalue
    a, b, same = (found[row, BASELINE] for row in ("a", "b", "same"))
    assert a.p == pytest.approx(p) and a.seeds == 3  # the only one that could be tested
    assert a.difference == pytest.approx(0.08 / 3)
    assert a.error == pytest.approx(np.std([0.03, 0.02, 0.03], ddof=1) / math.sqrt(3))
    assert b.p is None and same.p is None and len(found) == 3
    both = report.compared({**ours, "c": {0: 0.8, 1: 0.9, 2: 0.9}}, [("a", BASELINE), ("c", BASELINE)])
    assert both["a", BASELINE].p == pytest.approx(min(1, 2 * p))


def write_records(folder, table, dataset, values, size="reduced", second=True):
    """Records as `labkit measure` writes them: {row: [metric a seed, None: failed]}; tuning chose the last setting.

    second: of the present edition; else of the first one, in its file.
    """
    definition = TABLES[table]
    about = {"device": "cpu", "torch": "2.15.0"}
    path = store.path_of(definition.file(table) if second else definition.first, size, folder)

    def write(job, results, curve):
        kept = {**dataclasses.asdict(job), "settings": trial.settings(job), "behavior": store.versions(store.OF_ALL)}
        store.append(path, {**kept, "results": results, "curve": curve, "about": about})

    for row, of_seeds in values.items():
        best = len(definition.rows[row].settings) - 1
        if definition.tuned_as(row) == row:
            for job in [job for of_setting in tuning.runs(table, size, dataset, row) for job in of_setting]:
                score = 0.1 + 0.01 * job.setting + 0.001 * (job.seed % 2)
                write(job, dict.fromkeys(("closest accuracy", "recall@1", "accuracy", "MAP@R"), score), {})
        for setting in (best, 0) if best else (best,):  # tuning was done anew, say, and chose another one before
            for seed, value in enumerate(of_seeds):
                results = dict.fromkeys(("closest accuracy", "recall@1", "accuracy"), value if setting == best else 0.0)
                curve = {"step": [10, 20], **{name: [0.5 * (value or 0), value] for name in list(results)[:2]}}
                if value is None:
                    results, curve = {"failed": "the loss is nan in step 7"}, {}
                if second or setting == best:
                    write(trial.Job(table, size, dataset, row, "final", seed, setting), results, curve)


def test_the_report_has_mean_error_published_figure_and_what_is_missing(tmp_path):
    values = {BASELINE: [0.90, 0.92, 0.91], "L_std": [0.93, 0.94, 0.94], "L_exp": [0.5, 0.5, 0.6]}
    write_records(tmp_path, "exponential_triplet", "fashion_mnist", values)
    (result,) = report.results("exponential_triplet", "reduced", folder=tmp_path)
    assert result.dataset == "fashion_mnist" and result.metrics() == ["closest accuracy", "recall@1"]
    head, *lines = report.cells(result)
    assert [line[0] for line in lines] == list(values) and head[-1] == "published (Fashion-MNIST)"
    assert lines[1][1:3] == ["3", "93.67 ± 0.33"] and lines[1][-1] == "91.4"  # the chosen setting, not setting 0
    assert lines[0][-3:] == ["–", "–", "–"]
    expected = report.holm({row: ttest_rel(values[row], values[BASELINE]).pvalue for row in ("L_std", "L_exp")})
    assert lines[1][-3] == "+2.67" and lines[1][-2] == f"{expected['L_std']:.3f}"
    assert any("not measured yet: L_std, L2, L_std, Unit-Bounce, L_std + L_class" in note for note in result.notes)
    assert any(note.startswith("3 seeds: only large") for note in result.notes)
    assert "Fashion-MNIST, reduced size" in report.text(result) and "93.67 ± 0.33" in report.markdown(result)
    bars = report.figure(result).axes[0]
    assert [tick.get_text() for tick in bars.get_yticklabels()] == list(values)


def test_the_report_says_what_was_chosen_how_long_the_runs_were_and_tests_the_compared_pairs(tmp_path):
    values = {BASELINE: [0.90, 0.92, 0.91], "L_std": [0.93, 0.94, 0.94], "L_exp": [0.5, 0.5, 0.6]}
    write_records(tmp_path, "exponential_triplet", "fashion_mnist", values)
    (result,) = report.results("exponential_triplet", "reduced", folder=tmp_path)
    p = ttest_rel(values["L_exp"], values["L_std"]).pvalue
    assert f"pairs, in the same way, corrected for 1: L_exp − L_std -40.33 p {p:.3f}" in result.notes
    assert "edition 2 of the protocol (experiments/README.md)" in result.notes
    assert "epochs seen: 2.6" in result.notes  # 1200 batches of 128 of 60,000 images
    mean = np.mean([np.mean(of_row) for of_row in values.values()])
    error = 100 * math.sqrt(mean * (1 - mean) / 10_000)
    assert any(f"another 10000 test images would move all rows by about {error:.2g} points" in n for n in result.notes)
    chosen = report.chosen(result)
    assert chosen[0] == "Settings chosen on validation, by closest accuracy"
    assert f"{BASELINE}: rate 5 (4 tried, largest rate of its grid)" in chosen
    assert "L_exp: rate 32, diameter 0.45 (12 tried, largest rate and largest diameter of its grid)" in chosen
    assert "\n- L_exp: rate 32" in report.markdown(result) and report.text(result).endswith("\n".join(chosen))


@pytest.mark.parametrize("dataset, count", [("fashion_mnist", 5), ("mnist", 3)])
def test_the_first_edition_is_shown_until_the_second_is_whole(dataset, count, tmp_path):
    rows = TABLES["convergence"].rows
    write_records(tmp_path, "convergence", dataset, {row: [0.5] * 3 for row in rows}, second=False)
    (result,) = report.results("convergence", "reduced", folder=tmp_path)
    assert result.edition == 1 and result.values["L_exp"]["recall@1"] == {0: 0.5, 1: 0.5, 2: 0.5}
    assert not report.chosen(result) and not any("not measured yet" in note for note in result.notes)
    *most, last = rows
    write_records(tmp_path, "convergence", dataset, {row: [0.75] * count for row in most})
    write_records(tmp_path, "convergence", dataset, {last: [0.75] * (count - 1)})
    assert report.results("convergence", "reduced", dataset, tmp_path)[0].edition == 1
    chosen = trial.Job("convergence", "reduced", dataset, last, "final", count - 1, len(rows[last].settings) - 1)
    kept = {**dataclasses.asdict(chosen), "settings": trial.settings(chosen), "behavior": {}, "curve": {}}
    failed = {**kept, "results": {"failed": "the loss is nan"}, "about": {"device": "cpu", "torch": "2.15.0"}}
    store.append(store.path_of("runs", "reduced", tmp_path), failed)  # which is a result, too
    (result,) = report.results("convergence", "reduced", dataset, tmp_path)
    assert result.edition == 2 and set(result.values[BASELINE]["recall@1"].values()) == {0.75}


def test_rows_that_failed_are_named_and_not_taken_for_missing(tmp_path):
    failed = {"center, λ=1.0": [None, None], "center, λ=0.01": [None]}
    write_records(tmp_path, "center", "fashion_mnist", {BASELINE: [0.9, 0.8], **failed})
    (result,) = report.results("center", "reduced", folder=tmp_path)
    assert list(result.values) == [BASELINE] and result.failed == {row: len(of_row) for row, of_row in failed.items()}
    assert "center, λ=1.0: 2 runs failed (the loss was no finite number)" in result.notes
    assert "center, λ=0.01: 1 run failed (the loss was no finite number)" in result.notes
    (missing,) = [note for note in result.notes if "not measured yet" in note]
    assert "λ=0.1" in missing and "λ=1.0" not in missing
    write_records(tmp_path, "recipe", "mnist", {BASELINE: [None]})
    (result,) = report.results("recipe", "reduced", folder=tmp_path)
    assert result.failed == {BASELINE: 1} and not any("seed" in note for note in result.notes)


def test_tables_of_speed_say_after_how_many_steps_a_level_is_reached(tmp_path):
    write_records(tmp_path, "exponential_triplet", "fashion_mnist", {BASELINE: [0.9, 0.8], "L_exp": [0.95, 0.97]})
    (result,) = report.results("convergence", "reduced", folder=tmp_path)  # the other table's runs are its own too
    assert report.steps_to(result, 0.85) == {BASELINE: [20, None], "L_exp": [20, 20]}
    assert [line[-1] for line in report.cells(result)] == ["steps to 85 %", "20 (1 of 2)", "20"]
    axes = report.figure(result).axes[0]
    assert axes.get_xlabel() == "training step" and len(axes.lines) == 2
    for curves_of_row in result.curves.values():  # as on unseen classes
        for curve in curves_of_row.values():
            del curve["closest accuracy"]
    assert report.figure(result).axes[0].get_xlabel().startswith("closest accuracy")


def test_a_table_is_not_shown_for_a_dataset_on_which_only_another_was_measured(tmp_path):
    write_records(tmp_path, "pedcc", "orl-faces", {BASELINE: [0.9, 0.8]})
    assert [result.dataset for result in report.results("pedcc", "reduced", folder=tmp_path)] == ["orl-faces"]
    assert report.results("center", "reduced", folder=tmp_path) == []  # which shares its cross-entropy
    assert report.results("exponential_triplet", "reduced", folder=tmp_path)[0].values


def test_tables_over_a_parameter_are_drawn_over_it(tmp_path):
    rows = {row: [0.5, 0.6] for row in TABLES["circle"].rows if "," in row}
    write_records(tmp_path, "circle", "fashion_mnist", {BASELINE: [0.9, 0.9], **rows})
    (result,) = report.results("circle", "reduced", folder=tmp_path)
    assert list(result.values) == list(TABLES["circle"].rows)  # the runs with their margin tuned are among them
    axes = report.figure(result).axes[0]
    assert (
        axes.get_xlabel() == "margin"
        and axes.get_xscale() == "linear"
        and {line.get_label() for line in axes.lines} == {"triplet", "circle", BASELINE}
    )
    *families, baseline = axes.lines
    assert list(baseline.get_ydata()) == [0.9] * 7 and set(families[0].get_ydata()) == {0.55}
    assert {tuple(line.get_xdata()) for line in families} == {
        (0.2, 0.4, 0.6, 0.7, 0.8, 1.0),
        (0.25, 0.4, 0.6, 0.7, 0.8, 1.0),
    }


def test_records_of_other_behavior_are_shown_with_a_word_about_it(tmp_path, monkeypatch):
    write_records(tmp_path, "center", "fashion_mnist", {BASELINE: [0.9]})
    (result,) = report.results("center", "reduced", folder=tmp_path)
    assert not any("another version" in note for note in result.notes)
    monkeypatch.setitem(store.BEHAVIOR, "loop", 2)
    monkeypatch.delitem(store.BEHAVIOR, "data")
    (result,) = report.results("center", "reduced", folder=tmp_path)
    assert "measured with another version of data, loop" in result.notes


def test_show_displays_records_or_says_that_there_are_none(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda thing, **options: shown.append(getattr(thing, "data", thing)))
    monkeypatch.setattr(records, "DATA", tmp_path)
    show("center")
    assert "not measured yet" in shown[-1]
    write_records(tmp_path / "measured", "center", "fashion_mnist", {BASELINE: [0.9]})
    show("center", "fashion_mnist")
    words, picture, alt = shown[1:]
    assert "| cross-entropy | 1 | 90.00" in words and picture["image/png"]
    assert alt["text/plain"] == "accuracy in percent, Fashion-MNIST, reduced size: cross-entropy 90.00"
    with pytest.raises(ValueError, match="table: got 'tables', expected one of exponential_triplet"):
        show("tables")


def test_labs_read_a_metric_of_the_records(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "DATA", tmp_path)
    write_records(tmp_path / "measured", "center", "mnist", {BASELINE: [0.9, 0.8], "center, λ=0.1": [0.7]})
    path = store.path_of("runs", "reduced")
    path.write_text("".join(reversed(path.read_text("utf-8").splitlines(keepends=True))), "utf-8")  # seed 1 before 0
    found = measured("center", "mnist", "accuracy")
    assert {row: values.tolist() for row, values in found.items()} == {BASELINE: [0.9, 0.8], "center, λ=0.1": [0.7]}
    with pytest.raises(ValueError, match="center: no record of 'MAP' on 'mnist' in size 'reduced'"):
        measured("center", "mnist", "MAP")
    found = curves("center", "mnist", "recall@1")
    assert found[BASELINE].tolist() == [[0.45, 0.9], [0.4, 0.8]] and found["center, λ=0.1"].tolist() == [[0.35, 0.7]]
    with pytest.raises(ValueError, match="center: no curve of 'MAP' on 'mnist' in size 'reduced'"):
        curves("center", "mnist", "MAP")


def test_what_was_measured_and_committed_is_whole():
    for path in (records.DATA / "measured").glob("*.jsonl"):
        found = store.read(path)
        present = all("loss" in record["settings"] or record["table"].startswith("distancing") for record in found)
        names = ("dataset", "row", "kind", "seed", "setting")  # the first edition's settings do not name the loss
        keys = {store.key(each) if present else tuple(each[name] for name in names) for each in found}
        assert len(keys) == len(found), path.name
        for record in found:
            assert record["behavior"].items() <= store.BEHAVIOR.items(), path.name
            assert json.dumps(record["about"]) and record["size"] in ("full", "reduced")
