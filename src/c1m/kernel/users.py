"""Another user than root, to be after the ports are bound and the keys are read.

Facts
- setresuid from root to another user clears all capabilities, the ambient ones too
  (capabilities(7)); nothing brings them back.
- Rings that root makes lock memory without a limit (CAP_IPC_LOCK); those of another user count
  against RLIMIT_MEMLOCK of that user. So the user changes before the first ring is made, and what
  the first one was granted is what later ones may hope for.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Sequence
from dataclasses import dataclass

from c1m.errors import UsageError


@dataclass(frozen=True, slots=True)
class User:
    """Who a process is to be."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]

    @classmethod
    def of(cls, text: str) -> User:
        """Of NAME or NAME:GROUP, numbers where they have no names. Raises UsageError."""
        name, colon, group = text.partition(":")
        try:
            entry = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
        except (KeyError, ValueError, OverflowError):  # also "a\0b"
            raise UsageError(
                f"There is no user {name!r}.", "Give --user a name of /etc/passwd: --user nobody."
            ) from None
        gid, groups = entry.pw_gid, os.getgrouplist(entry.pw_name, entry.pw_gid)
        if colon:
            try:
                gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
            except (KeyError, ValueError, OverflowError):
                raise UsageError(
                    f"There is no group {group!r}.", "Give --user NAME:GROUP one of /etc/group."
                ) from None
            groups = [gid]
        if os.geteuid() not in (0, entry.pw_uid):
            raise UsageError(
                f"Only root can become {name} (--user), and this process is not.",
                "Start it as root, or as that user without --user.",
            )
        return cls(entry.pw_name, entry.pw_uid, gid, tuple(groups))

    def become(self, paths: Sequence[str] = ()) -> None:
        """For good: with its groups, and without a capability. These files are its from now on."""
        if os.geteuid() != 0:
            return  # it is already
        for path in paths:
            os.chown(path, self.uid, -1)
        os.setgroups(self.groups)
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)
