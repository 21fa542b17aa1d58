"""The demo: encodes a few frames of the running fox, decodes, renders, compares.

    python demo/run.py [--frames 4] [--out out]

Everything goes through the command line that a user has. A second run finds the encode finished, and replaces the rest.
"""
from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent


def refcodec(*arguments: str) -> None:
    """Runs one command and shows it."""
    print("\n$ refcodec " + " ".join(arguments), flush=True)
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "refcodec", *arguments], check=True, cwd=ROOT)
    print(f"  ({time.monotonic() - started:.1f} s)", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=4, help="how many of the eight frames (default 4)")
    parser.add_argument("--out", type=Path, default=ROOT / "out", help="folder for everything (default out/)")
    arguments = parser.parse_args()
    if not 1 <= arguments.frames <= 8:
        parser.error("--frames goes from 1 to 8")
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    file = str(out / "fox.rfv")
    started = time.monotonic()
    refcodec("encode", "demo/fox", file, "--frames", f":{arguments.frames}", "--no-evaluate",
             "--metadata", "title=Running fox", "--metadata", "attribution=see demo/fox/LICENSE.md")
    refcodec("decode", file, str(out / "tensors"), "--force")
    refcodec("inspect", file)
    refcodec("validate", file)
    refcodec("render", file, str(out / "views"), "--dataset", "demo/fox", "--dataset-frames",
             f":{arguments.frames}", "--compare", "--force")
    metrics = json.loads((out / "views" / "metrics.json").read_text())
    sizes = json.loads(subprocess.run([sys.executable, "-m", "refcodec", "inspect", file, "--json"],
                                      check=True, capture_output=True, cwd=ROOT).stdout)
    show(metrics, sizes)
    print(f"\nComparison pictures (truth, render, error): {out / 'views'}")
    print(f"The whole demo took {time.monotonic() - started:.0f} s.")


def show(metrics: dict, inspected: dict) -> None:
    """Bytes and PSNR per frame."""
    def mean(frame: int, key: str) -> float:
        values = [view[key] for view in metrics["pictures"] if view["frame"] == frame]
        return sum(values) / len(values)

    print("\nframe  type    bytes   PSNR on held-out views: around the fox, whole pictures")
    for frame in inspected["frames"]:
        number = frame["number"]
        print(f"{number:5d}  {frame['type']:>4}  {frame['bytes']:7,d}   {mean(number, 'psnr_box'):.2f} dB, "
              f"{mean(number, 'psnr'):.2f} dB")


if __name__ == "__main__":
    main()
