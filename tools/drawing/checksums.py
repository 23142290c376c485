"""Write the checksums of the bundled files, which change only on purpose.

`python -m tools.drawing.checksums` after such a change; `sha256sum --check SHA256SUMS` in
`helpers/bundled` compares them. READMEs are prose and are not listed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from helpers.profiles import BUNDLED

LIST = BUNDLED / "SHA256SUMS"


def checksums(folder: Path = BUNDLED) -> str:
    """One line a file below a folder: SHA-256, two spaces, the path from there."""
    files = {
        file.relative_to(folder).as_posix(): file
        for file in folder.rglob("*")
        if file.is_file() and not file.name.startswith((".", "README", LIST.name))
    }
    return "".join(
        f"{hashlib.sha256(files[name].read_bytes()).hexdigest()}  {name}\n"
        for name in sorted(files)
    )


if __name__ == "__main__":
    LIST.write_text(checksums(), encoding="utf-8", newline="\n")
