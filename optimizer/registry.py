"""The registry of models: what is published is noted with its digest, and only what still has that digest is loaded.

A model file is parsed by Vowpal Wabbit and by us, and what it says decides whom we contact. So bytes that a disk, a
restored backup or somebody has changed are refused before anything reads them.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from optimizer.errors import OptimizerError

if TYPE_CHECKING:
    from optimizer.store.rows import SnapshotRow


class AlteredModel(OptimizerError):
    """A stored model is not the one that was published."""

    code = "altered_model"


def digest_of(model: bytes) -> str:
    """The digest under which a model is registered: SHA-256 in hex."""
    return sha256(model).hexdigest()


def body_of(row: SnapshotRow) -> bytes:
    """The published snapshot, as `Snapshot.loads` reads it. Raises AlteredModel."""
    return _unaltered(row.body, row.digest, f"the body of snapshot {row.snapshot_id}")


def resume_of(row: SnapshotRow) -> bytes | None:
    """What the trainer goes on from, None where the row does not keep it. Raises AlteredModel."""
    if row.resume is None:
        return None
    return _unaltered(row.resume, row.resume_digest, f"the learner of snapshot {row.snapshot_id}")


def _unaltered(model: bytes, registered: str | None, what: str) -> bytes:
    found = digest_of(model)
    if found != registered:
        raise AlteredModel(
            f"{what} has the digest {found[:12]}, and was published with {(registered or 'none')[:12]}: it is not "
            "loaded; restore it from a backup, or let the trainer publish a new one"
        )
    return model
