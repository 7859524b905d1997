//! The kinds of application, and how each is set up.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Application, PgBouncer, Plan, directory, pgbouncer};
use crate::cluster::Lab;
use crate::network::VIP;
use crate::patroni::POSTGRES_PORT;

/// Seconds between two requests of a worker.
const PERIOD: f64 = 0.1;

/// Where a plain application connects to. Nothing else is set: no keepalive, no timeout.
fn vip() -> Value {
    json!({"host": VIP, "port": POSTGRES_PORT, "user": "app", "dbname": "postgres"})
}

/// The VIP, with libpq's `keepalives`.
fn vip_with(keepalives: bool) -> Value {
    let mut connect = vip();
    if !keepalives {
        connect["keepalives"] = 0.into();
    }
    connect
}

/// The words for it in a name.
const fn words(keepalives: bool) -> &'static str {
    if keepalives { "" } else { ", keepalives=0" }
}

impl Application {
    /// Threads with one pool as Odoo's, which has `idle` connections more than there are workers.
    ///
    /// # Errors
    /// When what it is made of is missing, or when it cannot connect. So for all of these.
    pub fn odoo_like_pool(lab: &Lab, workers: usize, idle: usize) -> Result<Self> {
        let settings = json!({"connect": vip(), "workers": workers, "idle": idle, "period": PERIOD});
        let (name, program) = ("Odoo-like pool", "odoo_pool.py");
        Self::start(lab, Plan { name, program, settings, clients: workers, works: true }, None)
    }

    /// Connections of libpq's of which `idle` do nothing and `waiting` wait for the answer to a long query.
    ///
    /// # Errors
    /// As [`Self::odoo_like_pool`].
    pub fn crowd(lab: &Lab, idle: usize, waiting: usize, keepalives: bool) -> Result<Self> {
        let settings = json!({"connect": vip_with(keepalives), "idle": idle, "waiting": waiting});
        let what = if waiting == 0 { "idle" } else { "waiting for a long query" };
        let name = format!("libpq, {what}{}", words(keepalives));
        let plan = Plan { name: &name, program: "crowd.py", settings, clients: idle + waiting, works: false };
        Self::start(lab, plan, None)
    }

    /// Threads that hold a connection of libpq's each, and open another when it fails.
    ///
    /// # Errors
    /// As [`Self::odoo_like_pool`].
    pub fn held(lab: &Lab, workers: usize, keepalives: bool) -> Result<Self> {
        let settings = json!({"connect": vip_with(keepalives), "workers": workers, "period": PERIOD});
        let name = format!("libpq, held{}", words(keepalives));
        Self::start(lab, Plan { name: &name, program: "held.py", settings, clients: workers, works: true }, None)
    }

    /// The same to a `PgBouncer` on the client's machine, which has the connections to the VIP.
    ///
    /// # Errors
    /// As [`Self::odoo_like_pool`].
    pub fn through_pgbouncer(lab: &Lab, workers: usize) -> Result<Self> {
        let pooler = PgBouncer::start(lab)?;
        let connect = json!({"host": "127.0.0.1", "port": pgbouncer::PORT, "user": "app", "dbname": "postgres"});
        let settings = json!({"connect": connect, "workers": workers, "period": PERIOD});
        let (name, program) = ("libpq through PgBouncer", "held.py");
        Self::start(lab, Plan { name, program, settings, clients: workers, works: true }, Some(pooler))
    }

    /// Tasks with asyncpg's pool.
    ///
    /// # Errors
    /// As [`Self::odoo_like_pool`].
    pub fn asyncpg_pool(lab: &Lab, workers: usize) -> Result<Self> {
        let connect = json!({"host": VIP, "port": POSTGRES_PORT, "user": "app", "database": "postgres"});
        let settings = json!({"connect": connect, "workers": workers, "period": PERIOD});
        let (name, program) = ("asyncpg pool", "asyncpg_pool.py");
        Self::start(lab, Plan { name, program, settings, clients: workers, works: true }, None)
    }

    /// pgbench, which either holds its connections or opens one for each transaction (`-C`).
    ///
    /// # Errors
    /// As [`Self::odoo_like_pool`].
    pub fn pgbench(lab: &Lab, workers: usize, connect_each: bool) -> Result<Self> {
        let name = if connect_each { "pgbench -C" } else { "pgbench" };
        // Longer than any lab: it ends when its clients do.
        let settings = json!({
            "program": lab.tools().postgres_program("pgbench"),
            "connect": {"PGHOST": VIP, "PGPORT": POSTGRES_PORT.to_string(), "PGUSER": "app", "PGDATABASE": "postgres"},
            "directory": directory(lab, name)?,
            "workers": workers,
            "rate": workers * 10,
            "time": 3600,
            "connect_each": connect_each,
            "period": PERIOD,
        });
        Self::start(lab, Plan { name, program: "pgbench.py", settings, clients: workers, works: true }, None)
    }
}
