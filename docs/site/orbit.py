"""The picture of the gallery: `python docs/site/orbit.py FILE.rfv OUT.png`, renders on an orbit over their depth."""
from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np

import refcodec
from refcodec.rendering.paths import orbit
from refcodec.rendering.pictures import colour_depth, write_png

VIEWS, SIDE, ZOOM = 6, 160, 2


def main(source: str, target: str) -> None:
    with refcodec.open(source) as stream:
        frames = list(stream)
        low, high = stream.header.box
        up = np.mean([c.camera_to_world[:3, 1] for c in stream.cameras], axis=0)
        axis = np.eye(3)[np.argmax(np.abs(up))] * np.sign(up[np.argmax(np.abs(up))])
        cameras = [replace(c, fx=ZOOM * c.fx, fy=ZOOM * c.fy) for c in orbit(
            low, high, VIEWS, width=SIDE, height=SIDE, up=axis, elevation=15)]
        pictures = [frames[i * len(frames) // VIEWS].render(camera) for i, camera in enumerate(cameras)]
    rows = (np.concatenate([p.rgb for p in pictures], 1),
            np.concatenate([colour_depth(p.depth, p.opacity) for p in pictures], 1))
    write_png(target, np.concatenate(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
