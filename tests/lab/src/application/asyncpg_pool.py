"""An application on asyncpg's own pool, with that pool's defaults."""

import asyncio
import json
import sys

import asyncpg
import report


async def serve(pool):
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("insert into writes (node) values (current_setting('lab.node'))")


async def work(pool, worker, period):
    while True:
        started = report.now()
        try:
            await serve(pool)
            report.request(worker, started)
        except Exception as error:
            report.request(worker, started, error)
        await asyncio.sleep(period)


async def main():
    settings = json.loads(sys.argv[1])
    # Its default is ten connections, all opened at once.
    async with asyncpg.create_pool(**settings["connect"]) as pool:
        report.ready()
        await asyncio.gather(*(work(pool, worker, settings["period"]) for worker in range(settings["workers"])))


asyncio.run(main())
