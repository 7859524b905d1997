//! The picture for people: where the VIP is, why, and since when; then what is known, and how old that is.

mod evidence;
mod paint;
mod vip;

use std::fmt::{Result, Write};
use std::time::{Duration, SystemTime};

use self::paint::Paint;
use super::health::STUCK;
use crate::node::status::{ConfigStatus, NodeCounters, Status};
use crate::words::{harmless, span};

/// How the picture is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The time of day when it is drawn, from which ages are counted back.
    pub now: SystemTime,
    /// In a terminal's colours.
    pub colour: bool,
}

/// Renders the picture.
pub fn render(status: &Status, look: Look) -> String {
    let mut canvas = Canvas { out: String::new(), now: look.now, paint: Paint(look.colour) };
    // Writing to a String cannot fail.
    let _ = canvas.node(status);
    canvas.out
}

/// What is drawn so far.
struct Canvas {
    out: String,
    now: SystemTime,
    paint: Paint,
}

impl Canvas {
    fn node(&mut self, status: &Status) -> Result {
        writeln!(self.out, "pgvrrp {} on {}, up {}", status.version, status.node, span(status.uptime))?;
        if status.observing {
            let text = "observing: what follows would be, and nothing of it is done";
            writeln!(self.out, "{}", self.paint.warn(text))?;
        }
        if status.age >= STUCK {
            let age = span(status.age);
            let text = format!(
                "STUCK: the protocol thread has not run for {age}; what it bound ends with its lifetime of 3 s"
            );
            writeln!(self.out, "\n{}\nwhat follows is what was true then", self.paint.bad(&text))?;
        }
        status.vips.iter().try_for_each(|vip| self.vip(status, vip))?;
        writeln!(self.out, "\nevidence")?;
        self.evidence(status)?;
        self.config(&status.config)?;
        if let Some(trouble) = &status.clients_trouble {
            self.line("clients", &format!("not known to other nodes: {}", harmless(trouble)))?;
        }
        self.counted(&status.counters)
    }

    /// Only where it is not the one from the start.
    fn config(&mut self, config: &ConfigStatus) -> Result {
        if let (Some(why), Some(age)) = (&config.refusal, config.refusal_age) {
            return self.warn("config", &format!("another was refused {} ago: {}", span(age), harmless(why)));
        }
        match config.reloads {
            0 => Ok(()),
            _ => self.line("config", &format!("read again {} ago", span(config.age))),
        }
    }

    fn counted(&mut self, counters: &NodeCounters) -> Result {
        let listed = |counts: &mut dyn Iterator<Item = (&str, &u64)>| {
            let list: Vec<_> = counts.map(|(reason, count)| format!("{reason} {count}")).collect();
            (!list.is_empty()).then(|| list.join(", "))
        };
        let refused = &counters.client_lists_refused;
        if let Some(list) = listed(&mut refused.iter().map(|(reason, count)| (reason.as_ref(), count))) {
            self.line("refused", &format!("lists of clients: {list}"))?;
        }
        let discards = &counters.discards;
        if let Some(list) = listed(&mut discards.iter().map(|(reason, count)| (reason.as_ref(), count))) {
            self.line("discarded", &list)?;
        }
        if counters.stalls > 0 {
            self.line("stalls", &counters.stalls.to_string())?;
        }
        Ok(())
    }

    /// What it is about, in a column of its own, and what there is to say.
    fn line(&mut self, about: &str, text: &str) -> Result {
        let about = self.paint.faint(&format!("{about:<12}"));
        writeln!(self.out, "  {about} {text}")
    }

    /// The same for what somebody should look at.
    fn warn(&mut self, about: &str, text: &str) -> Result {
        let text = self.paint.warn(text);
        self.line(about, &text)
    }

    /// The time of day that was so long ago, in whole seconds.
    fn time(&self, age: Duration) -> String {
        crate::words::time(self.now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH))
    }
}
