//! What the kernel hands to those that watch a wire (classic BPF).

use socket2::SockFilter;

/// Incoming frames only, and of those only ARP, protocol 112 of either family, and neighbour advertisements. All of
/// PostgreSQL's traffic passes where the probes listen; the kernel throws it away.
pub(crate) fn vrrp_and_neighbours() -> [SockFilter; 14] {
    // linux/bpf_common.h and linux/filter.h.
    const LOAD_BYTE: u16 = 0x30;
    const LOAD_HALF: u16 = 0x28;
    const JUMP_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    /// `SKF_AD_OFF + SKF_AD_PKTTYPE`.
    const PACKET_TYPE: u32 = -0x1000_i32 as u32 + 4;
    const PACKET_OUTGOING: u32 = 4;
    [
        SockFilter::new(LOAD_BYTE, 0, 0, PACKET_TYPE),
        SockFilter::new(JUMP_EQUAL, 11, 0, PACKET_OUTGOING),
        SockFilter::new(LOAD_HALF, 0, 0, 12),
        SockFilter::new(JUMP_EQUAL, 8, 0, 0x0806),
        SockFilter::new(JUMP_EQUAL, 5, 0, 0x0800),
        SockFilter::new(JUMP_EQUAL, 0, 7, 0x86dd),
        SockFilter::new(LOAD_BYTE, 0, 0, 14 + 6),
        SockFilter::new(JUMP_EQUAL, 4, 0, 112),
        SockFilter::new(LOAD_BYTE, 0, 0, 14 + 40),
        SockFilter::new(JUMP_EQUAL, 2, 3, 136),
        SockFilter::new(LOAD_BYTE, 0, 0, 14 + 9),
        SockFilter::new(JUMP_EQUAL, 0, 1, 112),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}
