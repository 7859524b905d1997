"""An application that keeps its connections as Odoo does (its sql_db.py): threads share one pool with one lock.

Whoever borrows holds the lock while a pooled connection is reset, which asks the server and waits for its answer, and
while a new one is opened. So one connection whose server is silent makes everybody wait. Nothing is set on a connection
but where it goes.
"""

import json
import sys
import threading
import time

import psycopg2
import report

# After so many seconds without use a connection is closed.
LONGEST_IDLE = 600

# Odoo's db_maxconn.
MOST = 64

NO_CONNECTION = (psycopg2.OperationalError, psycopg2.InterfaceError)


class Entry:
    def __init__(self, number, connection):
        self.number = number
        self.connection = connection
        self.is_used = True
        self.last_used = 0.0


class Pool:
    def __init__(self, parameters):
        self.parameters = parameters
        self.lock = threading.Lock()
        self.entries = []
        self.opened = 0

    def borrow(self):
        with self.lock:
            self._sweep()
            for entry in self.entries:
                if not entry.is_used and self._is_alive(entry):
                    entry.is_used = True
                    return entry
            if len(self.entries) >= MOST:
                self._make_room()
            entry = Entry(self.opened, psycopg2.connect(**self.parameters))
            self.opened += 1
            self.entries.append(entry)
            return entry

    def give_back(self, entry):
        with self.lock:
            entry.is_used = False
            entry.last_used = time.time()

    def _sweep(self):
        for entry in list(self.entries):
            if not entry.is_used and time.time() - entry.last_used > LONGEST_IDLE:
                entry.connection.close()
            if entry.connection.closed:
                self.entries.remove(entry)

    @staticmethod
    def _is_alive(entry):
        if entry.connection.closed:
            return False
        try:
            entry.connection.reset()
        except NO_CONNECTION as error:
            report.dropped(entry.number, error)
            entry.connection.close()
            return False
        return True

    def _make_room(self):
        oldest = next((entry for entry in self.entries if not entry.is_used), None)
        if oldest is None:
            raise RuntimeError("the pool is full")
        self.entries.remove(oldest)
        oldest.connection.close()


def serve(pool):
    """One request: a transaction that writes and reads."""
    entry = pool.borrow()
    try:
        connection = entry.connection
        connection.set_isolation_level(psycopg2.extensions.ISOLATION_LEVEL_REPEATABLE_READ)
        with connection.cursor() as cursor:
            cursor.execute("insert into writes (node) values (current_setting('lab.node')) returning id")
            (number,) = cursor.fetchone()
            cursor.execute("select count(*) from writes where id = %s", (number,))
        connection.commit()
    except BaseException:
        try:
            entry.connection.rollback()
        except NO_CONNECTION:
            pass
        raise
    finally:
        pool.give_back(entry)


def work(pool, worker, period):
    while True:
        started = report.now()
        try:
            serve(pool)
            report.request(worker, started)
        except Exception as error:
            report.request(worker, started, error)
        time.sleep(period)


def main():
    settings = json.loads(sys.argv[1])
    pool = Pool(settings["connect"])
    # A busy hour has left more connections than are in use: who borrows takes the first, so the rest lies idle.
    for entry in [pool.borrow() for _ in range(settings["workers"] + settings["idle"])]:
        pool.give_back(entry)
    for worker in range(settings["workers"]):
        threading.Thread(target=work, args=(pool, worker, settings["period"]), daemon=True).start()
    report.ready()
    threading.Event().wait()


main()
