//! What becomes of notify scripts: hooks that give them the arguments that Keepalived gives them.

use super::Vip;
use super::scripts::Scripts;
use crate::import::accept::{list, probe, refusal};
use crate::import::note::{Notes, Verdict};
use crate::import::read::{Group, Instance, Notify, Source};

/// A hook of a `[[vip]]`.
#[derive(Debug)]
pub(in crate::import) struct Hook {
    key: &'static str,
    command: Vec<String>,
    /// The line of its script.
    line: usize,
    /// Why it must not stand in the configuration.
    pub(in crate::import) left_out: Option<String>,
}

impl Hook {
    /// As it stands in the configuration.
    pub(in crate::import) fn line(&self) -> String {
        format!("{} = [{}]", self.key, list(&self.command))
    }
}

/// Whose script it is, which Keepalived tells it.
#[derive(Clone, Copy)]
enum Whose<'a> {
    Instance(&'a Instance),
    /// With the number of its VIPs.
    Group(&'a Group, usize),
}

const RIGHTS: &str = "a hook is run by the daemon's user, without capabilities, in the sandbox of its unit, and for 10 s \
                      at most ([hooks] timeout): look whether that is enough for what it does (docs/HOOKS.md)";

/// Gives each VIP its hooks, and says what becomes of each script.
pub(super) fn settle(source: &Source, scripts: &Scripts<'_>, vips: &mut [Vip], notes: &mut Notes) {
    let mut converted = Vec::new();
    for instance in &source.instances {
        let fails = scripts.fail_on_standbys(instance, source);
        let of = |vip: &Vip| vip.place == instance.place;
        let vip = vips.iter().position(of).or_else(|| vips.iter().position(|vip| vip.names.contains(&instance.name)));
        let Some(vip) = vip.and_then(|at| vips.get_mut(at)) else { continue };
        for notify in &instance.notifies {
            let is_hook = add(notify, Whose::Instance(instance), fails, &mut [vip], notes);
            converted.extend(is_hook.then_some(notify));
        }
    }
    for group in &source.groups {
        let is_member = |name: &String| group.members.iter().any(|member| member.value == *name);
        let members = source.instances.iter().filter(|instance| is_member(&instance.name));
        let fails = members.clone().any(|instance| scripts.fail_on_standbys(instance, source));
        let mut own: Vec<_> = vips.iter_mut().filter(|vip| vip.names.iter().any(is_member)).collect();
        for notify in &group.notifies {
            if own.is_empty() {
                notes.not_needed(notify.place, &notify.keyword, "the group has no instance");
                continue;
            }
            let is_hook = add(notify, Whose::Group(group, own.len()), fails, &mut own, notes);
            converted.extend(is_hook.then_some(notify));
        }
    }
    users(source, &converted, notes);
}

/// Adds it to these VIPs, of which there is one at least. Returns whether it is a hook of any.
fn add(notify: &Notify, whose: Whose<'_>, fails: bool, vips: &mut [&mut Vip], notes: &mut Notes) -> bool {
    let taken = vips.iter().find_map(|vip| vip.hooks.iter().find(|hook| hook.key == notify.hook));
    if let Some(first) = taken {
        let text = format!(
            "not converted: the [[vip]] has an {} already, by line {}, and a VIP has one: let one script call both",
            notify.hook, first.line
        );
        notes.by_hand(notify.place, &notify.keyword, text);
        return false;
    }
    let left_out = why_left_out(notify);
    for vip in vips.iter_mut() {
        let command = command(notify, whose, vip);
        vip.hooks.push(Hook { key: notify.hook, command, line: notify.place.line, left_out: left_out.clone() });
    }
    if vips.iter().all(|vip| vip.left_out.is_some()) {
        notes.not_needed(notify.place, &notify.keyword, "its instance is left out, and this with it");
        return false;
    }
    let follows_primary = vips.iter().any(|vip| vip.follows_primary);
    let shown = vips.iter().find_map(|vip| vip.hooks.last()).map(Hook::line).unwrap_or_default();
    match &left_out {
        Some(reason) => {
            let text = format!(
                "not converted: {shown} stands there as a comment, since pgvrrp would refuse it: {reason}. Mend that, and \
                 import it again"
            );
            notes.by_hand(notify.place, &notify.keyword, text);
        }
        None => {
            let (verdict, differences) = differences(notify, whose, fails, follows_primary);
            notes.add(verdict, notify.place, &notify.keyword, format!("{shown}{differences}"));
        }
    }
    left_out.is_none()
}

/// What is not as it is with Keepalived, and whether somebody has to look at that.
fn differences(notify: &Notify, whose: Whose<'_>, fails: bool, follows_primary: bool) -> (Verdict, String) {
    let mut verdict = Verdict::Converted;
    let mut text = String::new();
    match whose {
        Whose::Instance(_) if notify.is_told() && follows_primary => text += "; the last argument is always 255",
        Whose::Group(_, vips @ 2..) => {
            verdict = Verdict::ByHand;
            text += &format!(
                "; it is run for each of the {vips} VIPs of the group, and Keepalived ran it once: if that is enough, \
                 leave it in one of them"
            );
        }
        _ => {}
    }
    match notify.hook {
        "on_fault" if fails => {
            verdict = Verdict::ByHand;
            text += "; Keepalived ran it on each standby as well, since the check fails there, and pgvrrp runs on_backup \
                     there: name it there, too, if that is what it is for";
        }
        "on_backup" if fails => {
            text += "; on a standby, too, which was in FAULT with Keepalived, since the check fails there";
        }
        "on_change" if fails => text += "; on a standby it is told BACKUP, not FAULT",
        _ => {}
    }
    (verdict, text)
}

/// Says once for each user who has run scripts that are hooks now.
fn users(source: &Source, converted: &[&Notify], notes: &mut Notes) {
    for notify in converted {
        if let Some(user) = &notify.user {
            notes.by_hand(notify.place, &notify.keyword, format!("Keepalived ran it as {user}; {RIGHTS}"));
        }
    }
    let unnamed = converted.iter().find(|notify| notify.user.is_none());
    match (&source.script_user, unnamed) {
        (Some(user), Some(_)) => notes.by_hand(user.place, "script_user", format!("was {}; {RIGHTS}", user.value)),
        (Some(user), None) => notes.not_needed(user.place, "script_user", "pgvrrp runs no check scripts"),
        (None, Some(notify)) => {
            let text = format!("was keepalived_script, the default, or root where there is no such user; {RIGHTS}");
            notes.by_hand(notify.place, "script_user", text);
        }
        (None, None) => {}
    }
}

/// pgvrrp looks at the program when it reads its configuration; behind a shell only this looks at it.
fn why_left_out(notify: &Notify) -> Option<String> {
    let program = notify.command.first().map_or(&[][..], std::slice::from_ref);
    let asks = [list(program), list(&notify.command), list(&shell(String::new()))];
    asks.iter().find_map(|words| refusal(&probe("node", "eth0", &format!("[hooks]\non_change = [{words}]"))))
}

/// What is run. pgvrrp gives every hook four arguments behind its own: to a shell they are `$0` to `$3`.
fn command(notify: &Notify, whose: Whose<'_>, vip: &Vip) -> Vec<String> {
    let words = notify.command.iter().map(|word| shell_word(word)).collect::<Vec<_>>().join(" ");
    match whose {
        _ if !notify.is_told() => shell(format!("exec {words}")),
        Whose::Instance(instance) if vip.names.first() == Some(&instance.name) => notify.command.clone(),
        Whose::Instance(instance) => {
            shell(format!("exec {words} INSTANCE {} \"$2\" \"$3\"", shell_word(&instance.name)))
        }
        Whose::Group(group, _) => shell(format!("exec {words} GROUP {} \"$2\" 0", shell_word(&group.name))),
    }
}

fn shell(line: String) -> Vec<String> {
    vec!["/bin/sh".to_owned(), "-c".to_owned(), line]
}

/// As a shell takes it for one word.
fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@%=".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}
