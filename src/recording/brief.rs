//! Inputs and outputs in a few words, for people who read a replay.

use crate::gate::evidence::{Acquisition, EtcdReport, EtcdRequest, LockHolder, Observation};
use crate::node::io::{Address, ClientsReport, Input, Outcome, Output};

/// What the node was told.
pub fn input(input: &Input) -> String {
    match input {
        Input::Timer => "timer".to_owned(),
        Input::Link { link: None, .. } => "no such interface".to_owned(),
        Input::Link { link: Some(link), .. } => {
            format!("interface {} {}", link.index, if link.up { "up" } else { "down" })
        }
        Input::Addresses(addresses) => {
            let list: Vec<_> = addresses.iter().map(address).collect();
            format!("addresses: {}", list.join(", "))
        }
        Input::AddressAdded(added) => format!("kernel: added {}", address(added)),
        Input::AddressRemoved(removed) => format!("kernel: removed {}", address(removed)),
        Input::Advert { advert, .. } => {
            format!("advert of {}: router {}, priority {}", advert.source, advert.vrid, advert.priority)
        }
        Input::Discarded(packets) => format!("{} packets discarded: {}", packets.count, packets.reason),
        Input::Claim { address, mac, .. } => {
            let mac: Vec<_> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{address} is said to be at {}", mac.join(":"))
        }
        Input::Reload(settings) => format!("another configuration, {} VIPs", settings.vips.len()),
        Input::ReloadRefused(why) => format!("another configuration, refused: {why}"),
        Input::Drain { drained: true, .. } => "drain".to_owned(),
        Input::Drain { drained: false, .. } => "undrain".to_owned(),
        Input::Etcd(report) => format!("etcd: {}", etcd(report)),
        Input::Postgres(report) => format!("PostgreSQL: {} ({})", report.role.as_str(), report.detail),
        Input::PostgresParted => "PostgreSQL: has ended the session".to_owned(),
        Input::Clients(report) => format!("clients: {}", clients(report)),
        Input::Patroni(report) => match &report.answer {
            Ok(state) => format!("Patroni: primary {}, failsafe active {}", state.primary, state.failsafe_active),
            Err(error) => format!("Patroni: {error}"),
        },
        Input::Done(outcomes) => format!("done: {}", outcomes.iter().map(done).collect::<Vec<_>>().join(", ")),
        Input::Stop => "stop".to_owned(),
        Input::HandOver => "hand over".to_owned(),
    }
}

/// What is to be done.
pub fn output(output: &Output) -> String {
    match output {
        Output::Bind { lifetime, .. } => format!("bind for {lifetime} s"),
        Output::Unbind { .. } => "unbind".to_owned(),
        Output::UnbindStrays { .. } => "unbind strays".to_owned(),
        Output::Reset { .. } => "reset connections".to_owned(),
        Output::CountConnections { .. } => "count connections".to_owned(),
        Output::DropSyns { .. } => "drop new connections".to_owned(),
        Output::AcceptSyns { .. } => "let new connections in".to_owned(),
        Output::Tickle { first, .. } => format!("tickle from {first}"),
        Output::Advertise { priority, .. } => format!("advertise {priority}"),
        Output::Announce { .. } => "announce".to_owned(),
        Output::Etcd(EtcdRequest::Round { keep_alive, .. }) if keep_alive.is_empty() => "ask etcd".to_owned(),
        Output::Etcd(EtcdRequest::Round { .. }) => "keep V alive, ask etcd".to_owned(),
        Output::Etcd(EtcdRequest::Acquire { ttl, .. }) => format!("acquire V for {ttl} s"),
        Output::Etcd(EtcdRequest::Revoke { .. }) => "revoke V".to_owned(),
        Output::AskPostgres { every } => format!("ask PostgreSQL every {every:?}"),
        Output::AskPatroni { url: Some(url) } => format!("ask Patroni at {url}"),
        Output::AskPatroni { url: None } => "ask Patroni no more".to_owned(),
        Output::Tell(notice) => format!("tell \"{}\"", notice.text),
    }
}

fn address(address: &Address) -> String {
    let lifetime = address.lifetime.map_or_else(String::new, |seconds| format!(" for {seconds} s"));
    format!("{}/{} on {}{lifetime}", address.address, address.prefix_len, address.link)
}

fn clients(report: &ClientsReport) -> String {
    let vips = report.vips.iter().map(|vip| {
        let connected = vip.connected.map_or_else(|| "not here".to_owned(), |connected| format!("{connected} here"));
        let list = vip.list.as_ref().map(|list| format!(", {} by the word of {}", list.clients, list.from));
        connected + &list.unwrap_or_default()
    });
    vips.collect::<Vec<_>>().join("; ")
}

fn etcd(report: &EtcdReport) -> String {
    match report {
        EtcdReport::Hint => "something changed".to_owned(),
        EtcdReport::SwitchoverWithdrawn => "no switchover is asked for any more".to_owned(),
        EtcdReport::Switchover { leader, .. } => {
            format!("a switchover from {} is asked for", leader.as_deref().unwrap_or("whoever leads"))
        }
        EtcdReport::Round { observation: Err(error), .. } => error.clone(),
        EtcdReport::Round { kept, observation: Ok(observation) } => {
            let kept: Vec<_> = kept.iter().map(|kept| format!(", V's lease {} s", kept.ttl)).collect();
            format!("{}{}", observed(observation), kept.concat())
        }
        EtcdReport::Acquire { outcome, .. } => match outcome {
            Acquisition::Acquired { ttl, mod_revision, .. } => {
                format!("V acquired for {ttl} s, revision {mod_revision}")
            }
            Acquisition::Refused { .. } => "V not acquired: K or V is not what it was".to_owned(),
            Acquisition::Failed { reason } => format!("V not acquired: {reason}"),
            Acquisition::Unknown { reason, .. } => format!("V perhaps acquired: {reason}"),
        },
        EtcdReport::Revoke { outcome: Ok(()), .. } => "V revoked".to_owned(),
        EtcdReport::Revoke { outcome: Err(error), .. } => format!("V perhaps revoked: {error}"),
    }
}

fn observed(observation: &Observation) -> String {
    let leader = observation.leader.as_ref();
    let leader = leader.map_or_else(|| "absent".to_owned(), |k| format!("{}'s since {}", k.member, k.create_revision));
    let locks = observation.locks.iter().map(|lock| match lock.as_ref().map(|lock| &lock.holder) {
        None => ", V absent".to_owned(),
        Some(LockHolder::Known(value)) => format!(", V {}'s", value.member),
        Some(LockHolder::Unknown(value)) => format!(", V {value:?}"),
    });
    format!("revision {}, K {leader}{}", observation.revision, locks.collect::<String>())
}

fn done(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Bound { .. } => "bound".to_owned(),
        Outcome::Late { .. } => "too late, not bound".to_owned(),
        Outcome::BindRefused { error, .. } => format!("bind refused: {error}"),
        Outcome::Unbound { removed, .. } => format!("unbound from {removed} places"),
        Outcome::UnbindFailed { error, .. } => format!("unbind failed: {error}"),
        Outcome::StraysRemoved { removed, .. } => format!("{removed} strays removed"),
        Outcome::Reset { destroyed, .. } => format!("{destroyed} connections reset"),
        Outcome::Connections { count: Some(count), .. } => format!("{count} connections"),
        Outcome::Connections { count: None, .. } => "connections unknown".to_owned(),
        Outcome::SynsDropped { works: true, .. } => "new connections are dropped".to_owned(),
        Outcome::SynsDropped { works: false, .. } => "new connections cannot be dropped".to_owned(),
        Outcome::Tickled { sent, total, .. } => format!("{sent} of {total} clients told"),
        Outcome::Advertised { .. } => "advertised".to_owned(),
        Outcome::Announced { .. } => "announced".to_owned(),
        Outcome::SendFailed { error, .. } => format!("not sent: {error}"),
    }
}
