"""What every application of the lab says: one line of JSON per observation, stamped by the lab's clock."""

import json
import os
import threading
import time

_one_at_a_time = threading.Lock()


def now():
    """Nanoseconds of CLOCK_BOOTTIME, as `lab::Time`."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def say(event, client, **details):
    line = json.dumps({"at": now(), "client": client, "event": event} | details) + "\n"
    with _one_at_a_time:
        os.write(1, line.encode())


def ready():
    """Everything is open that is to be open at the beginning."""
    say("ready", 0)


def request(client, started, error=None):
    """A unit of work came to its end, good or bad."""
    say("request", client, started=started, error=None if error is None else words(error))


def told(client, at, how):
    """A connection has ended: when that could be seen, and as what it is seen."""
    say("told", client, at=at, how=words(how))


def dropped(client, error):
    """A pool has thrown away a connection that nobody was using."""
    say("dropped", client, how=words(error))


def words(error):
    """One line; of an exception without words, its name."""
    lines = [line.strip() for line in str(error).splitlines()]
    text = "; ".join(line for line in lines if line)
    return text or type(error).__name__
