"""An application whose threads each hold one connection and open another when that fails."""

import json
import sys
import threading
import time

import psycopg2
import report


def serve(connection):
    with connection.cursor() as cursor:
        cursor.execute("insert into writes (node) values (current_setting('lab.node'))")
    connection.commit()


def work(worker, connection, settings):
    while True:
        started = report.now()
        try:
            if connection is None:
                connection = psycopg2.connect(**settings["connect"])
            serve(connection)
            report.request(worker, started)
        except psycopg2.Error as error:
            report.request(worker, started, error)
            if connection is not None:
                connection.close()
                connection = None
        time.sleep(settings["period"])


def main():
    settings = json.loads(sys.argv[1])
    connections = [psycopg2.connect(**settings["connect"]) for _ in range(settings["workers"])]
    for worker, connection in enumerate(connections):
        threading.Thread(target=work, args=(worker, connection, settings), daemon=True).start()
    report.ready()
    threading.Event().wait()


main()
