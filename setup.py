"""What pyproject.toml can't say: the compiled kernels, which are optional, and the specification in the package.

    REFCODEC_NO_KERNELS=1 pip install .     # without the compiled kernels, on purpose
    python setup.py build_ext --inplace     # for a checkout that is used where it lies
"""
import os
import shutil
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # setuptools before 70.1
    from wheel.bdist_wheel import bdist_wheel

SOURCES, TRAINING = Path("refcodec/kernels/src"), Path("refcodec/kernels/training")


class BuildWithSpecification(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:  # a checkout has it beside the package
            target = Path(self.build_lib) / "refcodec" / "specification"
            target.mkdir(parents=True, exist_ok=True)
            for path in Path("spec").iterdir():
                shutil.copy2(path, target)


class BuildWhereThereIsACompiler(build_ext):
    """Each extension by itself is left out where it can't be built."""

    def run(self) -> None:
        try:
            super().run()
        except Exception as error:  # the kinds that compilers fail in are many
            self.extensions = []  # nothing to copy
            _explain("compiled kernels, numpy and torch", error)

    def build_extensions(self) -> None:
        built = []
        for ext in self.extensions:
            training = ext.name.endswith("_training")
            try:
                if training and self.compiler.compiler_type == "msvc":
                    raise OSError("it needs GCC or Clang")
                self.build_extension(ext)
                built.append(ext)
            except Exception as error:
                _explain("compiled training step, torch" if training else "compiled kernels, numpy", error)
        self.extensions = built

    def build_extension(self, ext: Extension) -> None:
        if self.compiler.compiler_type != "msvc":
            ext.extra_compile_args += ["-std=c99", "-O3", "-fvisibility=hidden"]
            # What decodes and renders rounds after every operation; training is as fast as the processor allows.
            ext.extra_compile_args += (["-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"]
                                       if ext.name.endswith("_training") else ["-ffp-contract=off"])
        super().build_extension(ext)


def _explain(what: str, error: Exception) -> None:
    reason = " ".join(str(error).split())
    print(f"refcodec: no {what} instead, several times slower: {reason}", file=sys.stderr)


class WheelForTheStableAbi(bdist_wheel):
    def finalize_options(self) -> None:
        if self.distribution.ext_modules:
            self.py_limited_api = "cp311"
        super().finalize_options()


def kernels() -> list[Extension]:
    if os.environ.get("REFCODEC_NO_KERNELS"):
        return []
    return [_extension("_native", SOURCES), _extension("_training", TRAINING)]


def _extension(name: str, folder: Path) -> Extension:
    return Extension(
        f"refcodec.kernels.{name}", sorted(str(p) for p in folder.glob("*.c") if p.name != "wasm.c"),
        depends=sorted(str(p) for p in folder.glob("*.[hi]*")), py_limited_api=True,
        define_macros=[("Py_LIMITED_API", "0x030B0000")])


setup(ext_modules=kernels(), cmdclass={"build_py": BuildWithSpecification, "build_ext": BuildWhereThereIsACompiler,
                                       "bdist_wheel": WheelForTheStableAbi})
