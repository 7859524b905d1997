//! Puts the daemon together: checks what it needs, starts its threads, waits for the end.
//!
//! | thread | what runs there |
//! |---|---|
//! | `pgvrrp` (main) | waits |
//! | `pgvrrp-protocol` | reactor, node and actuator; opens every socket itself, so all are of one network namespace |
//! | `pgvrrp-evidence` | the askers of etcd, PostgreSQL and Patroni |
//! | `pgvrrp-clients` | lists of the VIPs' clients, to and from the other nodes |
//! | `pgvrrp-newcomers` | drops new connections to a VIP that leaves |
//! | `pgvrrp-observe` | HTTP, control socket, systemd, the history of moves; a thread of tokio's writes its file |
//! | `pgvrrp-hooks` | runs hooks |
//! | `pgvrrp-log` | writes log lines |
//! | `pgvrrp-record` | writes the recording, if one is wanted |

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{io, thread};

use ipnet::IpNet;
use pgvrrp_config::{Config, Fence};
use pgvrrp_netlink::{Kernel, Monitor, SockDiag, SynDrop};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{LocalSet, spawn_local};
use tracing::{error, info, warn};

use crate::actuator::{Actuator, Askers, Doorkeeper, Reach};
use crate::clients::{self, Book};
use crate::clock;
use crate::evidence::etcd::keys::Keys;
use crate::evidence::{etcd, patroni, postgres};
use crate::failure::Failure;
use crate::gate::evidence::{EtcdReport, EtcdRequest, PatroniReport};
use crate::history::{self, Keeper};
use crate::hooks::{self, Board};
use crate::node::status::Status;
use crate::node::{Identity, InterfaceId, Node, Settings};
use crate::observe::{Observed, control, http, logging, systemd};
use crate::reactor::{Command, Lines, Reactor};
use crate::realtime;
use crate::recording::recorder::Recorder;
use crate::rehearsal::{self, Rehearsal};
use crate::reload::{self, Reloader};
use crate::requirements;
use crate::runtime_dir::{self, RuntimeDir};
use crate::segment::{self, Obstacle, Segment};
use crate::settings::{client_addresses, client_settings, etcd_keys, etcd_settings, node_settings, postgres_settings};
use crate::transport::{Announcer, Tickler};
use crate::vip_lock;
use crate::virtual_mac;

/// Pause between two questions to PostgreSQL until the node says otherwise.
const CALM: Duration = Duration::from_secs(1);

/// Runs the daemon until a signal ends it, or a handover. `path` is where the configuration came from, and is read again when
/// that is wanted. What its node is told and answers goes to the file `record`. With `observing` nothing is done.
///
/// # Errors
/// See [`Failure`]. When this returns, no VIP is bound by this process, or its lifetime is ending it: after a handover,
/// unless the next process comes in time and by its own right renews it.
pub fn run(config: Config, path: &Path, record: Option<&Path>, observing: bool) -> Result<(), Failure> {
    logging::start(&config.log).map_err(|failure| match failure {
        logging::Failure::Environment(text) => Failure::Config(text),
        logging::Failure::Thread(source) => Failure::System { what: "cannot start logging", source },
    })?;
    let config = if observing { rehearsal::config(config) } else { config };
    requirements::check_capabilities(observing)?;
    requirements::check(&config)?;
    let postgres = config.cluster.as_ref().map(postgres_settings).transpose().map_err(Failure::Config)?;
    let runtime_dir = RuntimeDir::open(&config.runtime_dir).map_err(Failure::RuntimeDir)?;
    // After the lock: two daemons do not write one file.
    let recorder = record.map(open_recording).transpose()?;
    let drained = runtime_dir.drained().map_err(Failure::RuntimeDir)?;
    let me = Identity {
        member: config.node.clone(),
        boot_id: runtime_dir::boot_id().map_err(Failure::RuntimeDir)?,
        incarnation: runtime_dir.incarnation().map_err(Failure::RuntimeDir)?,
    };
    info!(node = config.node, version = env!("CARGO_PKG_VERSION"), "starting");
    if observing {
        info!("observing: nothing is bound, removed, sent or written");
    } else if config.cluster.as_ref().is_some_and(|cluster| cluster.fence == Fence::LeaderKey) {
        warn!(
            "fence = \"leader-key\": the next primary does not wait for a node whose daemon is dead or frozen, where the \
             VIP may be for 4 s more"
        );
    }
    realtime::lock_memory();

    // Who only observes may do so beside who serves.
    let addresses = config.vips.iter().filter(|_| !observing).flat_map(|vip| vip.addresses.iter().map(IpNet::addr));
    let vip_locks = vip_lock::take_all(addresses)?;
    let vips = config.vips.iter().map(|vip| vip.name.clone());
    let history = Arc::new(Keeper::open(&config.runtime_dir, &me.boot_id, &config.node, vips));

    let (etcd_requests, etcd_requests_out) = mpsc::unbounded_channel();
    let (etcd_reports, etcd_reports_out) = mpsc::unbounded_channel();
    let (cadence, cadence_out) = watch::channel(CALM);
    let (role_reports, role_reports_out) = mpsc::channel(4);
    let (patroni_url, patroni_url_out) = watch::channel(None);
    let (patroni_reports, patroni_reports_out) = mpsc::channel(4);
    let (client_reports, client_reports_out) = mpsc::channel(4);
    let (commands, commands_out) = mpsc::channel(4);
    let (status, status_out) = watch::channel(Arc::new(Status::default()));
    let askers = Askers { etcd: etcd_requests, cadence, patroni: patroni_url };
    let lines = Lines {
        etcd: etcd_reports_out,
        postgres: role_reports_out,
        patroni: patroni_reports_out,
        clients: client_reports_out,
        commands: commands_out,
        status,
    };

    let (started, has_started) = oneshot::channel();
    let settings = node_settings(&config, me, &drained);
    let owner = virtual_mac::owner(&config.runtime_dir);
    let listed = client_addresses(&settings);
    let book = Arc::new(Mutex::new(Book::new(listed.iter().cloned())));
    let (listed, listed_out) = watch::channel(listed);
    let keys = config.cluster.as_ref().map(|cluster| etcd_keys(&settings, cluster)).unwrap_or_default();
    let (keys, keys_out) = watch::channel(Arc::new(keys));
    let (wanted_hooks, wanted_hooks_out) = watch::channel(hooks::Settings::of(&config));
    let (begun_with, shared, known) = (settings.clone(), book.clone(), book.clone());
    let protocol = spawn("pgvrrp-protocol", move || {
        protocol(Part { settings, owner, recorder, observing }, askers, known, lines, started)
    })?;
    // Its failures to start are the daemon's; nothing else is begun before it stands.
    if has_started.blocking_recv().is_err() {
        return join(protocol);
    }
    let mut asked = None;
    if let (Some(cluster), Some(postgres)) = (&config.cluster, postgres) {
        let sharing = client_settings(&config);
        let (etcd, settings) = watch::channel(etcd_settings(&config, cluster));
        let (postgres, postgres_out) = watch::channel(postgres);
        asked = Some(reload::Evidence { etcd, postgres });
        let ((keyring, keyring_out), (peers, peers_out)) = (watch::channel(Vec::new()), watch::channel(Vec::new()));
        let bystanders = etcd::Bystanders { keyring, peers };
        let etcd = Asker { settings, wanted: etcd_requests_out, reports: etcd_reports };
        let postgres = Asker { settings: postgres_out, wanted: cadence_out, reports: role_reports };
        let settings = patroni::Settings { scope: cluster.patroni.scope.clone(), member: config.node.clone() };
        let patroni = Asker { settings, wanted: patroni_url_out, reports: patroni_reports };
        spawn("pgvrrp-evidence", move || evidence(etcd, keys_out, bystanders, postgres, patroni))?;
        let status = status_out.clone();
        let (keyring, peers, vips) = (keyring_out, peers_out, listed_out);
        let lines = clients::Lines { keyring, peers, status, reports: client_reports, book, vips };
        if !observing {
            spawn("pgvrrp-clients", move || {
                runtime()?.block_on(clients::run(sharing, lines));
                Ok(())
            })?;
        }
    }
    let control = config.runtime_dir.clone();
    let (http, listen) = watch::channel(config.http.listen);
    let reloader = Reloader {
        path: path.to_owned(),
        config,
        settings: begun_with,
        vip_locks,
        observing,
        keys,
        evidence: asked,
        http,
        status: status_out.clone(),
        clients: listed,
        book: shared,
        hooks: wanted_hooks,
        commands: commands.clone(),
    };
    let board = Board::default();
    let looked_at = Observed { status: status_out.clone(), history: history.clone(), hooks: board.clone() };
    let seen_by_hooks = status_out.clone();
    let hooks = spawn("pgvrrp-hooks", move || {
        LocalSet::new().block_on(&runtime()?, hooks::run(wanted_hooks_out, seen_by_hooks, board));
        Ok(())
    })?;
    spawn("pgvrrp-observe", move || observe(&control, listen, looked_at, commands, reloader))?;
    systemd::ready();
    let result = join(protocol);
    systemd::stopping();
    // Everything is released; the end of the protocol thread was theirs, too.
    let _ = hooks.join();
    // What the others have left with: nobody else looks any more.
    if history.learn(&status_out.borrow()) {
        history.write();
    }
    drop(runtime_dir);
    result
}

fn open_recording(path: &Path) -> Result<Recorder, Failure> {
    Recorder::open(path).map_err(|source| Failure::Recording { path: path.to_owned(), source })
}

/// The part of the protocol thread.
struct Part {
    settings: Settings,
    owner: String,
    recorder: Option<Recorder>,
    observing: bool,
}

fn protocol(
    part: Part,
    askers: Askers,
    book: Arc<Mutex<Book>>,
    lines: Lines,
    started: oneshot::Sender<()>,
) -> Result<(), Failure> {
    let Part { settings, owner, mut recorder, observing } = part;
    let refused = |error: pgvrrp_netlink::Error| Failure::Permission(error.to_string());
    realtime::prioritise_thread();
    runtime()?.block_on(async {
        // The monitor first, the dump after it: nothing that happens in between is missed.
        let monitor = Monitor::open().map_err(refused)?;
        let mut kernel = Kernel::open().map_err(refused)?;
        let newcomers = if observing { None } else { doorkeeper()? };
        let sockets = SockDiag::open().map_err(refused)?;
        let reach = Reach { sockets, newcomers, tickler: Tickler::open(), book };
        let announcer = Announcer::open().map_err(Failure::system("cannot open a packet socket"))?;
        let mut segments = Segment::all(&settings, &owner);
        if !observing {
            make_virtual_macs(&mut segments, &mut kernel, &owner)?;
        }
        let actuator = Actuator::new(kernel, reach, announcer, &settings, askers);
        let now = clock::now();
        if let Some(recorder) = &mut recorder {
            recorder.begin(&settings, now);
        }
        let rehearsal = observing.then(|| Rehearsal::new(&settings, now));
        let node = Node::new(settings, now);
        let reactor = Reactor::new(node, recorder, actuator, monitor, lines, segments, owner);
        let reactor = reactor.map(|reactor| reactor.rehearsing(rehearsal));
        let reactor = reactor.map_err(Failure::system("cannot start the loop"))?;
        let _ = started.send(());
        reactor.run().await.map_err(Failure::system("the loop ended"))
    })
}

/// What keeps new connections waiting; `None` where the kernel has no such thing. Asked now, since that loads modules.
fn doorkeeper() -> Result<Option<Doorkeeper>, Failure> {
    const PATIENCE: Duration = Duration::from_secs(1);
    let Ok(mut syn_drop) = SynDrop::open() else { return Ok(None) };
    match syn_drop.supported(PATIENCE) {
        Ok(false) => return Ok(None),
        Ok(true) => {}
        // It may be another time.
        Err(error) => warn!(%error, "it is not known whether new connections can be dropped"),
    }
    Doorkeeper::start(syn_drop).map(Some).map_err(Failure::system("cannot start a thread"))
}

/// The interfaces with virtual MACs, so that what cannot be is refused before anything starts; and away with those that a
/// predecessor left and that nobody wants any more.
fn make_virtual_macs(segments: &mut [Segment], kernel: &mut Kernel, owner: &str) -> Result<(), Failure> {
    use pgvrrp_netlink::Error;
    let own = |segment: &&Segment| segment.below().is_some();
    let wanted: Vec<_> = segments.iter().filter(own).map(|segment| segment.name.clone()).collect();
    let tidy = |kernel: &mut Kernel, except: &[&str]| {
        let deleted = kernel.delete_macvlans(owner, except);
        let _ = deleted.inspect_err(|error| warn!(%error, "an interface that a predecessor made is left"));
    };
    tidy(kernel, &wanted.iter().map(String::as_str).collect::<Vec<_>>());
    if wanted.is_empty() {
        return Ok(());
    }
    for interface in 0..segments.len() {
        let failure = match segment::make(segments, InterfaceId(interface), kernel) {
            Err(Obstacle::Host(text)) => Failure::Config(text),
            Err(Obstacle::Kernel(error @ Error::NotPermitted { .. })) => Failure::Permission(error.to_string()),
            Err(Obstacle::Kernel(error @ (Error::NameTaken { .. } | Error::Setting { .. } | Error::Kernel { .. }))) => {
                Failure::Config(error.to_string())
            }
            // What only was not answered in time is tried again.
            Ok(()) | Err(Obstacle::Kernel(_)) => {
                let segment = &mut segments[interface];
                let _ =
                    segment.look_up(kernel).inspect_err(|error| warn!(%error, "an interface could not be looked up"));
                continue;
            }
        };
        tidy(kernel, &[]);
        return Err(failure);
    }
    Ok(())
}

/// What an asker is given: what it has to know, the line by which it is told what to ask, and the line back.
struct Asker<Settings, Wanted, Reports> {
    settings: Settings,
    wanted: Wanted,
    reports: Reports,
}

fn evidence(
    etcd: Asker<
        watch::Receiver<etcd::Settings>,
        mpsc::UnboundedReceiver<EtcdRequest>,
        mpsc::UnboundedSender<EtcdReport>,
    >,
    keys: watch::Receiver<Arc<Keys>>,
    bystanders: etcd::Bystanders,
    postgres: Asker<watch::Receiver<postgres::Settings>, watch::Receiver<Duration>, mpsc::Sender<postgres::Report>>,
    patroni: Asker<patroni::Settings, watch::Receiver<Option<String>>, mpsc::Sender<PatroniReport>>,
) -> Result<(), Failure> {
    let tasks = LocalSet::new();
    tasks.spawn_local(postgres::run(postgres.settings, postgres.wanted, postgres.reports));
    tasks.spawn_local(patroni::run(patroni.settings, patroni.wanted, patroni.reports));
    tasks.block_on(&runtime()?, etcd::run(etcd.settings, keys, etcd.wanted, etcd.reports, bystanders));
    Ok(())
}

fn observe(
    runtime_dir: &Path,
    listen: watch::Receiver<Option<SocketAddr>>,
    observed: Observed,
    commands: mpsc::Sender<Command>,
    reloader: Reloader,
) -> Result<(), Failure> {
    LocalSet::new().block_on(&runtime()?, async {
        let (reloads, wanted) = mpsc::channel(1);
        spawn_local(reloader.serve(wanted));
        let Observed { status, history, .. } = observed.clone();
        tokio::spawn(history::follow(history.clone(), status.clone()));
        tokio::spawn(http::serve(listen, observed.clone()));
        match control::listen(runtime_dir) {
            Ok(listener) => {
                let runtime_dir = runtime_dir.to_owned();
                drop(tokio::spawn(control::serve(listener, runtime_dir, observed, commands, reloads)));
            }
            Err(error) => warn!(%error, "no control socket: `pgvrrp status` will not work"),
        }
        systemd::serve(status).await;
    });
    Ok(())
}

fn runtime() -> Result<Runtime, Failure> {
    Builder::new_current_thread().enable_all().build().map_err(Failure::system("cannot start a runtime"))
}

type Ended = thread::JoinHandle<Result<(), Failure>>;

fn spawn(name: &str, run: impl FnOnce() -> Result<(), Failure> + Send + 'static) -> Result<Ended, Failure> {
    let told = name.to_owned();
    let run = move || {
        let result = run();
        if let Err(failure) = &result {
            error!(thread = told, %failure, "a thread has ended");
        }
        result
    };
    thread::Builder::new().name(name.to_owned()).spawn(run).map_err(Failure::system("cannot start a thread"))
}

fn join(thread: Ended) -> Result<(), Failure> {
    match thread.join() {
        Ok(result) => result,
        Err(_) => Err(Failure::System { what: "the protocol thread", source: io::Error::other("panicked") }),
    }
}
