"""What stands between a corpus and a model on either side: text or pictures in, numbers out, in one file."""

import hashlib
import os
from abc import ABC, abstractmethod
from pathlib import Path


class Reader(ABC):
    """How one side of a corpus becomes numbers. It is one file, `<name>` + `suffix`."""

    suffix: str

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of ids, special symbols included; of a picture the number of channels."""

    @abstractmethod
    def to_bytes(self) -> bytes:
        """The contents of the file."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the file, in hex."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def save(self, folder: Path, name: str) -> Path:
        """Write the file `name` + `suffix` into `folder`, durably and in one piece; the path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}{self.suffix}"
        temporary = path.with_name(path.name + ".tmp")
        with temporary.open("wb") as file:
            file.write(self.to_bytes())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        return path

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reader) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())
