//! What the daemon of this node has heard of the others: the one direction that can be judged without a test.

use std::time::Duration;

use serde_json::Value;

use super::super::areas::PEER as AREA;
use super::super::report::Finding;

/// A daemon that runs for less has perhaps not heard anybody yet.
const YOUNG: f64 = 15.0;

/// By the daemon's status.
pub(in super::super) fn judge(status: &Value) -> Vec<Finding> {
    if status["uptime"].as_f64().is_none_or(|uptime| uptime < YOUNG) {
        return Vec::new();
    }
    let vips = status["vips"].as_array().into_iter().flatten();
    vips.filter(|vip| vip["held"] == false).filter_map(|vip| judge_one(status["node"].as_str()?, vip)).collect()
}

/// One that is not here. If it is nowhere, nobody advertises it.
fn judge_one(node: &str, vip: &Value) -> Option<Finding> {
    let address = vip["address"].as_str()?;
    let peers = vip["peers"].as_array().into_iter().flatten();
    let heard = peers.filter_map(|peer| {
        let age = peer["age"].as_f64()?;
        let recent = age < 3.0 * peer["interval"].as_f64()? + 1.0;
        (recent && peer["version"] == 3 && peer["priority"] != 0).then_some((peer["address"].as_str()?, age))
    });
    if let Some((from, age)) = heard.min_by(|(_, a), (_, b)| a.total_cmp(b)) {
        let age = Duration::try_from_secs_f64(age).unwrap_or_default();
        return Some(Finding::ok(
            AREA,
            format!("protocol 112: {from} is heard to advertise VIP {address}, {age:.1?} ago"),
        ));
    }
    let holder = vip["lock"]["holder"].as_str().filter(|holder| *holder != node)?;
    let text = format!("protocol 112: {holder} has VIP {address}, and is not heard to advertise it");
    let fix = "find out where that is lost: `pgvrrp doctor --peer ADDRESS` here and there at the same time; the VIP does not \
               depend on it";
    Some(Finding::warning(AREA, text, fix))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(uptime: u32, held: bool, holder: Option<&str>, peers: &Value) -> Vec<String> {
        let vip = json!({"address": "10.0.20.155", "held": held, "lock": {"holder": holder}, "peers": peers});
        let findings = judge(&json!({"node": "db1", "uptime": uptime, "vips": [vip]}));
        findings.iter().map(|finding| format!("{:?}: {}", finding.level, finding.text)).collect()
    }

    #[test]
    fn who_is_heard_and_who_should_be() {
        let peer = |age: f64, priority: u8| json!([{"address": "10.0.20.12", "version": 3, "priority": priority, "interval": 1.0, "age": age}]);
        let heard = "Ok: protocol 112: 10.0.20.12 is heard to advertise VIP 10.0.20.155, 400.0ms ago";
        assert_eq!(found(60, false, Some("db2"), &peer(0.4, 255)), [heard]);
        let unheard = "Warning: protocol 112: db2 has VIP 10.0.20.155, and is not heard to advertise it";
        assert_eq!(found(60, false, Some("db2"), &peer(4.5, 255)), [unheard]);
        assert_eq!(found(60, false, Some("db2"), &peer(0.4, 0)), [unheard], "it has said goodbye");
        assert_eq!(found(60, false, Some("db2"), &Value::Null), [unheard]);
        assert_eq!(found(60, false, None, &json!([])), [""; 0], "it is nowhere");
        assert_eq!(found(60, true, Some("db1"), &json!([])), [""; 0], "it is here");
        assert_eq!(found(5, false, Some("db2"), &json!([])), [""; 0], "just started");
        assert_eq!(judge(&json!({"uptime": "long", "vips": 7})), []);
    }
}
