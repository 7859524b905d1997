//! Every keyword of Keepalived's VRRP half has an answer.

use std::fmt::Write;

use pgvrrp_config::import::Verdict;

use super::imported;

const INSTANCE: &str = "state vrf version advert_int authentication auth_hmac priority interface virtual_router_id \
    virtual_ipaddress_excluded no_virtual_ipaddress promote_secondaries virtual_routes virtual_rules use_vmac use_vmac_addr \
    vmac_xmit_base netlink_notify_msg use_ipvlan native_ipv6 dont_track_primary track_interface track_script track_file \
    track_process track_bfd mcast_src_ip unicast_src_ip mcast_dst_ip track_src_ip unicast_peer unicast_fault_no_peer unicast_ttl \
    check_unicast_src old_unicast_checksum v3_checksum_as_v2 garp_master_delay garp_master_repeat garp_master_refresh \
    garp_master_refresh_repeat garp_lower_prio_delay garp_lower_prio_repeat garp_extra_if vmac_garp_intvl lower_prio_no_advert \
    higher_prio_send_advert owner_ignore_adverts down_timer_adverts timer_expired_backup nopreempt preempt preempt_delay accept \
    no_accept strict_mode skip_check_adv_addr notify notify_master notify_backup notify_fault notify_stop notify_deleted \
    notify_master_rx_lower_pri notify_priority_changes smtp_alert kernel_rx_buf_size debug linkbeat_use_polling \
    lvs_sync_daemon_interface";

const GROUP: &str = "group track_interface track_script track_file track_process track_bfd notify notify_master notify_backup \
    notify_fault notify_stop notify_deleted notify_priority_changes smtp_alert global_tracking sync_group_tracking_weight";

const SCRIPT: &str = "script interval timeout weight rise fall user init_fail";

const TOP: &str = "net_namespace net_namespace_ipvs namespace_with_ipsets instance use_pid_dir linkbeat_use_polling \
    child_wait_time linkbeat_interfaces interface_up_down_delays track_group static_ipaddress static_routes static_rules track_file \
    vrrp_track_file vrrp_track_process bfd_instance garp_group virtual_server virtual_server_group SSL";

const GLOBAL: &str = "router_id vrrp_version vrrp_mcast_group4 vrrp_mcast_group6 default_interface vrrp_garp_master_delay \
    vrrp_garp_master_repeat vrrp_garp_lower_prio_delay vrrp_garp_lower_prio_repeat vrrp_garp_master_refresh \
    vrrp_garp_master_refresh_repeat vrrp_garp_interval vrrp_gna_interval vrrp_min_garp vrrp_garp_extra_if vrrp_down_timer_adverts \
    vrrp_lower_prio_no_advert vrrp_higher_prio_send_advert vrrp_owner_ignore_adverts v3_checksum_as_v2 vrrp_check_unicast_src \
    vrrp_skip_check_adv_addr vrrp_strict vrrp_notify_priority_changes nftables nftables_priority nftables_ifindex nftables_counters \
    nftables_ipvs nftables_ipvs_priority nftables_ipvs_start_fwmark vrrp_iptables vrrp_ipsets disable_local_igmp max_auto_priority \
    min_auto_priority_delay vrrp_priority vrrp_rt_priority vrrp_rlimit_rttime vrrp_no_swap vrrp_cpu_affinity \
    vrrp_netlink_cmd_rcv_bufs vrrp_netlink_cmd_rcv_bufs_force vrrp_netlink_monitor_rcv_bufs vrrp_netlink_monitor_rcv_bufs_force \
    process_monitor_rcv_bufs process_monitor_rcv_bufs_force vrrp_rx_bufs_policy vrrp_rx_bufs_multiplier vrrp_startup_delay \
    vrrp_delay_after_boot vmac_prefix vmac_addr_prefix log_unknown_vrids snmp_socket enable_snmp_vrrp enable_snmp_checker \
    enable_snmp_rfc enable_snmp_rfcv2 enable_snmp_rfcv3 enable_traps enable_dbus dbus_service_name dbus_no_interface_name \
    script_user enable_script_security set_supplementary_groups notify_fifo notify_fifo_script vrrp_notify_fifo \
    vrrp_notify_fifo_script fifo_write_vrrp_states_on_reload startup_script startup_script_timeout shutdown_script \
    shutdown_script_timeout process_names process_name vrrp_process_name checker_process_name bfd_process_name umask random_seed \
    reload_check_config reload_file reload_time_file reload_repeat include_check data_use_instance use_symlink_paths state_dump_file \
    stats_dump_file json_dump_file json_version config_save_dir tmp_config_directory dynamic_interfaces notification_email \
    notification_email_from smtp_server smtp_helo_name smtp_connect_timeout smtp_alert smtp_alert_vrrp smtp_alert_checker \
    no_email_faults no_checker_emails checker_log_all_failures iproute_usr_dir iproute_etc_dir lvs_sync_daemon lvs_timeouts lvs_flush \
    lvs_flush_on_stop lvs_notify_fifo lvs_notify_fifo_script rs_init_notifies checker_priority checker_no_swap \
    checker_cpu_affinity checker_rt_priority checker_rlimit_rttime bfd_priority bfd_no_swap bfd_cpu_affinity bfd_rt_priority \
    bfd_rlimit_rttime lvs_netlink_cmd_rcv_bufs lvs_netlink_cmd_rcv_bufs_force lvs_netlink_monitor_rcv_bufs \
    lvs_netlink_monitor_rcv_bufs_force";

/// Each on a line of its own, in its place. Their values make no sense; that is an answer too.
fn everything() -> String {
    let lines = |words: &str| words.split_whitespace().fold(String::new(), |text, word| text + "  " + word + "\n");
    let mut text = String::new();
    let _ = writeln!(text, "{}", TOP.replace(char::is_whitespace, "\n"));
    let _ = writeln!(text, "global_defs {{\n{}}}\nvrrp_script s {{\n{}}}", lines(GLOBAL), lines(SCRIPT));
    let _ = writeln!(text, "vrrp_sync_group g {{\n{}}}", lines(GROUP));
    text + &format!(
        "vrrp_instance i {{\n{}  interface eth0\n  virtual_router_id 1\n  track_script {{\n  s\n  }}\n  virtual_ipaddress {{\n  10.0.0.1\n  }}\n}}\n",
        lines(INSTANCE)
    )
}

#[test]
fn every_keyword_has_a_definite_answer() {
    let text = everything();
    let imported = imported(&text);
    for (number, line) in (1..).zip(text.lines()) {
        let word = line.trim();
        if word.chars().all(|c| matches!(c, '{' | '}' | ' ')) {
            continue;
        }
        let notes: Vec<_> =
            imported.notes.iter().filter(|note| (note.line..=note.last_line).contains(&number)).collect();
        assert!(!notes.is_empty(), "line {number}: {line}");
        assert!(notes.iter().all(|note| note.verdict != Verdict::Unknown), "{notes:?}");
    }
    assert!(imported.notes.len() > 250);
}

#[test]
fn an_unknown_keyword_is_one() {
    let text = "global_defs {\n foo 1\n router_idd x\n}\nbar\nvrrp_instance a {\n prioritty 100\n qux {\n deep\n }\n virtual_router_id 1\n \
                virtual_ipaddress {\n 10.0.0.1\n }\n}\n";
    let imported = imported(text);
    let unknown: Vec<_> = imported.notes.iter().filter(|note| note.verdict == Verdict::Unknown).collect();
    let told: Vec<_> = unknown.iter().map(|note| (note.keyword.as_str(), note.line, note.last_line)).collect();
    assert_eq!(told, [("foo", 2, 2), ("router_idd", 3, 3), ("bar", 5, 5), ("prioritty", 7, 7), ("qux", 8, 10)]);
    assert!(
        unknown[1].text.ends_with("did you mean `router_id`?") && unknown[3].text.ends_with("did you mean `priority`?")
    );
    assert!(!imported.is_complete());
}
