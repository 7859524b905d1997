//! What the conversation says about each way and direction, and what to do about it.

use std::time::Duration;

use super::super::areas::PEER as AREA;
use super::super::report::{Finding, Level};
use super::hello::Hello;
use super::plan::Plan;
use super::talk::Talk;
use super::ways::{Way, Ways};
use super::wire::PORT;

/// What became of the packets of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    /// A daemon there would have been given them.
    Whole,
    /// They came through a router.
    Routed,
    /// As far as the interface, and no further.
    Kept,
    /// The sender's kernel does not send them.
    Refused,
    /// The sender's configuration does not have this way.
    Untried,
    /// Lost between.
    Lost,
}

pub(super) fn judge(plan: &Plan, talk: &Talk, waited: Duration) -> Vec<Finding> {
    let mut findings: Vec<_> = plan.forgets.iter().map(|vip| forgotten(plan, vip)).collect();
    let Some(theirs) = &talk.theirs else {
        findings.push(silence(plan, talk, waited));
        return findings;
    };
    let me = talk.hello();
    // Of what comes from there this host knows; of what goes there the other one, once it has heard of this host.
    let answer = talk.answer.unwrap_or_else(|| Hello::first(theirs.mine, theirs.here, theirs.tries));
    for way in plan.destinations.keys() {
        let there =
            if talk.answer.is_some() && !theirs.tries.has(*way) { Came::Untried } else { came(&answer, &me, *way) };
        findings.extend(one_way(plan, *way, came(&me, theirs, *way), there));
    }
    for way in Way::ALL.into_iter().filter(|way| theirs.tries.has(*way) && !plan.destinations.contains_key(way)) {
        findings.push(differs(plan, format!("{} sends by {way}, and the VIPs here do not", plan.peer)));
    }
    if talk.answer.is_none() {
        let text = format!("peer {}: is heard, and says nothing of having heard this host", plan.peer);
        let fix = format!("if it named another address than {}, run `{}` there", plan.here, command(plan));
        findings.push(Finding::warning(AREA, text, fix));
    }
    if !talk.by_udp {
        let text = format!("peer {}: is not heard by UDP port {PORT}, which nothing but this test uses", plan.peer);
        findings.push(Finding::note(AREA, text));
    }
    findings
}

/// By the receiver's word and the sender's.
fn came(receiver: &Hello, sender: &Hello, way: Way) -> Came {
    let is = |ways: Ways| ways.has(way);
    if is(receiver.heard) {
        Came::Whole
    } else if is(receiver.routed) {
        Came::Routed
    } else if is(receiver.seen) {
        Came::Kept
    } else if !is(sender.tries) {
        Came::Untried
    } else if is(sender.refused) {
        Came::Refused
    } else {
        Came::Lost
    }
}

fn one_way(plan: &Plan, way: Way, here: Came, there: Came) -> Vec<Finding> {
    let peer = plan.peer;
    if (here, there) == (Came::Whole, Came::Whole) {
        let text = format!("protocol 112, {way}: arrives here from {peer}, and there from here");
        return vec![Finding::ok(AREA, text)];
    }
    // The same for both, and one of them is enough.
    if here == Came::Untried || there == Came::Untried {
        return vec![differs(plan, format!("the VIPs here send by {way}, and {peer} does not"))];
    }
    let (from_there, from_here) = (format!("from {peer} to this host"), format!("from this host to {peer}"));
    let this = "this host".to_owned();
    [
        direction(plan, way, here, &from_there, &peer.to_string(), &this),
        direction(plan, way, there, &from_here, &this, &peer.to_string()),
    ]
    .into()
}

fn direction(plan: &Plan, way: Way, came: Came, direction: &str, sender: &str, receiver: &str) -> Finding {
    let what = format!("protocol 112, {way}, {direction}");
    let (text, fix) = match came {
        Came::Whole => return Finding::ok(AREA, format!("{what}: arrives")),
        Came::Routed => (
            "arrives with a TTL that is not 255: a router is between, and daemons discard it".to_owned(),
            "put both nodes on one segment".to_owned(),
        ),
        Came::Kept => (
            format!("arrives at the interface, and {receiver} itself drops it"),
            format!(
                "on {receiver}, let IP protocol 112 in: in nftables' input chain `meta l4proto 112 accept`, or \
                 `{}tables -I INPUT -p 112 -j ACCEPT`, or `firewall-cmd --permanent --add-protocol=vrrp`{}",
                if way.is_ipv4() { "ip" } else { "ip6" },
                if way.is_ipv4() { "; if no rule drops it, rp_filter does: 2 instead of 1" } else { "" }
            ),
        ),
        Came::Refused => (
            format!("{sender} itself refuses to send it"),
            format!(
                "on {sender}, let IP protocol 112 out: in nftables' output chain `meta l4proto 112 accept`, or \
                 `{}tables -I OUTPUT -p 112 -j ACCEPT`",
                if way.is_ipv4() { "ip" } else { "ip6" }
            ),
        ),
        Came::Untried | Came::Lost => ("is lost between them".to_owned(), lost(way)),
    };
    bad(plan, way, format!("{what}: {text}"), fix)
}

fn lost(way: Way) -> String {
    match way {
        Way::GroupV4 | Way::GroupV6 => {
            let (what, group) = if way.is_ipv4() { ("IGMP", "224.0.0.18") } else { ("MLD", "ff02::12") };
            format!(
                "have the switches and hypervisors between let multicast to {group} through ({what} snooping, storm control, \
                 anti-spoofing); where there is no multicast, as in most clouds, name the nodes in `unicast_peers`"
            )
        }
        Way::PeerV4 | Way::PeerV6 => {
            "have whatever is between the nodes (hypervisor, security group, firewall) let IP protocol \
                                      112 through; it is neither TCP nor UDP"
                .to_owned()
        }
    }
}

/// For a VIP that follows the primary nothing depends on what is heard; where VRRP elects, two routers are Active.
fn bad(plan: &Plan, way: Way, text: String, fix: String) -> Finding {
    let level = if plan.elects.has(way) { Level::Problem } else { Level::Warning };
    Finding::with_fix(AREA, level, text, fix)
}

fn differs(plan: &Plan, how: String) -> Finding {
    let fix = "let `addresses` and `unicast_peers` be of the same kind on both nodes";
    Finding::warning(AREA, format!("peer {}: its configuration differs: {how}", plan.peer), fix)
}

fn forgotten(plan: &Plan, vip: &str) -> Finding {
    let text = format!("peer {}: is none of the `unicast_peers` of VIP {vip}", plan.peer);
    let way = if plan.peer.is_ipv4() { Way::PeerV4 } else { Way::PeerV6 };
    bad(plan, way, text, "name it there, or name here the address that is named there".to_owned())
}

fn command(plan: &Plan) -> String {
    format!("pgvrrp doctor --peer {}", plan.here)
}

fn silence(plan: &Plan, talk: &Talk, waited: Duration) -> Finding {
    let peer = plan.peer;
    let waited = format!("within {} s", waited.as_secs());
    if talk.is_closed {
        let text = format!("peer {peer}: no doctor was there {waited}, as that host says");
        return Finding::warning(AREA, text, format!("run `{}` there at the same time", command(plan)));
    }
    if let Some(stranger) = talk.stranger {
        let text = format!("peer {peer}: was not heard {waited}; another doctor was, from {stranger}");
        let fix = format!("if that is the one, name {stranger} here, and {} there", plan.here);
        return Finding::warning(AREA, text, fix);
    }
    let text = format!("peer {peer}: nothing was heard {waited}, neither by protocol 112 nor by UDP port {PORT}");
    let fix = format!(
        "run `{}` there at the same time; if it ran, something drops whatever comes from there: see whether `ping {peer}` \
         is answered, and let UDP port {PORT} in for the time of the test",
        command(plan)
    );
    Finding::warning(AREA, text, fix)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::IpAddr;

    use vrrp::time::Instant;

    use super::super::talk::Ear;
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 20, 12));
    const WAY: Way = Way::GroupV4;

    fn ways(ways: &[Way]) -> Ways {
        ways.iter().copied().collect()
    }

    fn plan(elects: bool) -> Plan {
        Plan {
            peer: PEER,
            interface: "eth0".to_owned(),
            index: 2,
            here: [10, 0, 20, 11].into(),
            source_v4: Some([10, 0, 20, 11].into()),
            source_v6: None,
            destinations: BTreeMap::from([(WAY, [IpAddr::from([224, 0, 0, 18])].into())]),
            elects: if elects { ways(&[WAY]) } else { Ways::default() },
            forgets: Vec::new(),
        }
    }

    /// The other doctor's word that it tries this way, and what it has received.
    fn theirs() -> Hello {
        Hello { yours: 1, ..Hello::first(2, PEER, ways(&[WAY])) }
    }

    fn new() -> Talk {
        Talk::new(PEER, Hello::first(1, [10, 0, 20, 11].into(), ways(&[WAY])), Instant::ZERO)
    }

    /// What is found after these words.
    fn found(elects: bool, words: &[(Ear, Hello)]) -> Vec<Finding> {
        let plan = plan(elects);
        let mut talk = new();
        for (ear, hello) in words {
            talk.take(Instant::ZERO, PEER, *ear, *hello);
        }
        let findings = judge(&plan, &talk, Duration::from_secs(60));
        for finding in &findings {
            let needs_fix = matches!(finding.level, Level::Warning | Level::Problem);
            assert_eq!(finding.fix.as_ref().is_some_and(|fix| !fix.is_empty()), needs_fix, "{finding:?}");
        }
        findings
    }

    fn texts(findings: &[Finding]) -> Vec<String> {
        findings.iter().map(|finding| format!("{:?}: {}", finding.level, finding.text)).collect()
    }

    const HERE: Ear = Ear::Daemon(WAY, 255);

    #[test]
    fn both_ways() {
        let whole = Hello { heard: ways(&[WAY]), ..theirs() };
        assert_eq!(
            texts(&found(true, &[(Ear::Udp, whole), (HERE, whole)])),
            ["Ok: protocol 112, IPv4 multicast: arrives here from 10.0.20.12, and there from here"]
        );
    }

    #[test]
    fn one_direction_of_an_election_is_a_problem() {
        let whole = Hello { heard: ways(&[WAY]), ..theirs() };
        let to = "Ok: protocol 112, IPv4 multicast, from this host to 10.0.20.12: arrives";
        let from = "protocol 112, IPv4 multicast, from 10.0.20.12 to this host";
        assert_eq!(
            texts(&found(true, &[(Ear::Udp, whole)])),
            [format!("Problem: {from}: is lost between them"), to.into()]
        );
        let kept = found(true, &[(Ear::Udp, whole), (Ear::Interface(WAY), whole)]);
        assert_eq!(
            texts(&kept)[0],
            format!("Problem: {from}: arrives at the interface, and this host itself drops it")
        );
        assert!(kept[0].fix.as_deref().is_some_and(|fix| fix.starts_with("on this host, let IP protocol 112 in")));
        let refused = Hello { refused: ways(&[WAY]), ..whole };
        assert_eq!(
            texts(&found(true, &[(Ear::Udp, refused)]))[0],
            format!("Problem: {from}: 10.0.20.12 itself refuses to send it")
        );
        let routed = found(false, &[(Ear::Udp, whole), (Ear::Daemon(WAY, 254), whole)]);
        assert!(texts(&routed)[0].starts_with(&format!("Warning: {from}: arrives with a TTL")), "{routed:?}");
    }

    #[test]
    fn the_other_direction_is_the_others_word() {
        let from = "Ok: protocol 112, IPv4 multicast, from 10.0.20.12 to this host: arrives";
        let to = "Warning: protocol 112, IPv4 multicast, from this host to 10.0.20.12";
        let seen = Hello { seen: ways(&[WAY]), ..theirs() };
        let words = |hello| [(Ear::Udp, hello), (HERE, hello)];
        assert_eq!(
            texts(&found(false, &words(seen))),
            [from.to_owned(), format!("{to}: arrives at the interface, and 10.0.20.12 itself drops it")]
        );
        assert_eq!(texts(&found(false, &words(theirs()))), [from.to_owned(), format!("{to}: is lost between them")]);
        let deaf = found(false, &words(Hello { yours: 0, ..theirs() }));
        assert_eq!(texts(&deaf)[1], format!("{to}: is lost between them"));
        assert!(deaf[2].fix.as_deref().is_some_and(|fix| fix.contains("pgvrrp doctor --peer 10.0.20.11")), "{deaf:?}");
    }

    #[test]
    fn configurations_that_differ() {
        let other = Hello { tries: ways(&[Way::PeerV4]), ..theirs() };
        let differs = "Warning: peer 10.0.20.12: its configuration differs";
        assert_eq!(
            texts(&found(false, &[(Ear::Udp, other)])),
            [
                format!("{differs}: the VIPs here send by IPv4 multicast, and 10.0.20.12 does not"),
                format!("{differs}: 10.0.20.12 sends by IPv4 unicast, and the VIPs here do not"),
            ]
        );
    }

    #[test]
    fn silence_is_not_taken_for_a_lost_way() {
        let [nothing] = found(true, &[]).try_into().unwrap();
        assert_eq!(nothing.level, Level::Warning);
        assert!(nothing.text.contains("nothing was heard within 60 s"), "{nothing:?}");
        let mut talk = new();
        talk.closed();
        assert!(silence(&plan(true), &talk, Duration::from_secs(9)).text.contains("no doctor was there within 9 s"));
        let mut talk = new();
        let other = [10, 0, 20, 99].into();
        talk.take(Instant::ZERO, other, HERE, Hello { yours: 0, here: other, ..theirs() });
        assert!(silence(&plan(true), &talk, Duration::from_secs(9)).text.contains("from 10.0.20.99"));
    }
}
