"""The Python interface: what `import refcodec` gives, its types, and what it loads."""
from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import refcodec
from checkout import ROOT
from refcodec.rendering.march import render_camera
from synthetic import small_stream


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("api") / "small.rfv"
    path.write_bytes(small_stream())
    return path


def fresh(code: str) -> str:
    """What `code` prints in a new interpreter."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_loads_nothing_large():
    loaded = fresh("import sys; before = set(sys.modules); import refcodec; "
                   "print(sorted(set(sys.modules) - before - {'__future__'}))")
    assert loaded == "['refcodec']"


def test_headers_need_no_numpy(file):
    code = f"import sys, refcodec; r = refcodec.inspect({str(file)!r}); print(len(r.frames), 'numpy' in sys.modules)"
    assert fresh(code) == "5 False"


def test_decoding_validating_and_rendering_need_no_torch(file):
    code = (f"import sys; sys.modules['torch'] = None; import refcodec; s = refcodec.open({str(file)!r}); "
            f"assert refcodec.validate({str(file)!r}).conforming; p = s.frame(1).render(s.cameras[0]); "
            "print(p.rgb.shape)")
    assert fresh(code) == "(30, 40, 3)"


def test_every_public_name_exists_and_is_documented():
    for name in refcodec.__all__:
        if name != "__version__":
            assert inspect.getdoc(getattr(refcodec, name)), name
    assert set(refcodec.__all__) <= set(dir(refcodec))
    with pytest.raises(AttributeError, match="no attribute 'decode'"):
        _ = refcodec.decode


def test_type_checkers_see_the_names_that_are_loaded_on_use():
    imports = [node for node in ast.walk(ast.parse((ROOT / "refcodec/__init__.py").read_text()))
               if isinstance(node, ast.ImportFrom) and node.level]
    declared = {alias.asname or alias.name: (node.module, alias.name) for node in imports for alias in node.names}
    assert declared == refcodec._LAZY
    assert refcodec.__all__ == ["__version__", *refcodec._LAZY]


def test_streams_are_iterable_again_and_again_and_seekable(file):
    with refcodec.open(file) as stream:
        first = [frame.number for frame in stream]
        assert first == [frame.number for frame in stream] == [0, 1, 2, 3, 4]
        wanted = stream.frame(4)
        assert [frame.number for frame in stream.frames(range(1, 4))] == [1, 2, 3]
        assert stream.frame(0).type == 1
        last = list(stream)[-1]
        assert all(np.array_equal(a, b) for a, b in zip(wanted.tensors, last.tensors, strict=True))
        for missing in (5, -1, 1 << 40):
            with pytest.raises(refcodec.UsageError, match=f"holds no frame {missing}$"):
                stream.frame(missing)


def test_a_frame_renders_as_its_field_does(file):
    from refcodec.fields import NumpyOps, build

    with refcodec.open(file) as stream:
        frame, camera, seen = stream.frame(2), stream.cameras[0], []
        picture = frame.render(camera, backend="numpy", on_progress=lambda done, rays: seen.append((done, rays)))
        field = build(frame.header, frame.values(), NumpyOps())
        expected = render_camera(field, frame.occupancy, camera, frame.header)
        assert isinstance(picture, refcodec.Picture) and np.array_equal(picture.rgb, expected.rgb)
        assert seen[-1] == (1200, 1200)
        dark = frame.render(camera, backend="numpy", background=(0, 0, 0))
        assert (dark.rgb <= picture.rgb).all() and (dark.rgb < picture.rgb).any()
        with pytest.raises(refcodec.UsageError, match="no backend 'jax'"):
            frame.render(camera, backend="jax")
        with pytest.raises(refcodec.UsageError, match="samples_per_diagonal must be positive"):
            frame.render(camera, backend="numpy", samples_per_diagonal=0)


def test_encode_takes_options_by_name(tmp_path):
    pytest.importorskip("torch")
    seen: list[refcodec.Progress] = []
    report = refcodec.encode(ROOT / "demo/fox", tmp_path / "fox.rfv", refcodec.EncodeOptions(preset="tiny", seed=3),
                             seen.append, preset="micro", frames=range(0, 1), downscale=8, intra_iterations=3,
                             evaluate=False)
    assert isinstance(report, refcodec.EncodeReport) and report.path.stat().st_size == report.size
    # One frame alone tells the time left, too.
    seen.clear()
    refcodec.encode(ROOT / "demo/fox", tmp_path / "one.rfv", None, seen.append, preset="micro", frames=range(0, 1),
                    downscale=8, intra_iterations=60, evaluate=False)
    trained = [p for p in seen if p.phase == "train"]
    assert len(trained) == 3 and all(p.eta_seconds is not None and p.eta_seconds >= 0 for p in trained[1:])
    assert seen[-1].phase == "verify" and refcodec.validate(report.path).conforming
    with pytest.raises(refcodec.UsageError, match="no option 'prset'; there are system, "):
        refcodec.encode(ROOT / "demo/fox", tmp_path / "other.rfv", prset="micro")
    assert not (tmp_path / "other.rfv").exists()


def test_keywords_of_encode_are_the_members_of_its_options():
    pytest.importorskip("torch")
    from refcodec.encoder.gop import EncodeChoices

    assert EncodeChoices.__annotations__.keys() == refcodec.EncodeOptions.__annotations__.keys()
    for name, kind in refcodec.EncodeOptions.__annotations__.items():
        assert getattr(EncodeChoices.__annotations__[name], "__forward_arg__", None) == kind, name
