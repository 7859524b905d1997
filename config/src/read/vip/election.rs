//! `follows`, and the keys that only plain VRRP has a meaning for.

use std::time::Duration;

use toml::Spanned;
use vrrp::types::Priority;

use crate::diagnose::{Report, Reported};
use crate::model::{Election, Follows};
use crate::raw::Meaning::{Is, NotYet};
use crate::raw::Section;
use crate::read::link_name;

const KEYS: [&str; 4] = ["priority", "preempt", "preempt_delay", "track_interfaces"];

/// Who decides which node holds the VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decides {
    /// The VIP follows the primary.
    Etcd,
    /// The VIP follows nobody.
    Routers,
}

pub(super) fn decides(section: &Section<'_>, report: &mut Report) -> Result<Decides, Reported> {
    section.told_of("follows")?;
    let help = "write \"primary\", or \"none\" for plain VRRP, or leave this [[vip]] to another program";
    let choices = [
        ("primary", Is(Decides::Etcd)),
        ("none", Is(Decides::Routers)),
        ("standby-leader", NotYet(help)),
        ("replica", NotYet(help)),
        ("sync-standby", NotYet(help)),
    ];
    section.choice("follows", Decides::Etcd, choices, report)
}

/// `interface` is that of the VIP, if it is right.
pub(super) fn read(
    section: &Section<'_>,
    decides: Result<Decides, Reported>,
    interface: Option<&str>,
    report: &mut Report,
) -> Result<Follows, Reported> {
    if decides == Ok(Decides::Etcd) {
        return refuse(section, report).map(|()| Follows::Primary);
    }
    let priority = priority(section, report);
    let preempt = section.boolean("preempt", true, report);
    let preempt_delay = preempt_delay(section, preempt, report);
    let track_interfaces = track_interfaces(section, interface, report);
    decides?;
    Ok(Follows::None(Election {
        priority: priority?,
        preempt: preempt?,
        preempt_delay: preempt_delay?,
        track_interfaces: track_interfaces?,
    }))
}

/// What is set must not be without effect.
fn refuse(section: &Section<'_>, report: &mut Report) -> Result<(), Reported> {
    let mut result = Ok(());
    for key in KEYS {
        if let Some(span) = section.key_span(key) {
            let help = "remove it: etcd decides who holds this VIP, and the holder advertises priority 255; or write \
                        follows = \"none\" for plain VRRP";
            result = Err(report.add(span, format!("`{key}`, and this [[vip]] follows the primary"), help));
        }
    }
    result
}

fn priority(section: &Section<'_>, report: &mut Report) -> Result<Priority, Reported> {
    const KEY: &str = "priority";
    const DEFAULT: u8 = 100;
    let help = if section.is_number(KEY, 255) {
        "255 is the priority of the address owner, which only a VIP that follows the primary has; write 254 for the highest"
    } else {
        "the node with the highest one holds the VIP; the default is 100"
    };
    let number = section.integer(KEY, 1..=254, help, report)?;
    let priority = number.as_ref().map_or(Some(DEFAULT), |number| u8::try_from(*number.get_ref()).ok());
    let span = number.map(|number| number.span()).unwrap_or_default();
    priority.and_then(Priority::new).ok_or_else(|| report.add(span, format!("{KEY} must be 1 to 254"), help))
}

fn preempt_delay(
    section: &Section<'_>,
    preempt: Result<bool, Reported>,
    report: &mut Report,
) -> Result<Duration, Reported> {
    const KEY: &str = "preempt_delay";
    if let (Ok(false), Some(span)) = (preempt, section.key_span(KEY)) {
        let help = "remove it, or remove preempt = false: a holder that is not relieved at all is not relieved later";
        return Err(report.add(span, format!("{KEY}, and preempt is false"), help));
    }
    section.duration(KEY, Duration::ZERO, &(Duration::ZERO..=Duration::from_secs(1000)), report)
}

fn track_interfaces(
    section: &Section<'_>,
    interface: Option<&str>,
    report: &mut Report,
) -> Result<Vec<String>, Reported> {
    const KEY: &str = "track_interfaces";
    let Some(list) = section.texts(KEY, "[\"eth1\"]", report)? else { return Ok(Vec::new()) };
    let mut known: Vec<Spanned<String>> = Vec::new();
    let mut result = Ok(());
    for text in list.get_ref() {
        let name = match link_name("an interface", text, report) {
            Ok(name) => name,
            Err(reported) => {
                result = Err(reported);
                continue;
            }
        };
        if interface == Some(name.as_str()) {
            let help = "remove it: that one is always tracked";
            result = Err(report.add(text.span(), format!("{KEY} has the interface of the VIP itself"), help));
        } else if let Some(first) = known.iter().find(|known| *known.get_ref() == name) {
            let note = ("the first one is", first.span());
            result = Err(report.add_with_note(text.span(), "the same interface twice", note, "name each one once"));
        } else {
            known.push(Spanned::new(text.span(), name));
        }
    }
    result.map(|()| known.into_iter().map(Spanned::into_inner).collect())
}
