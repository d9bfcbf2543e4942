"""Bounds with a name and a reason, in one place. What happens at each is said where it is used."""

from __future__ import annotations

OUTBOX_HIGH = 1 << 20  # bytes unsent for one connection before the server stops reading from it
OUTBOX_TOTAL_MAX = 1 << 28  # bytes unsent in all before nobody with unsent output is read from
OUTBOX_TRIM_MIN = 1 << 24  # bytes of output that have gone before their memory is given back
LINGER_NS = 30_000_000_000  # a closed connection whose peer takes no output for so long is reset
TURN = 1 << 16  # bytes of one connection in a tick, where each of them may be much work
DRAIN_NS = 10_000_000_000  # how long a stop waits for output that is owed
QUIET_NS = 10_000_000  # of a drain: what was on its way has arrived by then
BACKLOG = 65535  # asked of listen(2); the kernel cuts it to net.core.somaxconn
REPORT_NS = 1_000_000_000  # how often the live progress is shown
REPORT_NS_MIN = 1_000_000  # reports are no closer together
BUSY_POLL_NS = 12_000  # how long a server looks for more before it sleeps: less than it costs to be
# woken, so that a look that finds something saves time, and one in vain costs at most that
RAMP_STEP = 1_000  # connections: the ramp is timed in steps of this many
RAMP_STRIDE = 50_000  # and in strides of this many, for the flatness of the whole ramp
TEXT_BYTES_MAX = 1 << 20  # of a plan, a message, a record of changes: read whole, written by hand
RECORD_BYTES_MAX = 1 << 26  # of a record: a run of a million connections makes 0.4 MB
TICK_NS_MAX = 100_000_000  # the longest sleep of a server: signals and timers are seen after it
INT_MAX = (1 << 31) - 1  # a C int, as listen(2) and many a counter take it
PID_MAX = 1 << 22  # PID_MAX_LIMIT in the kernel's include/linux/threads.h

assert OUTBOX_HIGH <= OUTBOX_TOTAL_MAX
assert RAMP_STRIDE % RAMP_STEP == 0
