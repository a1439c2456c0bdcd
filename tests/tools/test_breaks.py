"""tools.breaks: a lab is executed broken, its claims are collected, and lists and records that do not fit are found."""

import dataclasses
import json

import pytest
from click.testing import CliRunner
from nbformat import v4

from course import notebooks
from tools import breaks
from tools.breaks import Break, __main__, breaks_of, claims_of, faults_of
from tools.breaks.execute import cells_of, run_all

LABS = {path.stem[:2]: path for path in notebooks.labs() if breaks_of(path.stem[:2])}

SOURCES = {
    "one": "from labkit.claims import claim\nfrom labkit.distances import paired_distances\nimport torch",
    "two": "a = torch.zeros(1, 2)\nclaim('Distance of a point to itself', paired_distances(a, a), at_most=1e-9)",
    "three": "size = 3\nclaim('Size', size, near=3, tolerance=0.5)\nclaim('Size again', size, at_least=2)",
    "four": "claim('The end is reached', 1, at_least=1)",
}


@pytest.fixture
def lab(tmp_path):
    """An executed notebook with four claims."""
    shown = {"two": ["Distance of a point to itself (at most 1e-09)"], "four": ["The end is reached (at least 1)"]}
    shown["three"] = ["Size (within 0.5 of 3)", "Size again (at least 2)"]
    cells = []
    for name, source in SOURCES.items():
        outputs = [v4.new_output("display_data", {"text/plain": f"✓ {text}"}) for text in shown.get(name, [])]
        cells.append(v4.new_code_cell(source, id=name, outputs=outputs))
    path = tmp_path / "77_tiny.ipynb"
    path.write_text(notebooks.canonical(v4.new_notebook(cells=cells)), encoding="utf-8")
    return path


def farther(original):
    return lambda a, b, squared=False: original(a, b, squared) + 1


FARTHER = Break("distances too large", ["Distance"], {"labkit.distances.paired_distances": farther}, quick=True)
SMALLER = Break("size 1", ["Size"], edits={"three": ("size = 3", "size = 1")})
STOPPED = Break("no claim is reached", ["The end"], edits={"four": ("claim('The end", "1 / 0\nclaim('The end")})


@pytest.fixture
def listed(monkeypatch):
    """Let lab 77 have these breaks, in this process and in those that it starts."""

    def put(*found):
        monkeypatch.setattr(breaks, "breaks_of", lambda number: list(found))
        monkeypatch.setattr(__main__, "breaks_of", lambda number: list(found))

    return put


def executed(lab, one):
    """The outcome of one execution, in a process of its own that knows the breaks of this file."""
    import multiprocessing

    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(_run, (lab, one and one.name))


def _run(lab, name):
    from tools.breaks.execute import run

    return run(lab, next((one for one in (FARTHER, SMALLER, STOPPED) if one.name == name), None))


def test_claims_are_read_from_the_outputs(lab):
    assert claims_of(lab) == {
        "Distance of a point to itself": "at most 1e-09",
        "Size": "within 0.5 of 3",
        "Size again": "at least 2",
        "The end is reached": "at least 1",
    }


@pytest.mark.parametrize(
    ("broken", "red", "green"),
    [
        (None, [], ["Distance of a point to itself", "Size", "Size again", "The end is reached"]),
        (FARTHER, ["Distance of a point to itself"], ["Size", "Size again", "The end is reached"]),
        (SMALLER, ["Size", "Size again"], ["Distance of a point to itself", "The end is reached"]),
        (STOPPED, [], ["Distance of a point to itself", "Size", "Size again"]),
    ],
    ids=["whole", "function", "cell", "cell that fails"],
)
def test_exactly_the_broken_claims_go_red(lab, broken, red, green):
    outcome = executed(lab, broken)
    assert (sorted(outcome["red"]), outcome["green"]) == (red, green)
    assert len(outcome["errors"]) == (broken is STOPPED)


def test_the_lab_as_it_is_runs_in_a_process_of_its_own(lab):
    [(one, outcome)] = run_all(lab, [None])
    assert one is None and not outcome["red"] and len(outcome["green"]) == 4


def test_edits_must_fit(lab):
    with pytest.raises(ValueError, match="stands 2 times in cell three, expected once"):
        cells_of(lab, dataclasses.replace(SMALLER, edits={"three": ("claim", "print")}))
    with pytest.raises(ValueError, match="cell: got 'five'"):
        cells_of(lab, dataclasses.replace(SMALLER, until="five"))
    assert [name for name, _ in cells_of(lab, dataclasses.replace(SMALLER, until="three"))] == ["one", "two", "three"]


def test_what_does_not_fit_is_found(lab):
    claims, found = claims_of(lab), [FARTHER, SMALLER]
    record = {"claims": claims, "breaks": {one.name: {"digest": one.digest(), "red": list(claims)} for one in found}}
    assert faults_of("77", claims, found, record) == ["no break reddens: The end is reached"]
    all_three = [*found, STOPPED]
    assert "the record has other breaks" in " ".join(faults_of("77", claims, all_three, record))
    record["breaks"][STOPPED.name] = {"digest": STOPPED.digest(), "red": []}
    assert faults_of("77", claims, all_three, record) == [f"break {STOPPED.name!r} leaves green: The end is reached"]
    record["breaks"][STOPPED.name]["red"] = ["The end is reached"]
    assert not faults_of("77", claims, all_three, record)
    changed = [FARTHER, dataclasses.replace(SMALLER, edits={"three": ("size = 3", "size = 0")}), STOPPED]
    assert "was changed after it was recorded" in " ".join(faults_of("77", claims, changed, record))
    stale = [FARTHER, dataclasses.replace(SMALLER, reddens=["Size", "Weight"]), STOPPED]
    assert faults_of("77", claims, stale, record) == ["break 'size 1': no claim begins with 'Weight'"]
    assert "other claims" in " ".join(faults_of("77", {**claims, "Size": "at least 1"}, all_three, record))
    assert "nothing is recorded" in " ".join(faults_of("77", claims, all_three, None))
    assert "one quick break" in " ".join(faults_of("77", claims, [SMALLER, STOPPED], record))


def test_the_command_lists_what_has_no_break(lab, listed):
    listed(FARTHER, SMALLER)
    told = CliRunner().invoke(__main__.main, [str(lab), "--list"], catch_exceptions=False).output
    assert "Size again (at least 2)\n      size 1" in told and "The end is reached (at least 1)\n      NO BREAK" in told


def test_each_outcome_is_recorded_as_it_ends_and_the_unbroken_lab_must_be_green(lab, listed, monkeypatch, tmp_path):
    monkeypatch.setattr(breaks, "RECORD", tmp_path / "breaks.json")
    monkeypatch.setattr(__main__, "RECORD", tmp_path / "breaks.json")
    listed(FARTHER, SMALLER)

    def cut_short(path, wanted, jobs):
        yield None, {"red": {"Size": "1"}, "green": [], "errors": [], "seconds": 1.0}
        yield FARTHER, {"red": {"Distance of a point to itself": "1"}, "green": [], "errors": [], "seconds": 1.0}
        raise KeyboardInterrupt

    monkeypatch.setattr(__main__, "run_all", cut_short)
    assert CliRunner().invoke(__main__.main, [str(lab)]).exit_code == 1
    assert set(breaks.records()["77"]["breaks"]) == {FARTHER.name}
    listed(dataclasses.replace(FARTHER, edits={"three": ("nowhere", "x")}))
    with pytest.raises(ValueError, match="stands 0 times"):
        CliRunner().invoke(__main__.main, [str(lab)], catch_exceptions=False)


def test_only_what_is_new_is_executed_again(lab):
    claims = claims_of(lab)
    kept = {one.name: {"digest": one.digest(), "red": list(claims)} for one in (FARTHER, SMALLER)}
    kept[SMALLER.name]["red"] = ["Size"]
    assert set(__main__.fitting({"breaks": kept}, claims, [FARTHER, SMALLER, STOPPED])) == {FARTHER.name}


# ---- the course's own


@pytest.mark.parametrize("number", LABS)
def test_every_claim_has_a_break_that_was_seen_to_redden_it(number):
    record = breaks.records().get(number)
    assert faults_of(number, claims_of(LABS[number]), breaks_of(number), record) == []


@pytest.mark.parametrize("number", LABS)
def test_edits_fit_the_cells(number):
    for one in breaks_of(number):
        cells_of(LABS[number], one)


@pytest.mark.parametrize("number", LABS)
def test_a_quick_break_still_reddens_its_claims(number):
    [quick] = [one for one in breaks_of(number) if one.quick]
    [(_, outcome)] = run_all(LABS[number], [quick])
    due = {statement for statement in claims_of(LABS[number]) if quick.fits(statement)}
    assert due and due <= set(outcome["red"]), outcome


def test_the_record_is_json_with_one_claim_a_line():
    if breaks.RECORD.exists():
        assert set(json.loads(breaks.RECORD.read_text(encoding="utf-8"))) == set(LABS)
