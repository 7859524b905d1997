"""Many connections that nobody talks on: most lie idle, some wait for the answer to a long query.

An application learns of the end of an idle connection when it uses it next, or when it looks at the socket. Here the
socket is watched, for the moment, and then the connection is used, for the words.
"""

import json
import resource
import select
import sys
import threading

import psycopg2
import report

LONG = "select pg_sleep(600)"

# What a socket says when the other side has closed or reset it. That something can be read is less: the server has
# said goodbye (57P01), but who asks it something then waits until it has closed.
ENDED = select.POLLRDHUP | select.POLLHUP | select.POLLERR


def wait_for_an_answer(client, connection):
    try:
        with connection.cursor() as cursor:
            cursor.execute(LONG)
        report.told(client, report.now(), "answered")
    except psycopg2.Error as error:
        report.told(client, report.now(), error)


def use(client, connection, at):
    try:
        with connection.cursor() as cursor:
            cursor.execute("select 1")
        report.told(client, at, "nothing of importance")
    except psycopg2.Error as error:
        report.told(client, at, error)


def watch(connections):
    poller = select.poll()
    open_ones = {connection.fileno(): (client, connection) for client, connection in connections}
    for number in open_ones:
        poller.register(number, ENDED)
    while True:
        ended = [number for number, _ in poller.poll()]
        at = report.now()
        # A socket is left alone from here on: its number may be another's once the connection is closed.
        for number in ended:
            poller.unregister(number)
        for number in ended:
            use(*open_ones.pop(number), at)


def main():
    settings = json.loads(sys.argv[1])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    idle, waiting = settings["idle"], settings["waiting"]
    connections = list(enumerate(psycopg2.connect(**settings["connect"]) for _ in range(idle + waiting)))
    for _, connection in connections:
        connection.autocommit = True
    for client, connection in connections[idle:]:
        threading.Thread(target=wait_for_an_answer, args=(client, connection), daemon=True).start()
    report.ready()
    watch(connections[:idle])


main()
