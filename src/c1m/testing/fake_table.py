"""A ring's table of direct descriptors, with the kernel's rule for choosing a free place.

Source: io_file_bitmap_get/set/clear (io_uring/filetable.c, filetable.h): the search goes on from
the place after the last one taken, or from the last one freed, to the end, then from the start.
"""

from __future__ import annotations

import errno
from collections import Counter

from c1m.testing.fake_files import File
from c1m.testing.fake_sockets import error


class FileTable:
    """Places 0..size-1, each empty or with a file."""

    def __init__(self, counts: Counter[str]) -> None:
        self.size = 0
        self._files: dict[int, File] = {}
        self._hint = 0
        self._counts = counts

    def __len__(self) -> int:
        """Places that are taken."""
        return len(self._files)

    def get(self, place: int) -> File | None:
        """The file in a place."""
        return self._files.get(place)

    def install(self, file: File) -> int | None:
        """Put a file into a free place; None (and the file not held) when there is none."""
        if len(self._files) >= self.size:
            return None
        place = self._hint if self._hint < self.size else 0
        while place in self._files:
            place = (place + 1) % self.size
        self._put(place, file)
        return place

    def put(self, place: int, file: File) -> None:
        """Put a file into this place; what is there is replaced (and counted: nobody wants it)."""
        if not 0 <= place < self.size:
            raise error(errno.EINVAL)
        if place in self._files:
            self._counts["replaced_files"] += 1
            self._files.pop(place).drop()
        self._put(place, file)

    def _put(self, place: int, file: File) -> None:
        file.hold()
        self._files[place] = file
        self._hint = place + 1

    def clear(self, place: int) -> None:
        """Empty a place. Raises OSError(EBADF) where it is."""
        file = self._files.pop(place, None)
        if file is None:
            self._counts["bad_files"] += 1
            raise error(errno.EBADF)
        self._hint = place
        file.drop()

    def clear_all(self) -> None:
        """The ring ends."""
        for place in list(self._files):
            self.clear(place)
