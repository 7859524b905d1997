//! From the router's word that an advert is to be sent to the packets that this takes.

use vrrp::router::Checksums;
use vrrp::time::Instant;
use vrrp::wire::advert::ChecksumForm;

use super::io::Output;
use super::kernel_view::KernelView;
use super::settings::{Family, Follows, VipSettings};
use crate::gate::deadline;
use crate::gate::evidence::VipId;

/// One packet for each family that the VIP has addresses of, and over IPv4 for each form of the checksum. A family in which
/// the interface has no address to send from is left out.
pub(super) fn send(
    kernel: &KernelView,
    vip: VipId,
    settings: &VipSettings,
    priority: u8,
    checksums: Checksums,
    now: Instant,
    out: &mut Vec<Output>,
) {
    // In an election a goodbye that comes late, after the removal of many addresses, is as good until others take over by
    // themselves.
    let not_after = match settings.follows {
        Follows::None(_) if priority == 0 => deadline::not_after(now).max(now + 3 * settings.interval.duration()),
        Follows::None(_) | Follows::Primary => deadline::not_after(now),
    };
    for family in settings.families() {
        let Some(source) = kernel.source(settings, family) else { continue };
        let mut push = |checksum| out.push(Output::Advertise { vip, priority, source, checksum, not_after });
        match family {
            Family::V4 => checksums.forms().for_each(push),
            Family::V6 => push(ChecksumForm::Rfc9568),
        }
    }
}
