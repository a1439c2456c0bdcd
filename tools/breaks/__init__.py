"""Breaks: each claim of a lab is seen to fail.

A claim that cannot go red says nothing. So the course keeps, for every claim, a *break*: a change to labkit or to a
cell under which exactly what the claim says stops being true. `tools/breaks/labNN.py` lists the breaks of lab NN:

    def without_hinge(original):
        def forward(self, embeddings, labels): ...
        return forward

    BREAKS = [
        Break(
            "the triplet loss has no hinge",
            replaces={"labkit.losses.triplet.TripletLoss.forward": without_hinge},
            reddens=["Share of easy triplets in the same batch after training"],
        ),
        Break(
            "the network is not trained",
            edits={"triplet-41": ("EPOCHS)", "1)")},
            reddens=["Closest accuracy on the test split, all classes"],
        ),
    ]

    python lab.py breaks 04 --jobs 2      executes lab 04 once a break, and once unbroken, all claims collected
    python lab.py breaks 04 --missing     the same, but only what has no fitting record yet
    python lab.py breaks 04 --list        claims and the breaks that redden them, nothing executed

What came out is kept in data/measured/breaks.json, each claim by its statement. tests/tools/test_breaks.py finds a
claim without a break, a break whose claim is gone, and a record that no longer fits claims and breaks as they stand.
"""

import hashlib
import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from course import notebooks

RECORD = notebooks.ROOT / "data" / "measured" / "breaks.json"
CLAIM = re.compile(r"^✓ (?P<statement>.*) \((?P<bound>(?:at least|at most|within) [^()]*)\)$")


@dataclass(frozen=True)
class Break:
    """One change that makes claims of a lab false.

    name: what is changed, in words.
    reddens: the claims that must go red, each by the beginning of its statement (which may fit several claims).
    replaces: dotted name of a function, method or class of labkit -> a function from the original to what replaces it.
    edits: id of a cell -> (text, text in its place), or several such pairs; each text must stand in the cell once.
    quick: whether this is the lab's break that the test command executes.
    until: id of the last cell that has to be executed; default: all cells.
    """

    name: str
    reddens: Sequence[str]
    replaces: Mapping[str, Callable] = field(default_factory=dict)
    edits: Mapping[str, tuple] = field(default_factory=dict)
    quick: bool = False
    until: str | None = None

    def digest(self) -> str:
        """Changes when the break does: its edits, and the source of its replacements."""
        sources = {name: inspect.getsource(change) for name, change in self.replaces.items()}
        text = json.dumps([sources, {cell: list(pairs(edit)) for cell, edit in self.edits.items()}], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def fits(self, statement: str) -> bool:
        """Whether this break must redden the claim."""
        return any(statement.startswith(beginning) for beginning in self.reddens)


def pairs(edit: Sequence) -> Sequence[tuple[str, str]]:
    """The (text, text in its place) of one cell's edit, which is one pair or several."""
    return [edit] if isinstance(edit[0], str) else edit


def breaks_of(number: str) -> list[Break]:
    """The breaks of lab `number` ("04"); none where the lab has no list yet."""
    name = f"tools.breaks.lab{number}"
    return list(import_module(name).BREAKS) if find_spec(name) else []


def claims_of(path: Path) -> dict[str, str]:
    """The claims that an executed notebook shows: statement -> its bound in words."""
    shown = (
        output.data.get("text/plain", "")
        for cell in notebooks.read(path).cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "data" in output
    )
    found = filter(None, map(CLAIM.match, shown))
    return {match["statement"]: match["bound"] for match in found}


def faults_of(number: str, claims: Mapping[str, str], breaks: Sequence[Break], record: Mapping | None) -> list[str]:
    """What is wrong with a lab's breaks, in words: claims without a break, breaks without a claim, records out of date.

    record: the lab's part of data/measured/breaks.json, or None.
    """
    faults = [f"no break reddens: {statement}" for statement in claims if not any(b.fits(statement) for b in breaks)]
    for one in breaks:
        gone = [text for text in one.reddens if not any(statement.startswith(text) for statement in claims)]
        faults += [f"break {one.name!r}: no claim begins with {text!r}" for text in gone]
    if [one.quick for one in breaks].count(True) != 1:
        faults.append("expected exactly one quick break")
    again = f"run: python lab.py breaks {number}"
    if record is None:
        return [*faults, f"nothing is recorded; {again}"]
    if record["claims"] != claims:
        different = sorted(set(record["claims"].items()) ^ set(claims.items()))
        faults.append(f"the record has other claims; {again} ({different[0][0]})")
    if set(record["breaks"]) != {one.name for one in breaks}:
        faults.append(f"the record has other breaks; {again}")
    for one in breaks:
        kept = record["breaks"].get(one.name)
        if kept is None:
            continue
        if kept["digest"] != one.digest():
            faults.append(f"break {one.name!r} was changed after it was recorded; {again}")
        green = [statement for statement in claims if one.fits(statement) and statement not in kept["red"]]
        faults += [f"break {one.name!r} leaves green: {statement}" for statement in green]
    return faults


def records() -> dict:
    """data/measured/breaks.json: lab's number -> {"claims": {statement: bound}, "breaks": {name: outcome}}."""
    return json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
