"""Fits pictures and masks to their cameras: sizes, EXIF orientation, missing files, the meaning of masks."""
from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from refcodec.datasets import checks
from refcodec.datasets.layout import Draft, MaskOption, pictures_in
from refcodec.datasets.model import TURNED, ImageHeader, MaskUse, Notice, View
from refcodec.datasets.naming import Names
from refcodec.datasets.videos import is_video
from refcodec.errors import DatasetError

MIN_SHARE = 0.8  # of the pictures, that a calibration should have poses for
_DIGIT = "#"
_MOST_MISSING = 0.5  # of a scene's pictures
_SCALES = (0.8, 1.25)  # between these a picture's size is an accident, not a scale
_ROUNDED = 0.99  # pixels that programs round away
_LOOKED_AT = 8  # masks, to see what they mean
_SOFT, _MATTE = 0.05, 0.2  # values between are neither visible nor hidden; a mask with more of them is a matte
_OPEN_BORDER = 0.5  # of a picture's border, that a mask of an object does not leave visible

Headers = list[list["ImageHeader | DatasetError"]]


def fit(draft: Draft, layout_masks: MaskOption, masks: MaskOption,
        on_header: Callable[[int, int, str], None] | None = None) -> tuple[list[DatasetError], bool]:
    """Changes the draft's views; the errors that remain, and whether all views have alpha or a foreground mask."""
    headers = _headers(draft, on_header)
    if not any(isinstance(header, DatasetError) for own in headers for header in own):
        _compare_with_folder(draft)
    _leave_out(draft, headers)
    _orient(draft, headers)
    _scale(draft, headers)
    files = _fit_masks(draft, headers, draft.masks or layout_masks, masks)
    errors, covered, views = [], 0, 0
    for frame, own in zip(draft.frames, headers, strict=True):
        for view, header in zip(frame.views, own, strict=True):
            error = header if isinstance(header, DatasetError) else checks.view_problem(view, header)
            if error is not None:
                errors.append(error)
                continue
            views += 1
            covered += _has_alpha(header) or (view.mask is not None and view.mask_use == "foreground")
    if 0 < covered < views and not errors:
        draft.notices.append(Notice("W16", f"{views - covered} of {views} pictures have neither alpha nor a mask and "
                                           "count as "
                                    "opaque, the others do not: the same space is both empty and not. Give all of them "
                                    "masks, or none (--masks none)"))
    elif 0 < files < views and not errors and not covered:
        draft.notices.append(Notice("W16", f"{views - files} of {views} pictures have no mask; all of their pixels are "
                                    "trained on"))
    return errors, covered == views


def _headers(draft: Draft, on_header: Callable[[int, int, str], None] | None) -> Headers:
    total, done, found = sum(len(frame.views) for frame in draft.frames), 0, []
    for frame in draft.frames:
        own: list[ImageHeader | DatasetError] = []
        for view in frame.views:
            if on_header:
                on_header(done, total, f"headers: frame {frame.number}, camera {view.camera_index}")
            done += 1
            try:
                own.append(checks.header_of(view.image, position=view.image_position))
            except DatasetError as error:
                own.append(error)
        found.append(own)
    return found


def _has_alpha(header: ImageHeader | DatasetError) -> bool:
    return isinstance(header, ImageHeader) and header.has_alpha


# ---- What is left out --------------------------------------------------------


def _leave_out(draft: Draft, headers: Headers) -> None:
    """Missing pictures of one frame, up to a share, and held-out ones that can't be used. A sequence's rig is whole."""
    if len(draft.frames) != 1:
        draft.problems.errors += draft.held_out_problems.errors
        return
    frame, own = draft.frames[0], headers[0]
    lost = [error for error in draft.problems.errors if error.code == "D04" and _is_missing(error)]
    unread = draft.held_out_problems.errors
    missing = [i for i, header in enumerate(own) if isinstance(header, DatasetError) and header.code == "D04"]
    total = len(frame.views) + len(draft.problems.errors) + len(unread)
    drop = set()
    count = len(missing) + len(lost)
    held_out = [i for i, (view, header) in enumerate(zip(frame.views, own, strict=True))
                if view.split == "test" and draft.has_split
                and (header if isinstance(header, DatasetError) else checks.view_problem(view, header)) is not None
                and not (isinstance(header, ImageHeader) and _fits(view, header))]
    if unread or held_out:
        first = unread[0] if unread else own[held_out[0]]
        error = first if isinstance(first, DatasetError) else checks.view_problem(frame.views[held_out[0]])
        total_held = len(unread) + sum(view.split == "test" for view in frame.views)
        text = str(error).removeprefix(f"{getattr(error, 'code', '')}: ")
        draft.notices.append(Notice("W15", f"{len(unread) + len(held_out)} of {total_held} held-out views can't be "
                                           "used and "
                                    f"are left out: {text}"))
        drop.update(held_out)
        missing = [i for i in missing if i not in drop]
        count = len(missing) + len(lost)
    if count and count <= _MOST_MISSING * total:
        paths = [frame.views[i].image for i in missing] + [Path(e.path) for e in lost if e.path]
        draft.notices.append(Notice("W14", f"{count} of {total} pictures that the calibration lists are missing, and "
                                           "left out: "
                                    f"{', '.join(p.name for p in paths[:4])}{', …' if len(paths) > 4 else ''}",
                                    paths[0] if paths else None))
        drop.update(missing)
        draft.problems.errors = [error for error in draft.problems.errors if error not in lost]
    elif count and total > 1:
        for i in missing:
            own[i] = _many_missing(own[i], count, total)
    if drop:
        frame.views = [view for i, view in enumerate(frame.views) if i not in drop]
        headers[0] = [header for i, header in enumerate(own) if i not in drop]
    if draft.has_split and not any(view.split == "test" for view in frame.views):
        draft.has_split = False


def _compare_with_folder(draft: Draft) -> None:
    """Warns where a calibration lists few of its folders' pictures, as one does that could not place the others."""
    unread = draft.problems.errors or draft.held_out_problems.errors
    if draft.is_sequence or draft.partial or len(draft.frames) != 1 or unread \
            or any(n.code == "W17" for n in draft.notices):
        return
    listed: dict[tuple[Path, str], int] = {}
    for view in draft.frames[0].views:
        if view.image_position is None:
            kind = view.image.parent, _pattern(view.image)
            listed[kind] = listed.get(kind, 0) + 1
    listed = {kind: count for kind, count in listed.items() if _DIGIT in kind[1]}
    there = {kind: sum(_pattern(path) == kind[1] for path in pictures_in(kind[0])) for kind in listed}
    own, found = sum(listed.values()), sum(there.values())
    if own < MIN_SHARE * found:
        folder = next(iter(listed))[0]
        draft.notices.append(Notice("W17", f"the calibration lists {own} of the {found} pictures of their kind in "
                                    f"{folder.name}/: if it could not place the others, more overlap between pictures "
                                    "helps", folder))


def _pattern(path: Path) -> str:
    """A name without its numbers, so that depths and normals beside pictures are no pictures."""
    return re.sub("[0-9]+", _DIGIT, path.name)


def _is_missing(error: DatasetError) -> bool:
    return error.path is not None and not os.path.isfile(error.path) and "the image is missing" in str(error)


def _many_missing(error: ImageHeader | DatasetError, count: int, total: int) -> DatasetError:
    assert isinstance(error, DatasetError)
    text = str(error).removeprefix(f"{error.code}: ").removesuffix(f" [{error.path}]")
    return DatasetError(error.code, f"{text}; {count} of {total} pictures are: check where the pictures are, or take "
                                    "their "
                        "entries out", error.path)


# ---- Orientation and size ----------------------------------------------------


def _fits(view: View, header: ImageHeader) -> bool:
    """Whether a picture has its camera's proportions, as stored or upright."""
    width, height = view.file_size
    sizes = [(header.width, header.height)] + ([(header.height, header.width)] if header.orientation in TURNED else [])
    return any(_ratio(size, (width, height)) is not None for size in sizes)


def _orient(draft: Draft, headers: Headers) -> None:
    """Pictures that were calibrated as viewers show them, turned by what EXIF says."""
    turned = stored = 0
    for frame, own in zip(draft.frames, headers, strict=True):
        for i, (view, header) in enumerate(zip(frame.views, own, strict=True)):
            if not isinstance(header, ImageHeader) or header.orientation == 1:
                continue
            size = header.width, header.height
            if header.orientation in TURNED and _ratio(size, view.file_size) is None \
                    and _ratio(size[::-1], view.file_size) is not None:
                frame.views[i] = dataclasses.replace(view, orientation=header.orientation)
                turned += 1
            else:
                stored += 1
    if turned:
        draft.assumptions.append(f"{turned} pictures are turned upright, as their EXIF orientation says and the "
                                 "calibration's size is (write them upright to be sure)")
    if stored:
        draft.assumptions.append(f"{stored} pictures have an EXIF orientation and are used as they are stored, as the "
                                 "calibration's size is, or as COLMAP does (write them upright to have them turned)")


def _ratio(size: tuple[int, int], wanted: tuple[int, int]) -> float | None:
    """Scale of a picture against its camera's size, None if its proportions differ by more than a pixel."""
    if min(wanted) < 1:
        return None
    low = max((s - _ROUNDED) / w for s, w in zip(size, wanted, strict=True))
    high = min((s + _ROUNDED) / w for s, w in zip(size, wanted, strict=True))
    return size[0] / wanted[0] if low <= high else None


def _scale(draft: Draft, headers: Headers) -> None:
    """Cameras scaled to their pictures, where all pictures are the same multiple of what the calibration says."""
    pairs = [(view, header) for frame, own in zip(draft.frames, headers, strict=True)
             for view, header in zip(frame.views, own, strict=True) if isinstance(header, ImageHeader)]
    ratios = [_ratio(checks.upright(header, view.orientation), view.file_size) for view, header in pairs]
    if not pairs or any(r is None or _SCALES[0] < r < _SCALES[1] for r in ratios):
        return
    known = [r for r in ratios if r is not None]
    slack = max(2 / min(view.file_size) for view, _ in pairs)
    if max(known) - min(known) > slack:
        return
    for frame, own in zip(draft.frames, headers, strict=True):
        for i, (view, header) in enumerate(zip(frame.views, own, strict=True)):
            if isinstance(header, ImageHeader):
                try:
                    frame.views[i] = scaled(view, *checks.upright(header, view.orientation))
                except DatasetError as error:
                    draft.problems.add(error)
    factor = float(np.median(known))
    whole = round(1 / factor)
    told = f"1/{whole}" if whole > 1 and abs(1 / factor - whole) < 0.02 else f"{factor:.4g} times"
    view, header = pairs[0]
    draft.assumptions.append(
        f"the pictures are {told} the size that the calibration is for ({header.width}x{header.height}, not "
        f"{view.file_size[0]}x{view.file_size[1]}): the intrinsics are scaled (state the pictures' own to say "
        "otherwise)")


def scaled(view: View, width: int, height: int) -> View:
    """The view of a picture of another size. Raises DatasetError D11."""
    old = view.file_size
    x, y = width / old[0], height / old[1]
    if view.lens is not None:
        lens = view.lens.scaled(x, y, width, height)
        camera, lens_or_none = checks.lens_camera(lens, view.camera.camera_to_world, view.camera.name, view.image)
        return dataclasses.replace(view, camera=camera, lens=lens_or_none)
    c = view.camera
    camera = dataclasses.replace(c, width=width, height=height, fx=c.fx * x, fy=c.fy * y, cx=c.cx * x, cy=c.cy * y)
    return dataclasses.replace(view, camera=camera)


# ---- Masks -------------------------------------------------------------------


def _fit_masks(draft: Draft, headers: Headers, layout_masks: MaskOption, option: MaskOption) -> int:
    """Settles which masks are used, their size and their meaning; how many views have one."""
    views = [(frame, i) for frame in draft.frames for i in range(len(frame.views))]
    if option == "none":
        if any(frame.views[i].mask is not None for frame, i in views):
            draft.assumptions.append("masks are not read (--masks none)")
        for frame, i in views:
            frame.views[i] = dataclasses.replace(frame.views[i], mask=None, mask_position=None)
        return 0
    hidden = alpha = False
    if not any(frame.views[i].mask is not None for frame, i in views) and layout_masks == "auto":
        hidden = _dynamic_masks(draft)
        alpha = not hidden and _alpha_pictures(draft)
        if not hidden and not alpha and not any(_has_alpha(h) for own in headers for h in own):
            _masks_beside(draft)
    with_mask = [(frame, i) for frame, i in views if frame.views[i].mask is not None]
    if not with_mask:
        return 0
    _scale_masks(draft, with_mask)
    use: MaskUse
    if option in ("foreground", "ignore"):
        use = "ignore" if option == "ignore" else "foreground"
    elif hidden or alpha:
        use = "ignore" if hidden else "foreground"
    elif layout_masks == "auto":
        use = _meaning([frame.views[i] for frame, i in with_mask])
    else:
        use = "ignore" if layout_masks == "ignore" else "foreground"
    for frame, i in with_mask:
        frame.views[i] = dataclasses.replace(frame.views[i], mask_use=use)
    if option == use:
        why = ""
    elif layout_masks == "auto" and not hidden and not alpha:
        why = f", as most of the pictures' border is {'visible' if use == 'ignore' else 'hidden'}"
    else:
        why = ", as this layout has it"
    if use == "ignore":
        draft.assumptions.append(f"what masks hide is ignored, not empty: it is neither trained on nor compared{why} "
                                 "(--masks foreground: it is empty space)")
    elif layout_masks == "auto":
        draft.assumptions.append(f"masks tell the foreground: what they hide is empty space{why} (--masks ignore: it "
                                 "is "
                                 "not trained on)")
    return len(with_mask)


def _dynamic_masks(draft: Draft) -> bool:
    """instant-ngp's masks beside the pictures: what is not black is hidden."""
    found = 0
    for frame in draft.frames:
        for i, view in enumerate(frame.views):
            path = view.image.with_name(f"dynamic_mask_{view.image.stem}.png")
            if view.image_position is None and os.path.isfile(path):
                frame.views[i] = dataclasses.replace(view, mask=path, mask_inverted=True)
                found += 1
    if found:
        draft.assumptions.append(f"{found} masks dynamic_mask_NAME.png beside the pictures are used (--masks none "
                                 "leaves "
                                 "them out)")
    return bool(found)


def _alpha_pictures(draft: Draft) -> bool:
    """instant-ngp's alpha channels in files of their own, NAME.png.alpha.png beside NAME.png."""
    found = 0
    for frame in draft.frames:
        for i, view in enumerate(frame.views):
            names = (f"{stem}.alpha{view.image.suffix}" for stem in (view.image.name, view.image.stem))
            path = next((p for name in names if os.path.isfile(p := view.image.with_name(name))), None)
            if view.image_position is None and path is not None:
                frame.views[i] = dataclasses.replace(view, mask=path)
                found += 1
    if found:
        draft.assumptions.append(f"{found} pictures NAME.alpha.png beside the pictures are their alpha (--masks none "
                                 "leaves them out)")
    return bool(found)


def _masks_beside(draft: Draft) -> None:
    """A folder masks/ beside that of the pictures, with a mask of each picture's name."""
    names: dict[Path, Names | None] = {}
    found: list[tuple[list[View], int, Path]] = []
    for frame in draft.frames:
        for i, view in enumerate(frame.views):
            folder = view.image.parent.parent / "masks"
            if folder not in names:
                names[folder] = Names(folder, extensions=True) if folder.is_dir() else None
            own = names[folder]
            candidates = (f"{view.image.name}.png", view.image.name, view.image.stem)
            path = next((p for name in candidates if own and (p := own.find(name))), None)
            if path is not None and view.image_position is None:
                found.append((frame.views, i, path))
    for views, i, path in found:
        views[i] = dataclasses.replace(views[i], mask=path)
    if found:
        draft.assumptions.append(f"{len(found)} masks in masks/ beside the pictures are used, though the calibration "
                                 "does "
                                 "not name them (--masks none leaves them out)")


def _scale_masks(draft: Draft, with_mask: Sequence[tuple[object, int]]) -> None:
    """Masks at another size than their pictures are scaled, if it is one multiple for all."""
    ratios, where = [], []
    for frame in draft.frames:
        for i, view in enumerate(frame.views):
            if view.mask is None or view.mask_position is not None:
                continue
            try:
                header = checks.header_of(view.mask, "mask")
            except DatasetError:
                return
            size = header.width, header.height
            if size in (view.file_size, view.file_size[::-1] if view.orientation in TURNED else None):
                return
            ratio = _ratio(size, view.file_size) or _ratio(view.file_size, size) and size[0] / view.file_size[0]
            if not ratio:
                return
            ratios.append(ratio)
            where.append((frame.views, i))
    if not ratios or max(ratios) - min(ratios) > 0.02 * max(ratios):
        return
    for views, i in where:
        views[i] = dataclasses.replace(views[i], mask_scaled=True)
    draft.assumptions.append(f"the masks are {float(np.median(ratios)):.4g} times as large as the pictures and are "
                             "scaled "
                             "(export them at the pictures' size to say otherwise)")


def _meaning(views: Sequence[View]) -> MaskUse:
    """An object's mask hides most of a picture's border; a mask of what is to be ignored leaves most of it visible."""
    from refcodec.datasets.pixels import mask_of

    if any(view.mask is not None and is_video(view.mask) for view in views):
        return "foreground"
    shares = []
    for i in np.unique(np.linspace(0, len(views) - 1, min(_LOOKED_AT, len(views))).round().astype(int)):
        try:
            mask = mask_of(views[i])
        except DatasetError:
            continue
        if mask.size:
            border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
            # A soft mask is a matte: it tells how much of a pixel is foreground.
            soft = float(((mask > _SOFT) & (mask < 1 - _SOFT)).mean())
            shares.append(0.0 if soft > _MATTE else float((border >= 1 - _SOFT).mean()))
    return "ignore" if shares and float(np.median(shares)) > _OPEN_BORDER else "foreground"
