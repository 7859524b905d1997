//! What an application saw of one event, for a table.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Application, What};
use crate::analysis::Distribution;
use crate::clock::Time;

/// What became of an application's connections and workers after an event.
#[derive(Clone, Debug)]
pub struct Account {
    /// The application.
    pub name: String,
    /// How many of its connections lay idle or waited, or how many workers it has.
    pub clients: usize,
    /// Whether it works, rather than only having connections.
    pub works: bool,
    /// When each client was first told of the end of its connection, or that its request has failed.
    pub told: BTreeMap<u32, (Time, String)>,
    /// When each worker's first request that began after the old holder was gone was acknowledged.
    pub served: BTreeMap<u32, Time>,
    /// Idle connections that a pool found dead.
    pub dropped: Vec<(Time, String)>,
    /// The request that took longest: when it began and ended.
    pub longest: Option<(Time, Time)>,
}

impl Account {
    /// Of what happened from `event` on. A request counts as served again if it began after `gone`:
    /// until then the old holder may have served it.
    #[must_use]
    pub fn of(application: &Application, event: Time, gone: Time) -> Self {
        let mut account = Self {
            name: application.name().to_owned(),
            clients: application.clients(),
            works: application.works(),
            told: BTreeMap::new(),
            served: BTreeMap::new(),
            dropped: Vec::new(),
            longest: None,
        };
        let mut seen = application.seen();
        seen.sort_by_key(|sight| sight.at);
        for sight in seen {
            if sight.at < event {
                continue;
            }
            if let What::Request { started, .. } = sight.what {
                let took = sight.at.since(started);
                if account.longest.is_none_or(|(from, to)| took > to.since(from)) {
                    account.longest = Some((started, sight.at));
                }
            }
            match sight.what {
                What::Ready => {}
                What::Told { how } | What::Request { error: Some(how), .. }
                    if !account.told.contains_key(&sight.client) =>
                {
                    account.told.insert(sight.client, (sight.at, how));
                }
                What::Request { started, error: None } if started >= gone => {
                    account.served.entry(sight.client).or_insert(sight.at);
                }
                What::Dropped { how } => account.dropped.push((sight.at, how)),
                What::Told { .. } | What::Request { .. } => {}
            }
        }
        account
    }

    /// How long after `origin` clients were told, in milliseconds, `None` when none was.
    #[must_use]
    pub fn told_after(&self, origin: Time) -> Option<Distribution> {
        Distribution::of(self.told.values().map(|(at, _)| at.millis_after(origin)))
    }

    /// When the first one was.
    #[must_use]
    pub fn first_told(&self) -> Option<Time> {
        self.told.values().map(|(at, _)| *at).min()
    }

    /// How many clients were told at `limit` at the latest.
    #[must_use]
    pub fn told_by(&self, limit: Time) -> usize {
        self.told.values().filter(|(at, _)| *at <= limit).count()
    }

    /// When a request that began after the old holder was gone was first acknowledged.
    #[must_use]
    pub fn first_served(&self) -> Option<Time> {
        self.served.values().min().copied()
    }

    /// When every worker had one of those acknowledged; `None` while one has not.
    #[must_use]
    pub fn all_served(&self) -> Option<Time> {
        self.served.values().max().copied().filter(|_| self.served.len() >= self.clients)
    }

    /// What the clients were told, by how often it was said.
    fn words(&self) -> String {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for (_, how) in self.told.values() {
            *counts.entry(plain(how)).or_default() += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let said: Vec<String> = counts.into_iter().map(|(how, count)| format!("{count} x {how}")).collect();
        if said.is_empty() { "nothing".to_owned() } else { said.join("<br>") }
    }
}

/// Markdown. All times in milliseconds after `origin`, which is `of` in words.
#[must_use]
pub fn table(accounts: &[Account], origin: Time, of: &str) -> String {
    let mut text = format!(
        "| Application | Told | Told, ms after {of}: first / median / last | Served again, ms: first / all | \
         Longest request, s | What it was told |\n|---|---|---|---|---|---|\n"
    );
    let after =
        |at: Option<Time>| at.map_or_else(|| "never".to_owned(), |at| format!("{:.0}", at.millis_after(origin)));
    for account in accounts {
        let told = account.told_after(origin).map_or_else(
            || "never".to_owned(),
            |told| format!("{:.0} / {:.0} / {:.0}", told.min(), told.median(), told.max()),
        );
        let served = if account.works {
            format!("{} / {}", after(account.first_served()), after(account.all_served()))
        } else {
            "-".to_owned()
        };
        let longest =
            account.longest.map_or_else(|| "-".to_owned(), |(from, to)| format!("{:.2}", to.since(from).as_secs_f64()));
        let (name, count, clients) = (&account.name, account.told.len(), account.clients);
        let _ =
            writeln!(text, "| {name} | {count} of {clients} | {told} | {served} | {longest} | {} |", account.words());
    }
    text
}

/// Without what differs between clients that are told the same: their own port, and what went before.
fn plain(how: &str) -> String {
    const LONGEST: usize = 160;
    let words: Vec<&str> = how.split(' ').collect();
    let mut text = String::new();
    let mut is_number_of = false;
    for word in words {
        let word = if is_number_of && word.parse::<u32>().is_ok() { "N" } else { word };
        is_number_of = word == "client";
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(word);
    }
    text.replace('|', "/").chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_are_told_the_same_are_one() {
        assert_eq!(
            plain("pgbench: error: client 3 script 0 aborted"),
            plain("pgbench: error: client 12 script 0 aborted")
        );
        assert_ne!(plain("port 3"), plain("port 12"));
    }
}
