//! The commands of README.md and docs/, word for word and in the order of the pages, on a node of a cluster: first those that
//! install pgvrrp by hand, then the README's configuration, then the daemon by that as the unit starts it, and then the rest.
//!
//! The node has directories of its own above those of this machine, and processes of its own. `sudo` is played by setpriv, systemd
//! by a loop; what takes a real systemd is for `package`. Which line is tried where says `tests/documented/tried.rs`.

#[path = "../documented/pages.rs"]
pub(crate) mod pages;
#[path = "../documented/text.rs"]
mod text;
#[path = "../documented/tried.rs"]
mod tried;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::process::Process;
use lab::{Node, Options, Time};

use crate::stage::{Stage, binary, play_with};
use pages::{Page, Typed, pages, root, typed};
use text::{commands, of_pgvrrp, prose, quoted};
use tried::{Tried, tried};

/// What the text has between backquotes and this node cannot do.
const NOT_HERE: [(&str, &str); 3] = [
    ("pgvrrp run", "the daemon runs already; tests/scenarios/rehearsal.rs has --observe"),
    ("pgvrrp drain web", "that is a router without a cluster: tests/operation"),
    ("pgvrrp undrain web", "likewise"),
];

/// Other programs' commands of the text that only look.
const LOOKS: [&str; 4] = ["curl ", "ip ", "nft list ", "ss "];

/// Makes what the node has for itself, in a mount and a process namespace of its own. $1: an empty directory, $2: that of
/// PostgreSQL's socket.
const SET_UP: &str = r#"
set -e
mount --make-rprivate /
mount -t tmpfs scratch "$1"
for dir in etc run usr/local var/lib; do
    mkdir -p "$1/upper/$dir" "$1/work/$dir"
    mount -t overlay -o "lowerdir=/$dir,upperdir=$1/upper/$dir,workdir=$1/work/$dir" scratch "/$dir"
done
mkdir -p /run/postgresql
mount --bind "$2" /run/postgresql
rm -rf /etc/pgvrrp /run/pgvrrp
exec sleep 600
"#;

/// `sudo -u USER COMMAND ...`: nothing else of it is on the pages.
const SUDO: &str = "#!/bin/bash\nexec setpriv --reuid=\"$2\" --regid=\"$2\" --init-groups \"$3\" \"${@:4}\"\n";

/// What systemd does by the unit: its user, its two capabilities, its runtime directory, and again when the daemon ends.
const SUPERVISE: &str = r#"
install -d -m 750 -o pgvrrp -g pgvrrp /run/pgvrrp
command=$(sed -n 's/^ExecStart=//p' /etc/systemd/system/pgvrrp.service)
while :; do
    setpriv --reuid=pgvrrp --regid=pgvrrp --init-groups --no-new-privs --bounding-set=-all,+net_admin,+net_raw \
        --inh-caps=-all,+net_admin,+net_raw --ambient-caps=-all,+net_admin,+net_raw $command
    sleep 0.1
done
"#;

/// Longer than a command takes that comes to an end by itself.
const LONGEST: u32 = 30;

/// As long as others are looked at.
const LOOK: u32 = 2;

/// A node on which commands are typed.
struct Host<'a> {
    stage: &'a Stage<'a>,
    host: lab::Host,
    checkout: PathBuf,
}

impl<'a> Host<'a> {
    fn set_up(stage: &'a Stage<'a>) -> Result<Self> {
        let dir = stage.lab.dir().join("documented");
        let (scratch, checkout, tools) = (dir.join("scratch"), dir.join("checkout"), dir.join("tools"));
        for dir in [&scratch, &checkout.join("target/release"), &tools] {
            fs::create_dir_all(dir)?;
        }
        for name in ["README.md", "docs", "packaging"] {
            symlink(root(name), checkout.join(name))?;
        }
        symlink(binary(), checkout.join("target/release/pgvrrp"))?;
        let socket = stage.lab.database(Node::Db1).socket_dir();
        let namespace = stage.lab.namespace(Node::Db1);
        let host = lab::Host::set_up(namespace, SET_UP, &[scratch.as_os_str(), socket.as_os_str()])?;
        let host = Self { stage, host, checkout };
        host.program("sudo", SUDO)?;
        let tools = stage.lab.tools();
        host.program("etcdctl", &format!("#!/bin/sh\nexec {} \"$@\"\n", tools.etcdctl.display()))?;
        let (patronictl, patroni) =
            (tools.python.with_file_name("patronictl"), stage.lab.database(Node::Db1).config_path());
        let ctl = format!("#!/bin/sh\nexec {} -c {} \"$@\"\n", patronictl.display(), patroni.display());
        host.program("patronictl", &ctl)?;
        Ok(host)
    }

    /// One of its files, as this process sees it.
    fn file(&self, path: &str) -> PathBuf {
        self.host.file(path)
    }

    fn program(&self, name: &str, text: &str) -> Result<()> {
        let path = self.file(&format!("/usr/local/bin/{name}"));
        fs::write(&path, text).with_context(|| format!("cannot write {path:?}"))?;
        Ok(fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.host.command(&self.checkout, program);
        self.stage.lab.tools().set_environment(&mut command);
        command.env("ETCDCTL_API", "3");
        command
    }

    fn run(&self, line: &str, seconds: u32) -> Result<Output> {
        let limit = seconds.to_string();
        let mut command = self.command("timeout");
        command.args(["--kill-after=5", &limit, "bash", "-c", line]);
        command.output().context("cannot run nsenter (util-linux)")
    }

    /// Starts the daemon, and it again whenever it has ended.
    fn supervise(&self) -> Result<Process> {
        let mut command = self.command("bash");
        command.args(["-c", SUPERVISE]);
        let log = fs::File::create(self.stage.lab.dir().join("documented/log"))?;
        command.stdout(log.try_clone()?).stderr(log);
        let process = Process::spawn("the daemon of the pages", command)?;
        self.stage.wait_vip(Node::Db1, Duration::from_secs(10))?;
        Ok(process)
    }

    /// What its daemon has logged.
    fn log(&self) -> String {
        fs::read_to_string(self.stage.lab.dir().join("documented/log")).unwrap_or_default()
    }
}

/// The first whole configuration of the README.
fn configuration() -> Result<String> {
    let page = pages().into_iter().find(|page| page.name == "README.md").context("no README")?;
    let blocks = Page::blocks(&page).into_iter().filter(|block| block.language == "toml");
    let whole = blocks.map(|block| block.text).find(|text| text.contains("node = ") && text.contains("[[vip]]"));
    whole.context("the README has no configuration")
}

/// What is converted by `pgvrrp import`, and what of Patroni's that takes.
const KEEPALIVED: &str = "global_defs {\n    vrrp_version 3\n}\nvrrp_script chk_patroni {\n    script \"/usr/bin/curl -sf http://127.0.0.1:8008/primary\"\n}\n\
    vrrp_instance VI_1 {\n    interface eth0\n    virtual_router_id 155\n    virtual_ipaddress {\n        10.0.20.155/24\n    }\n    \
    track_script {\n        chk_patroni\n    }\n}\n";

fn import(host: &Host<'_>, line: &str) -> Result<Output> {
    let (config, aside) = (host.file("/etc/pgvrrp/pgvrrp.toml"), host.file("/etc/pgvrrp/aside"));
    for dir in ["/etc/keepalived", "/etc/patroni"] {
        fs::create_dir_all(host.file(dir))?;
    }
    fs::write(host.file("/etc/keepalived/keepalived.conf"), KEEPALIVED)?;
    fs::copy(host.stage.lab.database(Node::Db1).config_path(), host.file("/etc/patroni/patroni.yml"))?;
    fs::rename(&config, &aside)?;
    let output = host.run(line, LONGEST)?;
    if !config.exists() {
        fs::write(&config, &output.stdout)?;
    }
    let check = host.run("pgvrrp check", LONGEST)?;
    ensure!(check.status.success(), "what was imported is no configuration: {}", said(&check));
    fs::rename(&aside, &config)?;
    Ok(output)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// Types a line, and looks at what comes of it.
fn play_line(host: &Host<'_>, typed: &Typed, how: Tried) -> Result<()> {
    let line = typed.line.as_str();
    let output = match how {
        Tried::OnANode if line.starts_with("pgvrrp import") => import(host, line)?,
        Tried::OnANode => host.run(line, LONGEST)?,
        _ => host.run(line, LOOK)?,
    };
    let said = said(&output);
    println!("{}: # {line}\n{said}", typed.place);
    let code = output.status.code().context("it was killed")?;
    // `timeout` has ended it.
    let expected = if how == Tried::Endless { 124 } else { 0 };
    // Nothing is wrong, so grep may find nothing; and systemd may keep no journal on this machine.
    let errors = String::from_utf8_lossy(&output.stderr);
    let is_silent = errors.lines().all(|line| line == "No journal files were found.");
    let is_fine = code == expected || line.contains("| grep") && code == 1 && is_silent;
    ensure!(is_fine, "{}: # {line}\nexit code {code}: {said}", typed.place);
    ensure!(!said.contains("unrecognized") && !said.contains("invalid option"), "{}: {line}: {said}", typed.place);
    Ok(())
}

/// What is typed. Returns the daemon.
fn play_blocks(host: &Host<'_>) -> Result<Option<Process>> {
    let mut daemon = None;
    let mut ran = 0;
    for typed in typed() {
        let how = tried(&typed).with_context(|| format!("{}: {}: nobody runs it", typed.place, typed.line))?;
        if typed.line == "systemctl enable --now pgvrrp" && daemon.is_none() {
            daemon = Some(host.supervise().map_err(|error| error.context(host.log()))?);
        }
        if !matches!(how, Tried::OnANode | Tried::Endless) {
            continue;
        }
        let installed = host.file("/etc/pgvrrp");
        if typed.line.contains("pgvrrp check") && !installed.join("pgvrrp.toml").exists() {
            fs::write(installed.join("pgvrrp.toml"), configuration()?)?;
        }
        play_line(host, &typed, how).map_err(|error| error.context(host.log()))?;
        ran += 1;
    }
    ensure!(ran > 40, "only {ran} commands were run");
    println!("{ran} typed commands were run");
    for path in ["/usr/local/share/doc/pgvrrp/docs/OPERATE.md", "/etc/pgvrrp/etcd.password"] {
        ensure!(host.file(path).exists(), "there is no {path}");
    }
    Ok(daemon)
}

/// libpq takes the service file that is recommended for applications; it refuses one with a key that it does not know.
fn service_file(host: &Host<'_>) -> Result<()> {
    let blocks = pages().iter().flat_map(Page::blocks).collect::<Vec<_>>();
    let block = blocks.iter().find(|block| block.text.starts_with("[odoo]")).context("no service file")?;
    fs::write(host.file("/etc/pgvrrp/service.conf"), &block.text)?;
    let psql = host.stage.lab.tools().postgres_program("psql");
    let line = format!(
        "PGSERVICEFILE=/etc/pgvrrp/service.conf PGSERVICE=odoo {} 'host=10.0.20.155 user=app dbname=postgres' -Atc 'select 42'",
        psql.display()
    );
    let output = host.run(&line, LONGEST)?;
    ensure!(output.status.success() && said(&output).trim() == "42", "{}: {}", block.place, said(&output));
    Ok(())
}

/// What the text names between backquotes with nothing left open: each once, in the order of the alphabet, and last what sends
/// the VIP away.
fn play_text(host: &Host<'_>) -> Result<()> {
    let mut all = BTreeMap::new();
    for page in pages() {
        let quoted = quoted(&prose(&page));
        for line in quoted.iter().flat_map(|line| commands(line)) {
            let typed = Typed { place: page.name.clone(), line: line.to_owned() };
            if LOOKS.iter().any(|begin| line.starts_with(begin)) {
                all.insert((false, line.to_owned()), typed);
                continue;
            }
            let Some(arguments) = of_pgvrrp(line) else { continue };
            let words = ["pgvrrp"].into_iter().chain(arguments.split_whitespace());
            let whole = pgvrrp::cli::command().try_get_matches_from(words).is_ok();
            // A word in capitals is for the reader to replace.
            let is_open = arguments.split(' ').any(|word| word.chars().all(|c| c.is_ascii_uppercase()));
            let is_open = is_open || line.contains(['[', '…']);
            if whole && !is_open && !NOT_HERE.iter().any(|(begin, _)| line.starts_with(begin)) {
                all.insert(
                    (line.contains("drain"), line.to_owned()),
                    Typed { place: page.name.clone(), line: line.to_owned() },
                );
            }
        }
    }
    ensure!(all.len() > 15, "only {} were found", all.len());
    for typed in all.values() {
        play_line(host, typed, tried(typed).unwrap_or(Tried::OnANode)).map_err(|error| error.context(host.log()))?;
    }
    println!("{} commands of the text were run", all.len());
    Ok(())
}

/// The questions are answered as by somebody who takes what is proposed, and is sure.
fn play_last(host: &Host<'_>) -> Result<()> {
    let typed = typed().into_iter().find(|typed| tried(typed) == Some(Tried::AtLast)).context("no such line")?;
    let output = host.run(&format!("printf '\\n\\n\\ny\\n' | {}", typed.line), LONGEST)?;
    println!("{}: # {}\n{}", typed.place, typed.line, said(&output));
    ensure!(output.status.success(), "{}: {}", typed.place, said(&output));
    host.stage.wait_vip(Node::Db2, Duration::from_secs(10))
}

#[test]
fn every_command_does_what_the_pages_say() {
    play_with(Options::default(), |stage| {
        let start = Time::now();
        stage.start_daemon(Node::Db2)?;
        let host = Host::set_up(stage)?;
        let _daemon = play_blocks(&host)?;
        // Handovers among them, and none has moved it.
        let holdings = stage.analysis().holdings();
        ensure!(holdings.len() == 1 && holdings[0].from > start, "the VIP left and came back: {holdings:?}");
        ensure!(!Path::new("/etc/pgvrrp/etcd.password").exists(), "it was written on this machine");
        service_file(&host)?;
        play_text(&host)?;
        stage.wait_vip(Node::Db1, Duration::from_secs(5))?;
        play_last(&host)
    });
}
