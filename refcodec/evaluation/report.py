"""The report of `refcodec evaluate` as files: JSON, CSV, Markdown, plots, and one page that opens offline."""
from __future__ import annotations

import base64
import csv
import io
from collections.abc import Callable, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..files import replacing
from .points import write_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

JSON, CSV, MARKDOWN, HTML = "evaluate.json", "evaluate.csv", "evaluate.md", "evaluate.html"
_COLUMNS = ("curve", "kind", "representation", "parameter", "value", "frames", "size", "measured_on", "psnr",
            "psnr_box", "ssim", "ms_ssim", "lpips", "nearest_psnr", "encode_seconds", "decode_seconds",
            "render_seconds", "file")
# Metrics around the object come first: most of a whole picture is background, which any field shows well.
_METRICS = (("psnr_box", "PSNR inside the mask's box", "dB"), ("psnr", "PSNR of whole pictures", "dB"),
            ("ssim", "SSIM", ""), ("ms_ssim", "MS-SSIM", ""), ("lpips", "LPIPS", ""))
_MARKERS = "osD^vP*X<>ph"


def require_packages() -> None:
    """Raises UsageError where what draws and lays out reports is missing."""
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
    except ImportError as e:
        raise UsageError(f'reports need {e.name}: pip install "refcodec[evaluate]"') from None


def write_tables(report: dict[str, Any], folder: Path) -> None:
    """JSON, CSV and Markdown."""
    write_json(folder / JSON, report)
    with replacing(folder / CSV) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        components = sorted({c for d in report["datasets"] for p in d["points"] for c in p["components"]})
        rows.writerow(["dataset", *_COLUMNS, *(f"bytes of {c}" for c in components)])
        for dataset in report["datasets"]:
            rows.writerows([dataset["name"], *("" if p[c] is None else p[c] for c in _COLUMNS),
                            *(p["components"].get(c, 0) for c in components)] for p in dataset["points"])
    with replacing(folder / MARKDOWN) as temporary:
        temporary.write_text(markdown(report), encoding="utf-8", newline="\n")


def write_report(report: dict[str, Any], folder: Path) -> None:
    """All files: also the plots of each dataset, and the page that holds everything."""
    write_tables(report, folder)
    pictures: dict[str, list[dict[str, Any]]] = {}
    for dataset in report["datasets"]:
        pictures[dataset["name"]] = []
        for name, title, draw in plots(dataset):
            data = draw()
            path = folder / f"{dataset['name']}-{name}.png"
            with replacing(path) as temporary:
                temporary.write_bytes(data)
            pictures[dataset["name"]].append(dict(title=title, data=base64.b64encode(data).decode()))
    with replacing(folder / HTML) as temporary:
        temporary.write_text(html(report, pictures), encoding="utf-8", newline="\n")


# Tables.


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _setting(point: dict[str, Any]) -> str:
    return "preset's" if point["value"] is None else f"{point['parameter']} {point['value']:g}"


def tables(dataset: dict[str, Any]) -> list[dict[str, Any]]:
    """A dataset's tables: title, head, rows of texts, note."""
    points = dataset["points"]
    found = []
    if dataset["comparisons"]:
        rows = [[c["curve"], _percent(c["bd_rate"]), _signed(c["bd_psnr"]), c["note"] or ""]
                for c in dataset["comparisons"]]
        found.append(dict(
            title=f"Against {dataset['anchor']}", head=["curve", "BD-rate", "BD-PSNR", "remarks"], rows=rows,
            note="BD-rate: bytes more (+) or less (−) at equal PSNR. BD-PSNR: dB more or less at equal bytes. PSNR is "
                 "that of whole pictures."))
    optional = [(key, title) for key, title in (
        ("psnr_box", "PSNR in the box"), ("psnr", "PSNR"), ("ssim", "SSIM"), ("ms_ssim", "MS-SSIM"), ("lpips", "LPIPS"),
        ("nearest_psnr", "nearest view")) if any(p[key] is not None for p in points)]
    rows = [[p["curve"], _setting(p), _number(p["size"] / 1000, 1),
             *(_number(p[key], 2 if key.endswith(("box", "psnr")) else 4) for key, _ in optional), p["measured_on"]]
            for p in points]
    found.append(dict(
        title="Rate and quality", rows=rows,
        note="KB of 1000 bytes, the whole file over its frames. In the box: inside the bounding box of each mask; else "
             "over whole pictures.",
        head=["curve", "setting", "KB a frame", *(title for _, title in optional), "measured on"]))
    components = _components(points)
    found.append(dict(
        title="Bytes a frame by what they hold", head=["curve", "setting", *components],
        rows=[[p["curve"], _setting(p), *(f"{p['components'].get(c, 0):,.0f}" for c in components)] for p in points],
        note="They add up to the file."))
    found.append(dict(
        title="Seconds", head=["curve", "setting", "encode, a frame", "decode, a frame", "render, a picture"],
        rows=[[p["curve"], _setting(p), _number(p["encode_seconds"], 2), _number(p["decode_seconds"], 3),
               _number(p["render_seconds"], 3)] for p in points],
        note="Encoding with a codec's system is training; baselines code a field that is trained already"
             + "".join(f" ({r}: {t['seconds']:.0f} s a frame)" for r, t in dataset["training"].items()) + "."))
    return found


def remarks(dataset: dict[str, Any]) -> list[str]:
    """Remarks on a dataset's points."""
    lines = [f"{name} was not run: {reason}" for name, reason in dataset["not_run"].items()]
    lines += [f"{name} failed: {reason}" for name, reason in dataset["failures"].items()]
    if any(p["kind"] == "views" for p in dataset["points"]):
        lines.append("Source views as video: quality is that of the source views themselves. Such a stream shows no "
                     "view from anywhere else; “nearest view” is the PSNR of the nearest source view in place of "
                     "each held-out one.")
    if not dataset["complete"]:
        lines.append("The run is not complete.")
    return lines


def summary(dataset: dict[str, Any], report: dict[str, Any]) -> str:
    views = dataset["views"]
    return (f"{dataset['frames']} frame{'s' * (dataset['frames'] != 1)} of {dataset['source']}, {views['train']} "
            f"training and {views['test']} held-out views of {dataset['width']}×{dataset['height']}, "
            f"preset {report['options']['preset']}")


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:+.1f} %".replace("-", "−")


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.2f} dB".replace("-", "−")


def _components(points: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(c for p in points for c in p["components"]))


def markdown(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    lines = ["# Evaluation", "", f"refcodec {report['tool']['version']}; every file is decoded before it is measured, "
             "and every byte of it counts."]
    lines += ["", *(f"- {name.upper()} is not measured: {why}" for name, why in report["metrics_missing"].items())]
    for dataset in report["datasets"]:
        lines += ["", f"## {dataset['name']}", "", summary(dataset, report) + "."]
        for table in tables(dataset):
            lines += ["", f"### {table['title']}", "", _row(table["head"]), _row(["---"] * len(table["head"])),
                      *map(_row, table["rows"]), "", table["note"]]
        lines += ["", *(f"- {r}" for r in remarks(dataset))]
    return "\n".join(lines).rstrip() + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(str(c).replace("|", "\\|").replace("\n", " ") for c in cells) + " |"


def html(report: dict[str, Any], pictures: dict[str, list[dict[str, Any]]]) -> str:
    """The report as one page. pictures: title and PNG in base64, by dataset."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
                                     lstrip_blocks=True)
    template = environment.from_string(resources.files(__package__).joinpath("report.html.j2").read_text("utf-8"))
    sections = [dict(name=d["name"], summary=summary(d, report), tables=tables(d), remarks=remarks(d),
                     pictures=pictures.get(d["name"], [])) for d in report["datasets"]]
    return template.render(report=report, sections=sections)


# Plots.


def plots(dataset: dict[str, Any]) -> list[tuple[str, str, Callable[[], bytes]]]:
    """(name, title, call that gives the PNG) of the plots that a dataset's points allow."""
    points = dataset["points"]
    fields = [p for p in points if p["kind"] != "views"]
    found: list[tuple[str, str, Callable[[], bytes]]] = [
        (key.replace("_", "-"), f"{title} against bytes", partial(_curves, dataset, fields, key, title, unit))
        for key, title, unit in _METRICS if any(p[key] is not None for p in fields)]
    if len(fields) < len(points):
        found.append(("views-psnr", "PSNR against bytes, source views as video included",
                      partial(_curves, dataset, points, "psnr", "PSNR", "dB")))
    if points:
        found.append(("components", "Bytes by what they hold", partial(_bars, dataset)))
    return found


def _curves(dataset: dict[str, Any], points: Sequence[dict[str, Any]], key: str, title: str, unit: str) -> bytes:
    """A metric over KB a frame (logarithmic), one line a curve; broken lines are of source views."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    figure = Figure(figsize=(10, 5.6), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    for k, curve in enumerate(dict.fromkeys(p["curve"] for p in points)):
        own = sorted((p for p in points if p["curve"] == curve and p[key] is not None),
                     key=lambda p: p["size"])
        if not own:
            continue
        views = own[0]["kind"] == "views"
        axes.plot([p["size"] / 1000 for p in own], [p[key] for p in own], marker=_MARKERS[k % len(_MARKERS)],
                  color=f"C{k % 10}", linestyle="--" if views else "-",
                  linewidth=2.4 if own[0]["kind"] == "codec" else 1.2, markerfacecolor="none" if views else None,
                  label=curve + (" (on source views)" if views else ""))
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(10, (1, 2, 5)))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("KB a frame")
    axes.set_ylabel(title + (f" ({unit})" if unit else ""))
    axes.set_title(f"{dataset['name']}, {dataset['frames']} frames")
    axes.grid(True, which="major", alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8)
    return _png(figure)


def _bars(dataset: dict[str, Any]) -> bytes:
    """Bytes a frame by component, a bar a point; what has thirty times the smallest size would dwarf the rest."""
    from matplotlib.figure import Figure

    smallest = min(p["size"] for p in dataset["points"])
    points = [p for p in dataset["points"] if p["size"] < 30 * smallest]
    figure = Figure(figsize=(10, 1.2 + 0.24 * len(points)), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    names = [f"{p['curve']}, {_setting(p)}" for p in points]
    left = [0.0] * len(points)
    for k, component in enumerate(_components(points)):
        sizes = [p["components"].get(component, 0) / 1000 for p in points]
        axes.barh(range(len(points)), sizes, left=left, color=f"C{k % 10}", label=component)
        left = [a + b for a, b in zip(left, sizes)]
    axes.set_yticks(range(len(points)), names, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("KB a frame")
    axes.margins(y=0.01)
    axes.legend(fontsize=8)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()
