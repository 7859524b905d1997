//! Every keyword of Keepalived's that has no counterpart in pgvrrp, with the reason or what to do instead.

use super::note::{Notes, Verdict};
use super::tree::Statement;
use crate::suggest::nearest;

/// What is said of a keyword that is not converted.
pub(super) enum Answer {
    /// Nothing takes its place, and nothing has to: why.
    NotNeeded(&'static str),
    /// What to do instead.
    ByHand(&'static str),
}

use Answer::{ByHand, NotNeeded};

/// Keywords with one answer.
pub(super) type Table = &'static [(&'static [&'static str], Answer)];

const FIREWALL: Answer = NotNeeded("pgvrrp needs no firewall rules for a VIP: what is sent to it is always accepted");
const SCHEDULING: Answer = NotNeeded("pgvrrp takes a real-time priority and locks its memory by itself, where it may");
const BUFFERS: Answer =
    NotNeeded("pgvrrp sets its own buffers, and reads the kernel's state anew when one was too small");
const ANNOUNCEMENTS: Answer = NotNeeded(
    "pgvrrp announces by itself: at once, after 0.1, 1 and 5 s, every 30 s, when a rival is heard, and when the MAC \
     changes",
);
const MAIL: Answer = NotNeeded("a setting of mail, which pgvrrp does not send");
const NAMES: Answer = NotNeeded("there is one process, and it is called pgvrrp");
const LVS: Answer =
    ByHand("IPVS, not VRRP: leave it to Keepalived, as `keepalived --check`, which runs that half alone");
const SNMP: Answer = ByHand("there is no SNMP: take the Prometheus metrics ([http] listen)");
const DBUS: Answer = ByHand("there is no D-Bus: take `pgvrrp status --json`, or HTTP ([http] listen)");
const STATIC: Answer =
    ByHand("what stays on this host does not move with a VIP: put it into the host's network configuration");
const FIFO: Answer = ByHand(
    "there is no FIFO: an on_change in [hooks] is run at each transition, with the same four words behind its own \
     arguments (docs/HOOKS.md); let it do what the FIFO's reader did, or tell that one",
);
const DUMPS: Answer = NotNeeded("pgvrrp writes no dumps: `pgvrrp status --json` has its state");
const RELOAD: Answer = NotNeeded(
    "a changed configuration takes effect by `pgvrrp handover`, which checks it first and does not move the VIP",
);
const OWN_SCRIPTS: Answer = NotNeeded(
    "pgvrrp runs no check scripts, and refuses a hook that every user could change or replace; hooks are run by the \
     daemon's user",
);
const START_STOP: Answer = ByHand("belongs into the unit: ExecStartPre= and ExecStopPost= (`systemctl edit pgvrrp`)");
const LOWER: Answer = NotNeeded("the holder answers a lower priority with an advertisement, as RFC 9568 wants it");
const LISTS: Answer =
    NotNeeded("an advertisement with other addresses is obeyed, told of and counted, never discarded");
const STRICT: Answer = NotNeeded("there is no strict mode: what is sent to the VIP is always accepted");
const UNICAST: Answer = NotNeeded("with unicast_peers, advertisements are taken from these peers alone");
const RECOVER: Answer =
    NotNeeded("a daemon whose process did not run for a while becomes Backup before it says a word");
const DOWN_TIMER: Answer = ByHand(
    "not available: three advertisements may be missed, as in RFC 9568; a Keepalived on the same virtual router \
     should have no other number",
);
const GROUP_ADDRESS: Answer = ByHand(
    "not available: advertisements go to the group of the RFC (224.0.0.18, ff02::12); a router that uses another one \
     is not heard",
);
const LINK_STATE: Answer = NotNeeded("the state of interfaces comes from the kernel, and interfaces may come and go");
const HMAC: Answer = ByHand(
    "not available, and a Keepalived that has it is not understood: take it out on every node before pgvrrp is \
     started on one",
);

/// What may stand at the top of the file beside the blocks that are read.
const TOP: Table = &[
    (
        &["net_namespace"],
        ByHand("run the daemon in that namespace: NetworkNamespacePath= in its unit (`systemctl edit pgvrrp`)"),
    ),
    (&["net_namespace_ipvs", "namespace_with_ipsets"], LVS),
    (&["instance", "use_pid_dir"], NotNeeded("one daemon serves any number of VIPs; two need two runtime_dir")),
    (&["linkbeat_use_polling", "linkbeat_interfaces", "interface_up_down_delays"], LINK_STATE),
    (&["child_wait_time"], NotNeeded("there are no child processes")),
    (&["static_ipaddress", "static_routes", "static_rules", "track_group"], STATIC),
    (
        &["track_file", "vrrp_track_file"],
        ByHand(
            "no file is watched: `pgvrrp drain NAME` sends a VIP away from this node, `pgvrrp undrain NAME` lets it \
             come back",
        ),
    ),
    (
        &["vrrp_track_process"],
        ByHand(
            "no process is watched: let its unit run `pgvrrp drain NAME` in ExecStopPost= and `pgvrrp undrain NAME` \
             in ExecStartPost=; for PostgreSQL's follows = \"primary\" does it",
        ),
    ),
    (&["bfd_instance"], ByHand("there is no BFD: a shorter advertisement_interval notices a dead node as soon")),
    (&["garp_group"], ANNOUNCEMENTS),
    (&["virtual_server", "virtual_server_group", "SSL", "lvs_sync_daemon"], LVS),
];

/// The blocks that are read.
const READ: [&str; 4] = ["global_defs", "vrrp_script", "vrrp_sync_group", "vrrp_instance"];

/// `global_defs`, but for what is read.
pub(super) const GLOBAL: Table = &[
    (
        &[
            "notification_email",
            "notification_email_from",
            "smtp_server",
            "smtp_helo_name",
            "smtp_connect_timeout",
            "no_email_faults",
            "no_checker_emails",
        ],
        MAIL,
    ),
    (
        &["smtp_alert_checker", "checker_log_all_failures", "rs_init_notifies"],
        NotNeeded("a setting of IPVS, not of VRRP"),
    ),
    (
        &[
            "lvs_sync_daemon",
            "lvs_timeouts",
            "lvs_flush",
            "lvs_flush_on_stop",
            "lvs_flush_onstop",
            "lvs_notify_fifo",
            "lvs_notify_fifo_script",
            "lvs_netlink_cmd_rcv_bufs",
            "lvs_netlink_cmd_rcv_bufs_force",
            "lvs_netlink_monitor_rcv_bufs",
            "lvs_netlink_monitor_rcv_bufs_force",
            "nftables_ipvs",
            "nftables_ipvs_priority",
            "nftables_ipvs_start_fwmark",
        ],
        LVS,
    ),
    (
        &[
            "checker_process_name",
            "checker_priority",
            "checker_no_swap",
            "checker_cpu_affinity",
            "checker_rt_priority",
            "checker_rlimit_rttime",
            "checker_rlimit_rtime",
        ],
        NotNeeded("a setting of IPVS, not of VRRP"),
    ),
    (
        &[
            "bfd_process_name",
            "bfd_priority",
            "bfd_no_swap",
            "bfd_cpu_affinity",
            "bfd_rt_priority",
            "bfd_rlimit_rttime",
            "bfd_rlimit_rtime",
        ],
        NotNeeded("there is no BFD"),
    ),
    (&["vrrp_mcast_group4", "vrrp_mcast_group6"], GROUP_ADDRESS),
    (
        &[
            "vrrp_garp_master_delay",
            "vrrp_garp_master_repeat",
            "vrrp_garp_lower_prio_delay",
            "vrrp_garp_lower_prio_repeat",
            "vrrp_garp_master_refresh",
            "vrrp_garp_master_refresh_repeat",
            "vrrp_garp_interval",
            "vrrp_gna_interval",
            "vrrp_min_garp",
            "vrrp_garp_extra_if",
            "vrrp_vmac_garp_intvl",
        ],
        ANNOUNCEMENTS,
    ),
    (&["vrrp_down_timer_adverts"], DOWN_TIMER),
    (&["vrrp_lower_prio_no_advert", "vrrp_higher_prio_send_advert", "vrrp_owner_ignore_adverts"], LOWER),
    (&["vrrp_check_unicast_src"], UNICAST),
    (&["vrrp_skip_check_adv_addr"], LISTS),
    (&["vrrp_strict"], STRICT),
    (&["vrrp_notify_priority_changes"], NotNeeded("the priority of a virtual router does not change")),
    (
        &[
            "nftables",
            "nftables_priority",
            "nftables_counters",
            "nftables_ifindex",
            "vrrp_iptables",
            "vrrp_ipsets",
            "disable_local_igmp",
        ],
        FIREWALL,
    ),
    (
        &[
            "max_auto_priority",
            "min_auto_priority_delay",
            "vrrp_priority",
            "vrrp_rt_priority",
            "vrrp_rlimit_rttime",
            "vrrp_rlimit_rtime",
            "vrrp_no_swap",
            "vrrp_cpu_affinity",
        ],
        SCHEDULING,
    ),
    (
        &[
            "vrrp_netlink_cmd_rcv_bufs",
            "vrrp_netlink_cmd_rcv_bufs_force",
            "vrrp_netlink_monitor_rcv_bufs",
            "vrrp_netlink_monitor_rcv_bufs_force",
            "process_monitor_rcv_bufs",
            "process_monitor_rcv_bufs_force",
            "vrrp_rx_bufs_policy",
            "vrrp_rx_bufs_multiplier",
        ],
        BUFFERS,
    ),
    (
        &["vrrp_startup_delay", "vrrp_delay_after_boot"],
        NotNeeded(
            "a daemon that starts is Backup first, and a VIP that follows the primary waits for etcd and PostgreSQL",
        ),
    ),
    (&["log_unknown_vrids"], NotNeeded("`pgvrrp listen` prints who else speaks VRRP")),
    (
        &[
            "snmp_socket",
            "enable_snmp_vrrp",
            "enable_snmp_checker",
            "enable_snmp_keepalived",
            "enable_snmp_rfc",
            "enable_snmp_rfcv2",
            "enable_snmp_rfcv3",
            "enable_traps",
        ],
        SNMP,
    ),
    (&["enable_dbus", "dbus_service_name", "dbus_no_interface_name"], DBUS),
    (&["enable_script_security", "set_supplementary_groups"], OWN_SCRIPTS),
    (
        &[
            "notify_fifo",
            "notify_fifo_script",
            "vrrp_notify_fifo",
            "vrrp_notify_fifo_script",
            "fifo_write_vrrp_states_on_reload",
        ],
        FIFO,
    ),
    (&["startup_script", "shutdown_script"], START_STOP),
    (&["startup_script_timeout", "shutdown_script_timeout"], NotNeeded("goes with the script")),
    (&["process_names", "process_name", "vrrp_process_name", "umask", "vmac_prefix", "vmac_addr_prefix"], NAMES),
    (&["random_seed", "include_check"], NotNeeded("is for Keepalived's reading of its own configuration")),
    (&["reload_check_config", "reload_file", "reload_time_file", "reload_repeat"], RELOAD),
    (
        &[
            "data_use_instance",
            "use_symlink_paths",
            "state_dump_file",
            "stats_dump_file",
            "json_dump_file",
            "json_version",
            "config_save_dir",
            "tmp_config_directory",
        ],
        DUMPS,
    ),
    (&["dynamic_interfaces"], LINK_STATE),
    (&["iproute_usr_dir", "iproute_etc_dir"], NotNeeded("no names of iproute2's are used")),
];

/// `vrrp_instance`, but for what is read.
pub(super) const INSTANCE: Table = &[
    (&["vrf"], ByHand("not available: the VIP is on an interface, which may belong to a VRF")),
    (
        &["use_vmac_addr", "vmac_xmit_base", "netlink_notify_msg", "vmac_group"],
        NotNeeded("mac = \"virtual\" needs no more settings: docs/VIRTUAL-MAC.md"),
    ),
    (
        &["use_ipvlan"],
        ByHand("not available: the VIP is on the interface itself, or with mac = \"virtual\" on a macvlan"),
    ),
    (&["native_ipv6"], NotNeeded("the addresses say of which family it is")),
    (&["dont_track_primary"], ByHand("not available: a node whose interface is down leaves the VIP to others")),
    (&["track_src_ip"], NotNeeded("a node without an address on its interface takes no part in an election")),
    (&["unicast_fault_no_peer"], NotNeeded("unicast_peers without a peer is refused")),
    (
        &["unicast_ttl"],
        NotNeeded(
            "advertisements have a TTL or hop limit of 255, and others are refused: Keepalived needs `unicast_ttl \
             255` for IPv6",
        ),
    ),
    (&["check_unicast_src"], UNICAST),
    (
        &["old_unicast_checksum"],
        NotNeeded("a checksum with the multicast group in it is that of Keepalived 1.3.6 and older"),
    ),
    (&["mcast_dst_ip"], GROUP_ADDRESS),
    (
        &[
            "garp_master_delay",
            "garp_master_repeat",
            "garp_lower_prio_delay",
            "garp_lower_prio_repeat",
            "garp_master_refresh",
            "garp_master_refresh_repeat",
            "garp_extra_if",
            "vmac_garp_intvl",
            "garp_interval",
            "gna_interval",
        ],
        ANNOUNCEMENTS,
    ),
    (&["down_timer_adverts"], DOWN_TIMER),
    (&["lower_prio_no_advert", "higher_prio_send_advert", "owner_ignore_adverts"], LOWER),
    (&["timer_expired_backup"], RECOVER),
    (&["preempt"], NotNeeded("is the default")),
    (&["accept"], NotNeeded("what is sent to the VIP is always accepted")),
    (&["no_accept"], ByHand("not available: what is sent to the VIP is always accepted; a firewall can refuse it")),
    (&["strict_mode"], STRICT),
    (&["skip_check_adv_addr"], LISTS),
    (&["no_virtual_ipaddress"], ByHand("a virtual router has at least one address")),
    (&["promote_secondaries"], NotNeeded("`pgvrrp doctor` says where it matters")),
    (
        &["virtual_routes", "virtual_rules"],
        ByHand("routes and rules do not move with a VIP: set them on every node, if they may always be there"),
    ),
    (&["notify_priority_changes"], NotNeeded("the priority of a virtual router does not change")),
    (&["track_bfd"], ByHand("not tracked: see its definition")),
    (&["kernel_rx_buf_size"], BUFFERS),
    (&["debug", "linkbeat_use_polling"], LINK_STATE),
    (&["lvs_sync_daemon_interface"], LVS),
    (&["auth_hmac"], HMAC),
];

/// `vrrp_sync_group`, but for what is read.
pub(super) const GROUP: Table = &[
    (&["track_bfd"], ByHand("not tracked: see its definition")),
    (&["notify_priority_changes"], NotNeeded("the priority of a virtual router does not change")),
    (&["global_tracking", "sync_group_tracking_weight"], NotNeeded("there are no weights")),
];

/// What is read of an instance, of a group and of `global_defs`, for those who mistype it.
const KNOWN: &[&str] = &[
    "interface",
    "virtual_router_id",
    "priority",
    "state",
    "advert_int",
    "version",
    "nopreempt",
    "preempt_delay",
    "use_vmac",
    "virtual_ipaddress",
    "virtual_ipaddress_excluded",
    "unicast_peer",
    "unicast_src_ip",
    "mcast_src_ip",
    "track_interface",
    "track_script",
    "track_process",
    "track_file",
    "authentication",
    "notify_master",
    "notify_backup",
    "notify_fault",
    "notify_stop",
    "notify",
    "smtp_alert",
    "v3_checksum_as_v2",
    "group",
    "router_id",
    "vrrp_version",
    "default_interface",
    "script_user",
];

/// Whether it is one of Keepalived's at the top of a file.
pub(super) fn is_top(keyword: &str) -> bool {
    READ.contains(&keyword) || answer(TOP, keyword).is_some()
}

/// Says what becomes of a statement at the top of the file that is not read.
pub(super) fn settle_top(statement: &Statement, notes: &mut Notes) {
    settle_with(statement, TOP, &READ, notes);
}

/// Says what becomes of a statement that is not read, with all that is in its block.
pub(super) fn settle(statement: &Statement, table: Table, notes: &mut Notes) {
    settle_with(statement, table, KNOWN, notes);
}

fn settle_with(statement: &Statement, table: Table, read: &[&str], notes: &mut Notes) {
    let keyword = statement.keyword();
    let (verdict, text) = match answer(table, keyword) {
        // What was not expanded has been said.
        None if keyword == super::lines::SEQUENCE => {
            (Verdict::ByHand, "is not expanded, nor is what is in its block".to_owned())
        }
        Some(NotNeeded(text)) => (Verdict::NotNeeded, (*text).to_owned()),
        Some(ByHand(text)) => (Verdict::ByHand, (*text).to_owned()),
        None => {
            let candidates = table.iter().flat_map(|(words, _)| words.iter()).chain(read).copied();
            let meant = nearest(keyword, candidates).map(|word| format!("; did you mean `{word}`?"));
            let text = format!("Keepalived is not known to have this keyword here{}", meant.unwrap_or_default());
            (Verdict::Unknown, text)
        }
    };
    notes.add_block(verdict, statement.place, statement.last, keyword, text);
}

fn answer(table: Table, keyword: &str) -> Option<&'static Answer> {
    table.iter().find(|(words, _)| words.contains(&keyword)).map(|(_, answer)| answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_keyword_has_two_answers() {
        for table in [TOP, GLOBAL, INSTANCE, GROUP] {
            let mut words: Vec<_> = table.iter().flat_map(|(words, _)| words.iter()).collect();
            words.sort_unstable();
            for pair in words.windows(2) {
                assert_ne!(pair[0], pair[1]);
            }
        }
    }
}
