//! What the blocks of VRRP hold. What becomes of a value is said here if nothing else decides it; of the rest in
//! `vips`.

mod addresses;
mod instance;
mod notify;

use std::path::{Path, PathBuf};

pub(super) use self::instance::{Family, Instance, Tracked};
pub(super) use self::notify::Notify;

use super::check::{self, Meaning};
use super::files::Files;
use super::keywords;
use super::note::{At, Notes, Place};
use super::tree::Statement;

/// A keepalived.conf.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// `router_id`.
    pub(super) router_id: Option<At<String>>,
    /// `vrrp_version`, 2 unless it says 3.
    pub(super) version: Option<At<u8>>,
    /// `default_interface`.
    pub(super) default_interface: Option<At<String>>,
    /// `script_user`: who runs scripts that name nobody.
    pub(super) script_user: Option<At<String>>,
    /// `v3_checksum_as_v2`: RFC 9568's form of the checksum.
    pub(super) checksum_of_rfc9568: bool,
    pub(super) scripts: Vec<Script>,
    /// The names of processes and files that can be tracked, each with all that its block says.
    pub(super) others: Vec<(String, String)>,
    pub(super) instances: Vec<Instance>,
    pub(super) groups: Vec<Group>,
}

/// `vrrp_script`.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) place: Place,
    pub(super) last: usize,
    pub(super) name: String,
    /// `script`.
    pub(super) command: Option<At<String>>,
    /// The keywords beside it.
    pub(super) settings: Vec<At<String>>,
}

/// `vrrp_sync_group`.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) place: Place,
    pub(super) name: String,
    /// The instances, by name.
    pub(super) members: Vec<At<String>>,
    pub(super) scripts: Vec<Tracked>,
    pub(super) others: Vec<Tracked>,
    pub(super) interfaces: Vec<Tracked>,
    pub(super) notifies: Vec<Notify>,
}

/// Reads all of it.
pub(super) fn source(statements: &[Statement], notes: &mut Notes) -> Source {
    let mut source = Source::default();
    for statement in statements {
        match statement.keyword() {
            "global_defs" => globals(statement, &mut source, notes),
            "vrrp_script" => source.scripts.extend(script(statement, notes)),
            "vrrp_instance" => source.instances.push(instance::read(statement, notes)),
            "vrrp_sync_group" => {
                let group = group(statement, notes);
                source.groups.push(group);
            }
            "vrrp_track_process" | "track_file" | "vrrp_track_file" => {
                let says = statement.children().iter().map(|line| line.words().join(" "));
                source
                    .others
                    .push((statement.argument().unwrap_or_default().to_owned(), says.collect::<Vec<_>>().join(" ")));
                keywords::settle_top(statement, notes);
            }
            _ => keywords::settle_top(statement, notes),
        }
    }
    source
}

fn globals(block: &Statement, source: &mut Source, notes: &mut Notes) {
    notes.converted(block.place, "global_defs", "see each line of it");
    for statement in block.children() {
        let (place, keyword) = (statement.place, statement.keyword());
        match keyword {
            "router_id" => source.router_id = text(statement, notes),
            "vrrp_version" => source.version = version(statement, notes),
            "default_interface" => {
                source.default_interface = text(statement, notes);
                notes.converted(place, keyword, "the interface of instances without one");
            }
            "script_user" => source.script_user = text(statement, notes),
            "v3_checksum_as_v2" => {
                source.checksum_of_rfc9568 = is_on(statement);
                notes.converted(place, keyword, "checksum, for each VIP");
            }
            "smtp_alert" | "smtp_alert_vrrp" => smtp_alert(statement, notes),
            _ => keywords::settle(statement, keywords::GLOBAL, notes),
        }
    }
}

fn script(block: &Statement, notes: &mut Notes) -> Option<Script> {
    let Some(name) = block.argument().map(ToOwned::to_owned) else {
        notes.add_block(super::Verdict::Unknown, block.place, block.last, "vrrp_script", "it has no name");
        return None;
    };
    let mut script = Script { place: block.place, last: block.last, name, command: None, settings: Vec::new() };
    for statement in block.children() {
        match statement.keyword() {
            "script" => script.command = text(statement, notes),
            keyword @ ("interval" | "timeout" | "weight" | "rise" | "fall" | "user" | "init_fail") => {
                script.settings.push(At { place: statement.place, value: keyword.to_owned() });
            }
            _ => keywords::settle(statement, &[], notes),
        }
    }
    Some(script)
}

impl Script {
    /// What it asks. A script is read where it can be.
    pub(super) fn meaning(&self, files: &dyn Files) -> Meaning {
        let command = self.command.as_ref().map_or("", |command| command.value.as_str());
        let paths: Vec<PathBuf> = command
            .split(|c: char| c.is_whitespace() || matches!(c, '\'' | '"' | ';' | '|' | '&'))
            .filter(|word| word.starts_with('/') && !is_system_program(word))
            .map(PathBuf::from)
            .take(4)
            .collect();
        let bodies = paths.iter().filter_map(|path| files.read(path).ok()).filter(|text| !text.contains('\0'));
        let body = bodies.collect::<Vec<_>>().join("\n");
        check::meaning(&self.name, command, Some(&body))
    }
}

/// What these programs hold says nothing of what they are asked.
fn is_system_program(path: &str) -> bool {
    let dirs = ["/bin", "/sbin", "/usr/bin", "/usr/sbin", "/dev"];
    dirs.iter().any(|dir| Path::new(path).parent() == Some(Path::new(dir)) || path.starts_with("/dev/"))
}

fn group(block: &Statement, notes: &mut Notes) -> Group {
    let mut group = Group {
        place: block.place,
        name: block.argument().unwrap_or_default().to_owned(),
        members: Vec::new(),
        scripts: Vec::new(),
        others: Vec::new(),
        interfaces: Vec::new(),
        notifies: Vec::new(),
    };
    for statement in block.children() {
        match statement.keyword() {
            "group" => {
                notes.converted(statement.place, "group", format!("members of {}: see vrrp_sync_group", group.name));
                for line in statement.children() {
                    notes.converted(line.place, line.keyword(), "see vrrp_sync_group");
                    let names = line.words().iter();
                    group.members.extend(names.map(|name| At { place: line.place, value: name.clone() }));
                }
            }
            "track_script" => group.scripts.extend(instance::tracked(statement, notes)),
            "track_process" | "track_file" => group.others.extend(instance::tracked(statement, notes)),
            "track_interface" => group.interfaces.extend(instance::tracked(statement, notes)),
            "smtp_alert" => smtp_alert(statement, notes),
            keyword if notify::is_notify(keyword) => {
                let read = notify::read(statement, &group.notifies, notes);
                group.notifies.extend(read);
            }
            _ => keywords::settle(statement, keywords::GROUP, notes),
        }
    }
    group
}

/// The arguments as one text. Where there are none, that is said.
fn text(statement: &Statement, notes: &mut Notes) -> Option<At<String>> {
    let value = statement.arguments().join(" ");
    if value.is_empty() {
        notes.by_hand(statement.place, statement.keyword(), "has no value: write one, or take it out");
        return None;
    }
    Some(At { place: statement.place, value })
}

/// A number in these bounds. What is none is said, and is none.
fn number(statement: &Statement, bounds: std::ops::RangeInclusive<u8>, notes: &mut Notes) -> Option<At<u8>> {
    let argument = statement.argument().unwrap_or_default();
    match argument.parse().ok().filter(|number| bounds.contains(number)) {
        Some(value) => Some(At { place: statement.place, value }),
        None => {
            let text = format!("`{argument}` is no number from {} to {}: correct it", bounds.start(), bounds.end());
            notes.by_hand(statement.place, statement.keyword(), text);
            None
        }
    }
}

fn version(statement: &Statement, notes: &mut Notes) -> Option<At<u8>> {
    number(statement, 2..=3, notes).inspect(|version| {
        if version.value == 3 {
            notes.converted(statement.place, statement.keyword(), "pgvrrp speaks version 3 alone");
        } else {
            notes.by_hand(statement.place, statement.keyword(), VERSION_2);
        }
    })
}

/// Nothing says so in the file of most.
pub(super) const VERSION_2: &str = "pgvrrp speaks VRRP version 3 alone, and Keepalived at version 2 and pgvrrp do not \
                                    hear each other: before the first pgvrrp is started, stop Keepalived on every \
                                    node, on the holder last (docs/MIGRATE-KEEPALIVED.md)";

/// Keepalived's booleans; a keyword without a value is on.
fn is_on(statement: &Statement) -> bool {
    !matches!(statement.argument(), Some("off" | "false" | "no"))
}

fn smtp_alert(statement: &Statement, notes: &mut Notes) {
    if is_on(statement) {
        let text = "no mail is sent: alarm on the Prometheus metrics, such as pgvrrp_vip_held summed over the nodes \
                    not being 1";
        notes.by_hand(statement.place, statement.keyword(), text);
    } else {
        notes.not_needed(statement.place, statement.keyword(), "no mail is sent");
    }
}
