//! Hooks of a real daemon.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::thread;

use crate::stage::{NOBODY, Stage, script, wait_until};

/// A stage whose VIP has one hook for everything: it writes what it is told, and what it finds when it runs.
struct Hooked {
    stage: Stage,
    told: PathBuf,
}

impl Hooked {
    fn new() -> Self {
        let stage = Stage::new();
        let told = stage.dir().join("told");
        let vip = "ip -o address show | grep -c ' 10.0.20.155/'";
        let text =
            format!("echo \"$1 $2 $3 $4 $5 $PGVRRP_STATE_BEFORE $PGVRRP_REASON $({vip})\" >> {}", told.display());
        let hook = script(&stage.dir().join("hook"), &text);
        stage.configure(&format!("[hooks]\non_change = [\"{hook}\", \"--loud\"]\n"));
        Self { stage, told }
    }

    fn told(&self) -> Vec<String> {
        lines(&self.told)
    }

    fn wait_for(&self, wanted: &[&str]) {
        wait_until(&format!("hooks are told {wanted:?}"), || self.told().len() >= wanted.len());
        assert_eq!(self.told(), wanted);
    }
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn each_transition_has_its_hook_with_keepalived_s_arguments() {
    let hooked = Hooked::new();
    let stage = &hooked.stage;
    let (daemon, log) = stage.start_logging();
    let mut wanted = vec!["--loud INSTANCE web BACKUP 100  backup 0", "--loud INSTANCE web MASTER 100 backup active 1"];
    hooked.wait_for(&wanted);
    assert_eq!(stage.pgvrrp(&[], &["drain", "web"]).0, Some(0));
    wanted.push("--loud INSTANCE web BACKUP 100 active drained 0");
    hooked.wait_for(&wanted);
    assert_eq!(stage.pgvrrp(&[], &["undrain", "web"]).0, Some(0));
    wanted.push("--loud INSTANCE web MASTER 100 backup active 1");
    hooked.wait_for(&wanted);
    stage.router_ip("link set eth0 down");
    wanted.push("--loud INSTANCE web FAULT 100 active interface_down 0");
    hooked.wait_for(&wanted);

    let vip = stage.vip();
    let last = &vip["hooks"]["last"];
    assert_eq!((&last["hook"], &last["state"]), (&"on_change".into(), &"fault".into()), "{vip:#}");
    assert_eq!((&last["result"], &last["exit_code"]), (&"ok".into(), &0.into()));
    assert!(last["command"].as_str().unwrap().ends_with("/hook --loud"), "{last}");
    let runs = stage.metric("pgvrrp_hook_runs_total{vip=\"web\",hook=\"on_change\",result=\"ok\"}");
    assert_eq!(runs, 5.0);
    assert_eq!(stage.metric("pgvrrp_hook_duration_seconds_count{vip=\"web\"}"), 5.0);
    let (_, text) = stage.pgvrrp(&[], &["status"]);
    assert!(text.contains("hook         on_change, fault: ok in "), "{text}");

    stage.router_ip("link set eth0 up");
    hooked_until(&hooked, "MASTER");
    daemon.stop();
    let told = hooked.told();
    assert_eq!(told.last().unwrap(), "--loud INSTANCE web STOP 100 active stopping 0", "{told:?}");
    assert_eq!(told.iter().filter(|line| line.contains(" STOP ")).count(), 1);
    assert!(fs::read_to_string(log).unwrap().contains("hook has run vip=\"web\" hook=\"on_change\""));
}

fn hooked_until(hooked: &Hooked, word: &str) {
    wait_until(word, || hooked.told().last().is_some_and(|line| line.contains(word)));
}

#[test]
fn a_handover_is_no_transition() {
    let hooked = Hooked::new();
    let stage = &hooked.stage;
    let (mut first, _) = stage.start_logging();
    hooked_until(&hooked, "MASTER");
    // One that VRRP elects is handed over only where it is not here.
    assert_eq!(stage.pgvrrp(&[], &["drain", "web", "--keep"]).0, Some(0));
    hooked_until(&hooked, "BACKUP");
    let before = hooked.told();
    let second = thread::scope(|scope| {
        let handover = scope.spawn(|| stage.pgvrrp(&[], &["handover"]));
        wait_until("the first has ended", || !first.is_running());
        let (second, _) = stage.start_logging();
        let (code, text) = handover.join().unwrap();
        assert_eq!(code, Some(0), "{text}");
        second
    });
    wait_until("the second knows how things stand", || stage.vip()["reason"] == "drained");
    assert_eq!(stage.pgvrrp(&[], &["undrain", "web"]).0, Some(0));
    hooked_until(&hooked, "MASTER");
    // The first that the second daemon says is what has changed since.
    assert_eq!(hooked.told().len(), before.len() + 1, "{:?}", hooked.told());
    second.stop();
}

#[test]
fn hooks_change_with_the_configuration() {
    let stage = Stage::new();
    stage.configure("");
    let (daemon, _) = stage.start_logging();
    stage.wait_until_held();
    let told = stage.dir().join("told");
    let hook = script(&stage.dir().join("hook"), &format!("echo \"$*\" >> {}", told.display()));
    stage.configure(&format!("[hooks]\non_backup = [\"{hook}\"]\n"));
    let (code, said) = stage.pgvrrp(&[], &["reload"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("hooks: changed"), "{said}");
    assert!(stage.pgvrrp(&[], &["reload"]).1.contains("nothing has changed"));
    assert_eq!(stage.pgvrrp(&[], &["drain", "web"]).0, Some(0));
    wait_until("the new hook has run", || lines(&told) == ["INSTANCE web BACKUP 100"]);
    stage.configure(&format!("[hooks]\non_backup = [\"{hook}\", \"again\"]\n"));
    assert_eq!(stage.pgvrrp(&[], &["reload"]).0, Some(0));
    assert_eq!(stage.pgvrrp(&[], &["undrain", "web"]).0, Some(0));
    stage.wait_until_held();
    assert_eq!(stage.pgvrrp(&[], &["drain", "web"]).0, Some(0));
    wait_until("with its new argument", || {
        lines(&told).last().is_some_and(|line| line == "again INSTANCE web BACKUP 100")
    });
    assert_eq!(lines(&told).len(), 2);
    daemon.stop();
}

const SETS: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];

/// What a hook of a daemon that is started by `wrapper`, as this user, may do: by the names of its sets, and NoNewPrivs.
fn rights(user: u32, wrapper: &[&str]) -> Vec<(String, String)> {
    let stage = Stage::new();
    let told = stage.dir().join("told");
    let hook = script(
        &stage.dir().join("hook"),
        &format!("grep -e ^Cap -e ^NoNew /proc/self/status > {0}.new; mv {0}.new {0}", told.display()),
    );
    stage.configure(&format!("[hooks]\non_active = [\"{hook}\"]\n"));
    chown(stage.dir(), Some(user), None).unwrap();
    let log = fs::File::create(stage.dir().join("log")).unwrap();
    let daemon = stage.start(wrapper, &[], log);
    wait_until("the hook has run", || told.exists());
    daemon.stop();
    let lines = lines(&told);
    let pairs = lines.iter().map(|line| line.split_once(":\t").expect("a name and a value"));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn of<'a>(rights: &'a [(String, String)], name: &str) -> &'a str {
    rights.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).unwrap()
}

#[test]
fn a_hook_of_root_s_has_no_rights() {
    let rights = rights(0, &[]);
    for set in SETS {
        assert_eq!(of(&rights, set), "0000000000000000", "{rights:?}");
    }
    assert_eq!(of(&rights, "NoNewPrivs"), "1");
}

/// As under the unit: no root, and two ambient capabilities, which every child would have.
#[test]
fn a_hook_does_not_inherit_ambient_capabilities() {
    let user = NOBODY.to_string();
    let two = "-all,+net_admin,+net_raw";
    let wrapper = [
        "setpriv",
        "--reuid",
        &user,
        "--regid",
        &user,
        "--clear-groups",
        "--inh-caps",
        two,
        "--ambient-caps",
        two,
        "--bounding-set",
        two,
    ];
    let rights = rights(NOBODY, &wrapper);
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(of(&rights, set), "0000000000000000", "{rights:?}");
    }
    // Without CAP_SETPCAP this one cannot be emptied; nothing can be had from it any more.
    assert_eq!((of(&rights, "CapBnd"), of(&rights, "NoNewPrivs")), ("0000000000003000", "1"));
}
