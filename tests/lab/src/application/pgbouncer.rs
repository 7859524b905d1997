//! `PgBouncer` on the client's machine, between an application and the VIP.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

use super::directory;
use crate::cluster::Lab;
use crate::network::{Node, VIP};
use crate::patroni::POSTGRES_PORT;
use crate::prerequisites::{self, Applications};
use crate::process::Process;

/// Where it listens, on the loopback address.
pub(super) const PORT: u16 = 6432;

/// With a connection of the server's for each transaction, and otherwise its own defaults.
#[derive(Debug)]
pub(super) struct PgBouncer {
    _process: Process,
}

impl PgBouncer {
    pub(super) fn start(lab: &Lab) -> Result<Self> {
        let program = Applications::find()?.pgbouncer;
        let dir = directory(lab, "PgBouncer")?;
        let (config, users) = (dir.join("pgbouncer.ini"), dir.join("users"));
        fs::write(&users, "\"app\" \"\"\n")?;
        fs::write(
            &config,
            format!(
                "[databases]\npostgres = host={VIP} port={POSTGRES_PORT}\n\
                 [pgbouncer]\nlisten_addr = {}\nlisten_port = {PORT}\nunix_socket_dir = {}\n\
                 auth_type = trust\nauth_file = {}\npool_mode = transaction\n",
                Ipv4Addr::LOCALHOST,
                dir.display(),
                users.display(),
            ),
        )?;
        // It refuses to run as root.
        let namespace = lab.namespace(Node::Client);
        let mut command = namespace.command_as(&program, lab.tools().account);
        prerequisites::set_libraries(&mut command, &program)?;
        let log = File::create(dir.join("log"))?;
        command.arg(&config).current_dir("/").stdout(log.try_clone()?).stderr(log);
        let process = Process::spawn("PgBouncer", command)?;
        lab.wait_until("PgBouncer", Duration::from_secs(10), || {
            let server = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
            namespace.run(|| TcpStream::connect(server))?.map(|_| true).context("it does not listen")
        })?;
        Ok(Self { _process: process })
    }
}
