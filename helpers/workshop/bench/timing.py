"""Median times, alone or side by side."""

import statistics
import time


def median_time(function, repeats: int = 7) -> float:
    """Seconds: the median of several runs after a warm-up."""
    function()
    spent = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        spent.append(time.perf_counter() - began)
    return statistics.median(spent)


def beside(rows: dict, repeats: int = 7) -> dict[str, float]:
    """Median seconds of several functions, run in turn under the same load."""
    for function in rows.values():
        function()
    spent = {name: [] for name in rows}
    for _ in range(repeats):
        for name, function in rows.items():
            began = time.perf_counter()
            function()
            spent[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in spent.items()}
