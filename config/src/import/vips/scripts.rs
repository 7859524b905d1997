//! What tracked scripts say about whom an instance follows.

use crate::import::check::{self, Meaning};
use crate::import::files::Files;
use crate::import::note::{Notes, Verdict};
use crate::import::read::{Instance, Script, Source, Tracked};

const UNCLEAR: &str = "it asks something of PostgreSQL that is not clear, and is taken for a check of the primary: \
                       follows = \"primary\". If the VIP is not to be on the primary, write follows = \"none\"";

/// Whom an instance follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follow {
    Primary,
    Nobody,
    /// Which no VIP can.
    Replica,
}

/// What each vrrp_script asks.
pub(super) struct Scripts<'a>(Vec<(&'a Script, Meaning)>);

/// Looks at each of them, and says what becomes of it.
pub(super) fn settle<'a>(source: &'a Source, files: &dyn Files, notes: &mut Notes) -> Scripts<'a> {
    let scripts: Vec<_> = source.scripts.iter().map(|script| (script, script.meaning(files))).collect();
    let of_instances = source.instances.iter().flat_map(|instance| &instance.scripts);
    let tracked: Vec<_> = of_instances.chain(source.groups.iter().flat_map(|group| &group.scripts)).collect();
    for (script, meaning) in &scripts {
        let text = match meaning {
            _ if !tracked.iter().any(|tracked| tracked.name == script.name) => {
                let text = "no instance tracks it";
                notes.add_block(Verdict::NotNeeded, script.place, script.last, "vrrp_script", text);
                continue;
            }
            Meaning::Primary(_) => "pgvrrp watches etcd and PostgreSQL itself",
            _ => "pgvrrp runs no check scripts: see track_script",
        };
        let mut say = |place, keyword| notes.not_needed(place, keyword, text);
        say(script.place, "vrrp_script");
        if let Some(command) = &script.command {
            say(command.place, "script");
        }
        for setting in &script.settings {
            say(setting.place, &setting.value);
        }
    }
    Scripts(scripts)
}

impl Scripts<'_> {
    /// By what it tracks, itself or by its sync group. What is not clear is taken for a check of the primary: that way
    /// the VIP is on no replica.
    pub(super) fn follow(&self, instance: &Instance, source: &Source, notes: &mut Notes) -> Follow {
        let groups = source.groups.iter().filter(|group| group.members.iter().any(|at| at.value == instance.name));
        let groups: Vec<_> = groups.collect();
        let mut follow = Follow::Nobody;
        for tracked in instance.others.iter().chain(groups.iter().flat_map(|group| &group.others)) {
            let says = source.others.iter().find(|(name, _)| *name == tracked.name).map_or("", |(_, says)| says);
            // A process of PostgreSQL's runs on a replica as well: whoever tracks it wants the primary, or should.
            if let Meaning::Primary(_) | Meaning::Database = check::meaning(&tracked.name, says, None) {
                notes.by_hand(tracked.place, &tracked.name, UNCLEAR);
                follow = Follow::Primary;
            } else {
                notes.by_hand(tracked.place, &tracked.name, "not tracked: see its definition");
            }
        }
        for tracked in instance.scripts.iter().chain(groups.iter().flat_map(|group| &group.scripts)) {
            let script = self.0.iter().find(|(script, _)| script.name == tracked.name);
            let Some((script, meaning)) = script else {
                notes.by_hand(tracked.place, &tracked.name, "there is no vrrp_script of this name");
                continue;
            };
            say(tracked, script, *meaning, notes);
            follow = match (follow, meaning) {
                (_, Meaning::Primary(_) | Meaning::Database) => Follow::Primary,
                (Follow::Nobody, Meaning::Replica) => Follow::Replica,
                (follow, _) => follow,
            };
        }
        follow
    }

    /// Whether Keepalived is in its FAULT state wherever the primary is not.
    pub(super) fn fail_on_standbys(&self, instance: &Instance, source: &Source) -> bool {
        let groups = source.groups.iter().filter(|group| group.members.iter().any(|at| at.value == instance.name));
        let mut tracked = instance.scripts.iter().chain(groups.flat_map(|group| &group.scripts));
        tracked.any(|tracked| {
            let script = self.0.iter().find(|(script, _)| script.name == tracked.name);
            script.is_some_and(|(script, meaning)| {
                matches!(meaning, Meaning::Primary(_)) && !is_weighted(tracked, script)
            })
        })
    }
}

fn is_weighted(tracked: &Tracked, script: &Script) -> bool {
    tracked.is_weighted || script.settings.iter().any(|setting| setting.value == "weight")
}

fn say(tracked: &Tracked, script: &Script, meaning: Meaning, notes: &mut Notes) {
    let (place, name) = (tracked.place, tracked.name.as_str());
    match meaning {
        Meaning::Primary(how) => {
            let weight =
                if is_weighted(tracked, script) { "; its weight has no counterpart, etcd decides" } else { "" };
            let fails = script.command.as_ref().filter(|command| succeeds_always(&command.value));
            let fails = fails.map_or("", |_| "; (curl without --fail never failed, whatever Patroni answered)");
            notes.converted(place, name, format!("follows = \"primary\": {how}{weight}{fails}"));
        }
        Meaning::Replica => notes.by_hand(place, name, "it asks for a replica, which no VIP follows in this version"),
        Meaning::Proxy(proxy) => {
            let text = format!(
                "it asks for {proxy}: follows = \"none\", plain VRRP, and nothing checks {proxy}. Let its unit run \
                 `pgvrrp drain NAME` in ExecStopPost= and `pgvrrp undrain NAME` in ExecStartPost=. A VIP that follows \
                 the primary needs no {proxy} in front of PostgreSQL"
            );
            notes.by_hand(place, name, text);
        }
        Meaning::Database => {
            notes.by_hand(place, name, UNCLEAR);
        }
        Meaning::Other => {
            let text = "not known: follows = \"none\", plain VRRP, and nothing runs this check. What it is for can \
                        send the VIP away by `pgvrrp drain NAME` and let it back by `pgvrrp undrain NAME`";
            notes.by_hand(place, name, text);
        }
    }
}

/// curl's exit code is 0 for each answer, unless it is told otherwise or something looks at what it prints.
fn succeeds_always(command: &str) -> bool {
    let mut words = command.split_whitespace();
    let is_curl = words.next().is_some_and(|word| word == "curl" || word.ends_with("/curl"));
    is_curl
        && !command.contains(['|', ';', '&'])
        && !words
            .any(|word| word == "--fail" || (word.starts_with('-') && !word.starts_with("--") && word.contains('f')))
}
