"""Puts the specification into the package, for `refcodec validate --explain` to quote; the rest is pyproject.toml."""
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithSpecification(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:  # a checkout has it beside the package
            target = Path(self.build_lib) / "refcodec" / "specification"
            target.mkdir(parents=True, exist_ok=True)
            for path in Path("spec").iterdir():
                shutil.copy2(path, target)


setup(cmdclass={"build_py": BuildWithSpecification})
