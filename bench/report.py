"""The results as markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["tables"]

_NAMES = {"default": "the included network"}


def tables(results: Mapping[str, Any]) -> str:
    """Return the tables of docs/measurements.md for the results as they are in the JSON file."""
    machine = results["machine"]
    accelerator = f"{machine['accelerator']}; " if "accelerator" in machine else ""
    head = (
        f"{accelerator}{machine['processor']}, {machine['cores']} cores, "
        f"{machine['instructions']}, torch {machine['torch']}, "
        f"onnxruntime {machine.get('onnxruntime', 'not used')}; "
        f"`{results['command'].strip()}`, median of {results['rounds']} interleaved rounds.\n"
    )
    parts = [head]
    for speed in results["speed"]:
        # Memory hardly depends on the threads.
        memory = results["peak_memory_mb"].get(speed["backbone"])
        parts.append(_speed(speed, memory if speed["threads"] == machine["threads"] else None))
    return "\n".join(parts)


def _speed(speed: Mapping[str, Any], memory: Mapping[str, float] | None) -> str:
    batches = list(speed["forward_ms"])
    lines = [
        f"**{_NAMES.get(speed['backbone'], speed['backbone'])}** ({speed['gflop']} GFLOP a face), "
        f"{speed['threads']} thread{'s' if speed['threads'] > 1 else ''}",
        "",
        "| | "
        + " | ".join(f"faces/s, batch {b}" for b in batches)
        + " | "
        + " | ".join(f"× published, batch {b}" for b in batches)
        + " |",
        "|---" * (1 + 2 * len(batches)) + "|",
    ]
    for group, milliseconds in reversed(speed["engine_ms"].items()):
        rates = [f"{1e3 / milliseconds[b]:.1f}" for b in batches]
        speedups = [f"{speed['speedup'][group][b]:.1f}" for b in batches]
        lines.append("| " + " | ".join([f"`{group}`", *rates, *speedups]) + " |")
    rates = [f"{1e3 / speed['forward_ms'][b]:.1f}" for b in batches]
    lines.append(
        "| "
        + " | ".join(["plain forward pass, without the last layers", *rates, *[""] * len(batches)])
        + " |"
    )
    for name, milliseconds in speed.get("variants_ms", {}).items():
        rates = [f"{1e3 / milliseconds[b]:.1f}" for b in batches]
        speedups = [f"{speed['published_ms'] / milliseconds[b]:.1f}" for b in batches]
        lines.append("| " + " | ".join([name, *rates, *speedups]) + " |")
    published = f"{1e3 / speed['published_ms']:.1f}"
    blank = [""] * (len(batches) - 1)
    lines.append(
        "| "
        + " | ".join(["published way, one face at a time", published, *blank, "1.0", *blank])
        + " |"
    )
    lines += ["", _sentence(speed, batches), ""]
    lines += [] if memory is None else [_memory(memory), ""]
    return "\n".join(lines)


def _sentence(speed: Mapping[str, Any], batches: list[str]) -> str:
    def listed(values: Mapping[str, float], form: str) -> str:
        return " / ".join(format(values[b], form) for b in batches)

    return (
        f"In batches of {' / '.join(batches)}, the plain forward pass reaches "
        f"{listed(speed['forward_share'], '.0%')} of the rate of a large matrix product "
        f"({speed['matrix_gflops']:.0f} GFLOP/s), and torch's own modules "
        f"{listed(speed['modules_share'], '.0%')}. `block4` with its embedding takes "
        f"{listed(speed['block4_over_forward'], '.2f')} times as long as the plain forward pass."
    )


def _memory(memory: Mapping[str, float]) -> str:
    values = "; ".join(
        f"{way.replace('@', ', batches of ')}: {mb:.0f} MB" for way, mb in memory.items()
    )
    return f"Peak memory, weights included. {values[0].upper()}{values[1:]}."
