"""Choose a cache by measuring: a ladder of settings for its divergence, the choice for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from db import queries
from farm.campaign.campaign import Campaign
from farm.errors import FarmError
from farm.judge.choice import WORTH, Tried, by_weight, last_within, mixtures
from farm.plan import ladder
from farm.plan.ladder import Setting
from farm.plan.rounds import in_rounds
from farm.report.figures import Figure, figures
from worker.choice import Divergence, divergence, smallest, worst
from worker.job import BASELINE, Build, Cache, Cell
from worker.record import Record

#: Speeds are those of so many pairs with fp16.
ROUNDS = 2
QUALITY = "quick_divergence"
SPEEDS = {"decode": "generation_tps", "prefill": "prompt_tps"}
#: What is measured of the choice alone, beside fp16.
BESIDE = ("memory", *SPEEDS)
SHOWN = ("kv_bytes", *SPEEDS.values())
_USUAL_RUNGS = 4
FP16 = Cache(name=BASELINE)


class JobFailedError(Exception):
    """A job that failed in a way that nobody asked for; ``record`` says how."""

    def __init__(self, record: Record) -> None:
        super().__init__(record.name)
        self.record = record


@dataclass(frozen=True)
class Choosing:
    """What a choice is for: a build, a host, a model, a context, and texts, of which all count.

    Stored figures of it are used unless their records began before ``since``.
    """

    campaign: Campaign
    build: Build
    host: str
    model: str
    context: int
    texts: tuple[str, ...]
    since: float = 0.0

    def cell(self, benchmark: str, cache: Cache, text: str | None = None) -> Cell:
        return ladder.cell(benchmark, self.model, cache, self.context, text or self.texts[0])

    def stored(self, cell: Cell) -> list[Record]:
        found = queries.cell_records(self.campaign.engine, self.build.hash, cell.id, self.host)
        return [record for record in found if record.started >= self.since]

    def measure(self, cell: Cell, repetition: int = 0) -> Record:
        """Measure a cell now; a failure is the record's."""
        record = self.campaign.measure(self.host)(self.build, cell, repetition)
        self.campaign.tell_job(record)
        return record

    def record(self, cell: Cell) -> Record:
        """Return the newest record of exact figures, measured now where there is none.

        Raises FarmError for a cell that the host refuses, JobFailedError for any other failure.
        """
        return _good((self.stored(cell) or [self.measure(cell)])[-1])

    def plan(self, cells: Sequence[Cell]) -> None:
        """Say how long these cells, and nothing else, will take."""
        self.campaign.expect("choose", [(cell, self.host) for cell in cells])


@dataclass
class Search:
    """What was tried, and why layers were not told apart, if so.

    ``tried`` has the worst of the texts that a setting was measured on, ``texts`` each of them;
    ``leading`` is the text that the first setting diverged most on.
    """

    tried: dict[Setting, Tried] = field(default_factory=dict)
    texts: dict[Setting, dict[str, Divergence]] = field(default_factory=dict)
    leading: str = ""
    note: str = ""

    def add(self, setting: Setting, width: float, text: str, kl: Divergence) -> None:
        """Note what a setting diverges by on a text."""
        known = self.texts.setdefault(setting, {})
        known[text] = kl
        self.tried[setting] = Tried(setting.cache, width, worst(known.values()))

    def chosen(self, budget: float) -> Setting | None:
        """Return the smallest setting within the budget, None where none is."""
        return smallest(
            [(setting, one.width, one.divergence) for setting, one in self.tried.items()], budget
        )

    @property
    def nearest(self) -> Tried:
        return min(self.tried.values(), key=lambda one: one.divergence.high)


def search(choosing: Choosing, budget: float) -> Search:
    """Measure settings until the smallest within a budget of KL divergence is known.

    The ladder is bisected on one text: its first setting is measured on all, and the text that it
    diverges most on leads. Then the next narrower rung is tried with its heaviest layers wider,
    where that is expected to be smaller than the last rung within the budget. What is chosen so
    has to hold on the other texts; where it does not, the next wider setting has to.
    """
    found, rungs = Search(), ladder.ladder()
    choosing.plan(_expected(choosing, rungs))

    def within(number: int) -> bool:
        return _try(choosing, found, rungs[number]).within(budget)

    last = last_within(len(rungs), within)
    if last is None:
        return found
    if last + 1 < len(rungs) and ladder.gains_by_heavy(rungs[last + 1]):
        _tell_layers_apart(choosing, found, rungs[last], rungs[last + 1], budget)
    wider = iter(reversed(rungs[:last]))
    while not _settled(choosing, found, budget):
        setting = next(wider, None)
        if setting is None:
            return found
        _try(choosing, found, setting)
    return found


def _settled(choosing: Choosing, found: Search, budget: float) -> bool:
    """Tell whether some setting is within the budget on all texts, the smallest first."""
    while setting := found.chosen(budget):
        left = [text for text in choosing.texts if text not in found.texts[setting]]
        if not left:
            return True
        kl = divergence_on(choosing, setting.cache, left[0])
        found.add(setting, found.tried[setting].width, left[0], kl)
    return False


def _try(choosing: Choosing, found: Search, setting: Setting, layers: int = 1) -> Divergence:
    """Measure a setting on the leading text; ``layers`` are the model's, where some are heavy.

    The first setting is measured on every text.
    """
    for text in [found.leading] if found.leading else choosing.texts:
        kl = divergence_on(choosing, setting.cache, text)
        found.add(setting, setting.width(layers), text, kl)
    known = found.texts[setting]
    found.leading = max(known, key=lambda text: known[text].high)
    return known[found.leading]


def divergence_on(choosing: Choosing, cache: Cache, text: str) -> Divergence:
    """Return what a cache diverges by on a text.

    Raises FarmError for a context that is too short for the cache to pack anything.
    """
    record = choosing.record(choosing.cell(QUALITY, cache, text))
    match record.details.get("cache"):
        case {"compressed_tokens": 0}:
            short = f"--context {choosing.context}: nothing is compressed"
            raise FarmError(f"{short}; take a longer one")
    return divergence([sample.value for sample in record.samples if sample.metric == "kl"])


def beside_fp16(choosing: Choosing, cache: Cache) -> list[Figure]:
    """Measure what the cache's bytes and speeds are beside fp16's; what is stored is used.

    Speeds take `ROUNDS` pairs of fresh processes that count.
    """
    cells = {name: [choosing.cell(name, one) for one in (FP16, cache)] for name in BESIDE}
    choosing.plan([*cells["memory"], *(cell for name in SPEEDS for cell in cells[name] * ROUNDS)])
    records = [choosing.record(cell) for cell in cells["memory"]]
    for name, metric in SPEEDS.items():
        records += _in_pairs(choosing, cells[name], metric)
    found = [one for one in figures(records) if one.metric in SHOWN]
    return sorted(found, key=lambda one: (not one.cell.is_baseline, SHOWN.index(one.metric)))


def _in_pairs(choosing: Choosing, cells: Sequence[Cell], metric: str) -> list[Record]:
    records = [record for cell in cells for record in choosing.stored(cell)]
    ratios = [one.ratio for one in figures(records) if one.metric == metric and one.ratio]
    known = sum(ratio.pairs for ratio in ratios if ratio.counts)
    places = [(choosing.build, cell, choosing.host) for cell in cells]
    for _, cell, _, number in in_rounds(places, max(ROUNDS - known, 0), choosing.campaign.run):
        records.append(_good(choosing.measure(cell, number)))
    return records


def _tell_layers_apart(
    choosing: Choosing, found: Search, good: Setting, bad: Setting, budget: float
) -> None:
    """Try the narrower rung with its heaviest layers spared, as long as that may be smaller."""
    cell = choosing.cell("layers", bad.cache, found.leading)
    record = (choosing.stored(cell) or [choosing.measure(cell)])[-1]
    if record.failure:
        found.note = f"layers were not told apart: {record.failure.message}"
        return
    layers = [sample.value for sample in record.samples if sample.metric == "layer_kl"]
    heaviest = by_weight(layers)

    def mixture(spared: int) -> Setting:
        return Setting(bad.bits, tuple(sorted(heaviest[:spared])))

    def smaller(spared: int) -> bool:
        return mixture(spared).width(len(layers)) < (1 - WORTH) * good.width()

    whole = found.tried[bad].divergence.high
    for spared in mixtures(layers, whole, budget, smaller):
        setting = mixture(spared)
        if _try(choosing, found, setting, len(layers)).within(budget):
            return
    if not any(setting.heavy for setting in found.tried):
        found.note = "no mixture of layers is expected to be smaller"


def _expected(choosing: Choosing, rungs: Sequence[Setting]) -> list[Cell]:
    """Return the cells that a choice usually takes."""
    middle = rungs[len(rungs) // 2].cache
    pairs = [choosing.cell(name, one) for name in SPEEDS for one in (FP16, middle)] * ROUNDS
    memory = [choosing.cell("memory", one) for one in (FP16, middle)]
    rungs_tried = [choosing.cell(QUALITY, rung.cache) for rung in rungs[-_USUAL_RUNGS:]]
    others = [choosing.cell(QUALITY, middle, text) for text in choosing.texts[1:]] * 2
    return [*rungs_tried, *others, choosing.cell("layers", middle), *memory, *pairs]


def _good(record: Record) -> Record:
    if record.failure and record.failure.kind == "refused":
        raise FarmError(record.failure.message)
    if record.failure:
        raise JobFailedError(record)
    return record
