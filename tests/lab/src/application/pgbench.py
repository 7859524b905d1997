"""pgbench, started anew whenever it has ended, which it does when all its clients have lost their connections.

Its log has a line for each transaction. A file it would write in large pieces; to a terminal it writes each at once.
"""

import ctypes
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
import tty

import report

SCRIPT = "insert into writes (node) values (current_setting('lab.node'));\n"


def tie_and_point(log, terminal):
    """In the child: it goes with its parent, and its log, which is named after its number, is the terminal."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    os.symlink(terminal, f"{log}.{os.getpid()}")


def read_log(master):
    """Lines of: client, transaction, microseconds that it took, and more."""
    with open(master, buffering=1, closefd=False) as lines:
        for line in lines:
            fields = line.split()
            if len(fields) >= 3 and fields[2].isdigit():
                report.request(int(fields[0]), report.now() - int(fields[2]) * 1000)


def run_once(command, connect, log, terminal):
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | connect,
        preexec_fn=lambda: tie_and_point(log, terminal),
    )
    started = report.now()
    # The words of an error may take several lines; its beginning is the moment.
    at, error = None, []
    for line in child.stderr:
        if line.startswith("pgbench:") and error:
            finish(at, error, started)
            at, error = None, []
        if "error:" in line or error:
            at = at or report.now()
            error.append(line)
    if error:
        finish(at, error, started)
    child.wait()
    os.unlink(f"{log}.{child.pid}")


def finish(at, lines, started):
    text = report.words("".join(lines))
    fields = text.split()
    client = int(fields[3]) if fields[2:3] == ["client"] else 0
    # That the run as a whole was aborted says nothing new.
    if "Run was aborted" not in text:
        report.say("request", client, at=at, started=started, error=text)


def main():
    settings = json.loads(sys.argv[1])
    directory = settings["directory"]
    script, log = os.path.join(directory, "script.sql"), os.path.join(directory, "log")
    with open(script, "w") as file:
        file.write(SCRIPT)
    master, slave = pty.openpty()
    tty.setraw(slave)
    threading.Thread(target=read_log, args=(master,), daemon=True).start()
    command = [settings["program"], "--no-vacuum", "--log", f"--log-prefix={log}", f"--file={script}"]
    command += [f"--client={settings['workers']}", f"--rate={settings['rate']}", f"--time={settings['time']}"]
    command += ["--connect"] if settings["connect_each"] else []
    report.ready()
    while True:
        run_once(command, settings["connect"], log, os.ttyname(slave))
        time.sleep(settings["period"])


main()
