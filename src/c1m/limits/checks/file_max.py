"""fs.file-max: open files of the whole machine. Direct descriptors are files too.

The kernel does not hold processes with CAP_SYS_ADMIN to it (alloc_empty_file in fs/file_table.c).
"""

from __future__ import annotations

from c1m.limits import needs
from c1m.limits.check import OK, Finding, Fix, bounded, unknown, with_room
from c1m.limits.needs import Request
from c1m.limits.situation import Situation

NAME = "fs.file-max"


def check(request: Request, situation: Situation) -> Finding:
    """Against what is left of it (fs.file-nr tells how many are open)."""
    if situation.file_max is None:
        return unknown(NAME, NAME)
    used = situation.files_open or 0
    needed = needs.open_files(request)
    value = with_room(needed + used)
    remedy = f"sysctl -w {NAME}={value}"
    fixes: tuple[Fix, ...] = (
        Fix(NAME, str(value), f"{needed:,} files and {used:,} that are open already"),
    )
    have = max(0, situation.file_max - used)
    text = f"{used:,} of {situation.file_max:,} are open."
    if situation.has_sys_admin:
        if needed <= have:
            remedy, fixes = "", ()
        else:
            text += " This user may pass it (CAP_SYS_ADMIN), others may not."
        return Finding(NAME, OK, needed, have, "files", text, remedy, fixes=fixes)
    return bounded(
        NAME, request, needs.open_files, have, unit="files", text=text, remedy=remedy, fixes=fixes
    )
