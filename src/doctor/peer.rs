//! Whether protocol 112 gets from this node to another and back. Both run `pgvrrp doctor --peer`, each names the other, and
//! they tell each other what arrives.
//!
//! What they send is discarded by every router (`vrrp::wire::probe`), daemons that run beside them included. Nobody vouches
//! for what they hear: whoever is on the segment could make them say the wrong thing, and nothing more than say it. They answer
//! nobody; they speak at their own pace, to the group or the configured peers, and by UDP to the address that was named.

mod heard;
mod hello;
mod judge;
mod plan;
mod talk;
mod ways;
mod wire;

use std::hash::{BuildHasher, RandomState};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::Duration;

use pgvrrp_config::Config;

use super::areas::PEER as AREA;
use super::report::Finding;
use crate::clock;
pub(super) use heard::judge as judge_heard;
use hello::Hello;
use plan::Plan;
pub(super) use plan::Segment;
use talk::Talk;

/// Whom to test the way to.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The other node's own address on the VIP's interface.
    pub address: IpAddr,
    /// How long to wait for its doctor, 1 to 600 s.
    pub wait: Duration,
}

/// Tests it, and says on the way what it is waiting for.
pub(super) async fn test(config: &Config, segments: &[Segment], peer: Peer, say: &dyn Fn(&str)) -> Vec<Finding> {
    let plan = match Plan::of(config, segments, peer.address) {
        Ok(plan) => plan,
        Err(finding) => return vec![finding],
    };
    let (address, here) = (peer.address, plan.here);
    // From a source of the kernel's: nobody who does not hear it knows it. 0 is nobody's.
    let number = RandomState::new().hash_one(0).max(1);
    let talk = Talk::new(address, Hello::first(number, here, plan.ways()), clock::now() + peer.wait);
    let begun = || say(&format!("peer {address}: is there; testing for {} s", talk::TEST.as_secs()));
    say(&format!(
        "peer {address}: waiting for its doctor, {} s at most; run `pgvrrp doctor --peer {here}` there",
        peer.wait.as_secs()
    ));
    match wire::converse(&plan, talk, begun).await {
        Ok(talk) => judge::judge(&plan, &talk, peer.wait),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let text = format!("peer {address}: not tested: {error}: to send and hear protocol 112 needs CAP_NET_RAW");
            vec![Finding::warning(AREA, text, "run this as root")]
        }
        Err(error) => {
            let text = format!("peer {address}: not tested: {}: {error}", plan.interface);
            vec![Finding::warning(AREA, text, "see whether the interface is there and up, and run this again")]
        }
    }
}

/// That it was not asked for.
pub(super) fn untested() -> Finding {
    Finding::hint(
        AREA,
        "protocol 112 to the other nodes and back: not tested",
        "for that run `pgvrrp doctor --peer ADDRESS` here and there at the same time, each with the other's own address",
    )
}
