"""Whether anything known is wrong with what constraints.txt pins: `python -m tests.security.advisories`.

Asks the advisory service of `pip-audit`. Where that cannot be reached, it says what was not looked at, and goes on; an
advisory is an error.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

_CONSTRAINTS: Final = Path(__file__).parents[2] / "constraints.txt"
_COMMAND: Final = ("--require-hashes", "--disable-pip", "--format", "json", "--progress-spinner", "off")


def main() -> None:
    """Print what is known, and exit with 1 where something is."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(_CONSTRAINTS), *_COMMAND]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found, told = judged(done.stdout, done.stderr)
    print("\n".join(told))
    sys.exit(int(found))


def judged(report: str, complaint: str) -> tuple[bool, list[str]]:
    """Whether something is known to be wrong, and what is to be told, of what pip-audit wrote to stdout and stderr."""
    if not report.strip():
        last = complaint.strip().splitlines()[-1:]
        return False, ["NOT AUDITED: no advisory service could be asked about constraints.txt.", *last]
    packages = json.loads(report)["dependencies"]
    asked = [package for package in packages if "skip_reason" not in package]
    if not asked:
        return False, [f"NOT AUDITED: no advisory service tells of any of the {len(packages)} packages."]
    told = [f"{len(asked)} of the {len(packages)} packages in constraints.txt were looked up."]
    if len(asked) < len(packages):
        missing = [package["name"] for package in packages if "skip_reason" in package]
        told.append(f"NOT AUDITED: the advisory service does not tell of {', '.join(missing)}.")
    advisories = [
        f"{package['name']} {package['version']}: {advisory['id']}, fixed in {advisory['fix_versions'] or 'no version'}"
        for package in asked
        for advisory in package["vulns"]
    ]
    return bool(advisories), [*told, *advisories, f"{len(advisories)} advisories"]


if __name__ == "__main__":
    main()
