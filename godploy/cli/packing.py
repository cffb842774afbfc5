"""The wheel that this program came from, once more: pip keeps what is in it, but not the wheel.

The form: https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from godploy import resources
from godploy.errors import NotFound

# What pip adds to a wheel's own files.
_OF_PIP = ("INSTALLER", "REQUESTED", "RECORD", "direct_url.json")


def pack(folder: Path) -> Path:
    """Writes the wheel of the installed Godploy into `folder`. Raises NotFound where it was not installed from one."""
    target = folder / resources.WHEEL
    written = target.with_suffix(".tmp")
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")
    try:
        with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as wheel:
            place = ""
            for name, path in _files(_installed()):
                data = path.read_bytes()
                digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
                rows.writerow((name, f"sha256={digest}", len(data)))
                wheel.write(path, name)
                place = name if name.endswith(".dist-info/METADATA") else place
            listed = f"{place.removesuffix('METADATA')}RECORD"
            rows.writerow((listed, "", ""))
            wheel.writestr(listed, record.getvalue())
        written.replace(target)
    finally:
        written.unlink(missing_ok=True)
    return target


def _installed() -> Distribution:
    """Raises NotFound."""
    try:
        found = distribution("godploy")
    except PackageNotFoundError:
        found = None
    if found is None or "godploy/resources.py" not in map(str, found.files or ()):  # as of an editable installation
        raise NotFound("this Godploy was not installed from a wheel", next_step="use install/install.sh of a checkout")
    return found


def _files(installed: Distribution) -> Iterator[tuple[str, Path]]:
    """The files of the wheel, each with where it lies. The programs in `bin` were made by pip."""
    for file in sorted(installed.files or ()):
        if file.parts[0] != ".." and file.suffix != ".pyc" and file.name not in _OF_PIP:
            yield file.as_posix(), Path(str(file.locate()))
