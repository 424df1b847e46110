"""Figures of a build as the database would give them."""

from db.queries import Figure

PLAIN = Figure(
    series=1,
    device="Apple M5 Max, 40 GPU cores, 128 GB",
    cell="c",
    metric="generation_tps",
    benchmark="decode",
    model="reference",
    cache="fp16",
    context=4096,
    parameters=(),
    record=1,
    run="run",
    origin=None,
    build="b",
    commit=None,
    comparison_key="k",
    started=0.0,
    value=1.0,
    low=1.0,
    high=1.0,
    trials=1,
    noise=None,
)


def figure(**facts) -> Figure:
    """Return a figure of which only these facts matter."""
    return Figure(**(vars(PLAIN) | facts))
