//! What the words of etcd's endpoints mean, each for itself and all together.

use std::collections::BTreeSet;

use super::areas::ETCD as AREA;
use super::etcd::{Endpoint, Leader, Refusal, Unreachable};
use super::report::Finding;
use crate::evidence::etcd::Version;

pub(super) fn judge(endpoints: &[Endpoint]) -> Vec<Finding> {
    // One that refuses for the user's rights works; the rights are an area of their own.
    let works = |endpoint: &Endpoint| {
        endpoint.answer.as_ref().is_ok_and(|answer| matches!(answer.read, Ok(_) | Err(Refusal::Rights(_))))
    };
    let others_work = endpoints.iter().any(works);
    let mut findings: Vec<_> = endpoints.iter().map(|endpoint| judge_one(endpoint, others_work)).collect();
    let known = endpoints
        .iter()
        .filter_map(|endpoint| Some((endpoint.authority.as_str(), endpoint.answer.as_ref().ok()?.cluster_id?)));
    findings.extend(one_cluster(&known.collect::<Vec<_>>()));
    let errors = endpoints.iter().filter_map(|endpoint| Some(endpoint.answer.as_ref().ok()?.errors.as_slice()));
    findings.extend(alarms(errors.flatten().map(String::as_str)));
    if !others_work {
        let fix = "start etcd, or correct `endpoints` under [etcd] and the firewalls between here and there";
        findings.push(Finding::problem(AREA, "etcd: no endpoint answers a read, so no VIP can come to this node", fix));
    }
    findings
}

/// Of several endpoints one may be down; that is what the others are for.
fn silent(others_work: bool, text: String, fix: &str) -> Finding {
    if others_work { Finding::warning(AREA, text, fix) } else { Finding::problem(AREA, text, fix) }
}

fn judge_one(endpoint: &Endpoint, others_work: bool) -> Finding {
    let name = format!("etcd {}", endpoint.authority);
    let answer = match &endpoint.answer {
        Ok(answer) => answer,
        Err(Unreachable::Host(why)) => {
            let fix = "start this etcd member, open its client port to this node, or take it out of `endpoints`";
            return silent(others_work, format!("{name}: {why}"), fix);
        }
        Err(Unreachable::Name(why)) => {
            let fix = "correct the name in `endpoints`, give it an address in DNS or in /etc/hosts, or use the address itself";
            return silent(others_work, format!("{name}: {why}"), fix);
        }
    };
    let mut words = vec![answer.version.clone().unwrap_or_else(|| "unknown version".to_owned())];
    words.extend(answer.leader.map(|leader| {
        let word = match leader {
            Leader::None => "no leader",
            Leader::Itself => "leader",
            Leader::Another => "follower",
        };
        word.to_owned()
    }));
    match &answer.read {
        Ok((_, took)) => words.push(format!("{:.1} ms", took.as_secs_f64() * 1e3)),
        Err(Refusal::Rights(_)) => {}
        Err(Refusal::Tls(trouble)) => {
            return silent(others_work, format!("{name}: {}", trouble.words), trouble.fix);
        }
        Err(Refusal::Other(why)) => {
            let text = format!("{name}: {}; a read failed: {why}", words.join(", "));
            let fix =
                "`etcdctl endpoint status --cluster`: a majority of the members has to run and to reach each other";
            return silent(others_work, text, fix);
        }
    }
    judge_version(&format!("{name}: {}", words.join(", ")), answer.version.as_deref())
}

/// `words` is all that is to be said about the member besides.
fn judge_version(words: &str, version: Option<&str>) -> Finding {
    const UPGRADE: &str = "upgrade it to 3.5.28, 3.6.9 or newer";
    let Some(version) = version.map(Version::parse) else {
        return Finding::note(AREA, format!("{words}; whether this version can be relied on is not known"));
    };
    if version.is_sound() {
        return Finding::ok(AREA, words);
    }
    if version < Version::OLDEST {
        return Finding::problem(AREA, format!("{words}: 3.4 at least is needed"), UPGRADE);
    }
    let flaw =
        if version < Version::LEASES_LAST { "serve stale reads or revoke leases early" } else { "serve stale reads" };
    let text = format!("{words}; while etcd stalls or elects, this version can {flaw}");
    Finding::warning(AREA, text, format!("{UPGRADE}; until then two nodes could have a VIP for such a moment"))
}

fn one_cluster(known: &[(&str, u64)]) -> Option<Finding> {
    let (first, id) = known.first()?;
    let (other, other_id) = known.iter().find(|(_, other)| other != id)?;
    let text = format!("etcd: {first} and {other} belong to different clusters ({id:x} and {other_id:x})");
    Some(Finding::problem(
        AREA,
        text,
        "name the members of one cluster in `endpoints` under [etcd]: the one that Patroni uses",
    ))
}

/// Alarms are the whole cluster's, so every member tells each of them. etcd refuses writes until they are disarmed.
fn alarms<'a>(errors: impl Iterator<Item = &'a str>) -> Vec<Finding> {
    let raised: BTreeSet<_> = errors.map(str::trim).filter(|error| error.contains("alarm:")).collect();
    raised.into_iter().map(alarm).collect()
}

fn alarm(words: &str) -> Finding {
    let fix = if words.contains("NOSPACE") {
        "free its space: `etcdctl compact REVISION` and `etcdctl defrag --cluster`, or raise --quota-backend-bytes; then \
         `etcdctl alarm disarm`"
    } else if words.contains("CORRUPT") {
        "take the corrupt member out (`etcdctl member remove`) and add it anew without its data; then `etcdctl alarm disarm`"
    } else {
        "see `etcdctl alarm list` and the members' logs; then `etcdctl alarm disarm`"
    };
    let text =
        format!("etcd: an alarm is raised ({words}): it may refuse to grant the lock, and Patroni its leader key");
    Finding::problem(AREA, text, fix)
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;

    #[test]
    fn versions() {
        let level = |version| judge_version("etcd x", Some(version)).level;
        assert_eq!(level("3.3.27"), Level::Problem);
        for doubtful in ["3.4.23", "3.5.12", "3.5.27", "3.6.8"] {
            assert_eq!(level(doubtful), Level::Warning, "{doubtful}");
        }
        assert_eq!([level("3.5.28"), level("3.6.9"), level("4.0.0")], [Level::Ok; 3]);
        assert_eq!(judge_version("etcd x", None).level, Level::Note);
        let text = |version| judge_version("etcd x", Some(version)).text;
        assert!(text("3.5.12").contains("revoke leases early") && !text("3.5.13").contains("leases"));
    }

    #[test]
    fn members_of_different_clusters() {
        assert_eq!(one_cluster(&[]), None);
        assert_eq!(one_cluster(&[("a:2379", 7), ("b:2379", 7)]), None);
        let finding = one_cluster(&[("a:2379", 7), ("b:2379", 7), ("c:2379", 10)]).unwrap();
        assert!(finding.text.contains("a:2379 and c:2379"), "{}", finding.text);
    }

    #[test]
    fn an_endpoint_that_is_not_there() {
        let dead = |why| Endpoint { authority: "etcd1:2379".to_owned(), answer: Err(why) };
        let findings = judge(&[dead(Unreachable::Host("not reachable: refused".to_owned()))]);
        assert_eq!(findings.len(), 2, "the endpoint, and that there is no other");
        assert!(findings.iter().all(|finding| finding.level == Level::Problem && finding.fix.is_some()));
        let findings = judge(&[dead(Unreachable::Name("its name does not resolve".to_owned()))]);
        let fix = findings[0].fix.clone().unwrap();
        assert!(fix.contains("/etc/hosts") && !fix.contains("start"), "{fix}");
    }

    #[test]
    fn alarms_are_told_once() {
        let nospace = "memberID:9372538179322589801 alarm:NOSPACE ";
        let found = alarms([nospace, "etcdserver: no leader", nospace, "memberID:7 alarm:CORRUPT "].into_iter());
        let fixes: Vec<_> = found.iter().filter_map(|finding| finding.fix.as_deref()).collect();
        assert!(
            matches!(fixes.as_slice(), [corrupt, full] if corrupt.contains("remove") && full.contains("defrag")),
            "{found:?}"
        );
        assert!(found.iter().all(|finding| finding.level == Level::Problem));
        assert!(fixes.iter().all(|fix| fix.contains("alarm disarm")), "{fixes:?}");
    }
}
