//! What the daemon's process may do. Where none runs, this process stands in for it.

use std::fs;

use nix::unistd::Uid;

use super::areas::CAPABILITIES as AREA;
use super::daemon::Running;
use super::report::Finding;
use crate::capabilities::Capabilities;
use crate::realtime;

pub(super) fn judge(daemon: Running) -> Vec<Finding> {
    let (whose, capabilities) = match daemon {
        Running::As(process) => (format!("the daemon ({process})"), Capabilities::of(process)),
        Running::No => ("no daemon runs, and this process".to_owned(), Capabilities::own()),
        Running::Hidden => {
            ("this user cannot see whether a daemon runs, and this process".to_owned(), Capabilities::own())
        }
    };
    let capabilities = match capabilities {
        Ok(capabilities) => capabilities,
        Err(error) => {
            let text = format!("capabilities: {whose}: not checked, /proc does not say: {error}");
            return vec![Finding::warning(
                AREA,
                text,
                "run this on the host itself, as root, or in the daemon's container",
            )];
        }
    };
    // Any other user than root has them from the unit alone, so for this process to lack them means nothing.
    let matters = match daemon {
        Running::As(_) => true,
        Running::No => Uid::effective().is_root(),
        Running::Hidden => false,
    };
    let mut findings = vec![needed(&whose, matters, &capabilities.missing())];
    if let Running::As(process) = daemon
        && let Some(pid) = process.number()
    {
        // Of this process, limits would say nothing about the daemon: its unit sets them.
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
        findings.extend(realtime_limits(&limits, capabilities.sys_nice()));
    }
    findings
}

fn needed(whose: &str, matters: bool, missing: &[&str]) -> Finding {
    if missing.is_empty() {
        return Finding::ok(AREA, format!("capabilities: {whose} has CAP_NET_ADMIN and CAP_NET_RAW"));
    }
    let text = format!("capabilities: {whose} lacks {}", missing.join(" and "));
    if matters {
        let fix = "start pgvrrp by its systemd unit, which grants exactly these, or as root on the host itself";
        Finding::problem(AREA, text, fix)
    } else {
        Finding::warning(AREA, text, "nothing, if pgvrrp is started by its systemd unit, which grants exactly these")
    }
}

/// Both are wishes, not needs: without them a busy or swapping machine makes moves slower, never less safe.
fn realtime_limits(limits: &str, sys_nice: bool) -> Option<Finding> {
    let soft = |name: &str| {
        let value = limits.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?;
        Some(if value == "unlimited" { u64::MAX } else { value.parse().ok()? })
    };
    let (priority, memory) = (soft("Max realtime priority")?, soft("Max locked memory")?);
    let wanted = u64::try_from(realtime::PRIORITY).unwrap_or_default();
    let mut lacking = Vec::new();
    if priority < wanted && !sys_nice {
        lacking.push("real-time priority (LimitRTPRIO=10)");
    }
    if memory != u64::MAX {
        lacking.push("locked memory (LimitMEMLOCK=infinity)");
    }
    if lacking.is_empty() {
        return None;
    }
    let what = lacking.join(" and ");
    let text = format!("capabilities: the daemon has no {what}: a busy machine may make moves slower");
    Some(Finding::hint(
        AREA,
        text,
        "set that in its unit, as the packaged one does; a container's: --ulimit rtprio=10 --ulimit memlock=-1",
    ))
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;

    #[test]
    fn both_capabilities_are_needed() {
        assert_eq!(needed("the daemon (process 7)", true, &[]).level, Level::Ok);
        let finding = needed("the daemon (process 7)", true, &["CAP_NET_ADMIN", "CAP_NET_RAW"]);
        assert_eq!(finding.level, Level::Problem);
        assert_eq!(needed("this process", false, &["CAP_NET_RAW"]).level, Level::Warning);
        assert_eq!(finding.text, "capabilities: the daemon (process 7) lacks CAP_NET_ADMIN and CAP_NET_RAW");
    }

    #[test]
    fn limits_of_the_unit_and_of_a_shell() {
        let limits = |memory: &str, priority: &str| {
            format!(
                "Limit                     Soft Limit           Hard Limit           Units     \n\
                 Max locked memory         {memory}            8388608              bytes     \n\
                 Max realtime priority     {priority}                    0                             \n"
            )
        };
        assert_eq!(realtime_limits(&limits("unlimited", "10"), false), None);
        assert_eq!(realtime_limits(&limits("unlimited", "0"), true), None);
        let shell = realtime_limits(&limits("8388608", "0"), false).unwrap();
        assert!(shell.text.contains("LimitRTPRIO") && shell.text.contains("LimitMEMLOCK"), "{}", shell.text);
        assert_eq!(realtime_limits("", false), None);
    }
}
