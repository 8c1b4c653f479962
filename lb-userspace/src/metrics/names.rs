//! Every metric, once. Names, types and labels are a promise to dashboards and alerts: they are added to, never changed.

use std::fmt::Write;

/// Type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only goes up, except when the tables are made anew.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// A metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    /// Name.
    pub name: &'static str,
    /// Type.
    pub kind: Kind,
    /// Labels, in order.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
}

macro_rules! names {
    ($list:ident; $($id:ident $kind:ident $name:literal [$($label:literal)*] $help:literal)*) => {
        $(#[doc = $help] pub const $id: Name = Name {
            name: $name,
            kind: Kind::$kind,
            labels: &[$($label),*],
            help: $help,
        };)*
        /// All of them, in the order of the reference.
        pub const $list: &[&Name] = &[$(&$id),*];
    };
}

names! { OWN;
    UP Gauge "lb_up" [] "1 while the coordinator publishes its state, 0 when it has not for 5 seconds."
    INFO Gauge "lb_info" ["version" "abi"] "Always 1; version of lbd and of the kernel tables' layout."
    SERVICE_PACKETS Counter "lb_service_packets_total" ["service"] "Packets forwarded."
    SERVICE_BYTES Counter "lb_service_bytes_total" ["service"] "Bytes forwarded, from the Ethernet header on."
    SERVICE_CONNECTIONS Counter "lb_service_connections_total" ["service"] "TCP connection attempts (SYN), retransmissions included."
    SERVICE_CLOSES Counter "lb_service_closes_total" ["service"] "TCP packets with FIN or RST from clients."
    SERVICE_RESETS Counter "lb_service_resets_total" ["service"] "TCP packets with RST from clients."
    BACKEND_PACKETS Counter "lb_backend_packets_total" ["pool" "backend"] "Packets forwarded."
    BACKEND_BYTES Counter "lb_backend_bytes_total" ["pool" "backend"] "Bytes forwarded, from the Ethernet header on."
    BACKEND_CONNECTIONS Counter "lb_backend_connections_total" ["pool" "backend"] "TCP connection attempts (SYN), retransmissions included."
    BACKEND_CLOSES Counter "lb_backend_closes_total" ["pool" "backend"] "TCP packets with FIN or RST from clients."
    BACKEND_RESETS Counter "lb_backend_resets_total" ["pool" "backend"] "TCP packets with RST from clients."
    BACKEND_RETRANSMITS Counter "lb_backend_syn_retransmits_total" ["pool" "backend" "estimated"] "TCP connection attempts that were repeated because nothing answered; estimated from one flow in 64 unless all are tracked."
    BACKEND_CURRENT Gauge "lb_backend_current_connections" ["pool" "backend" "state" "estimated"] "Connections as ipvsadm counts them, active (established) and inactive (opening or closing); estimated from one flow in 64 unless all are tracked."
    BACKEND_OUTLIER Gauge "lb_backend_outlier" ["pool" "backend" "measure"] "1 while the backend stands out from its pool in this measure: connections, active, resets, retransmits, refused."
    BACKEND_OUTLIER_VALUE Gauge "lb_backend_outlier_value" ["pool" "backend" "measure"] "Its value over the last minute: connections and active as multiples of its share, the others as parts of its connection attempts; absent when too little happened to tell."
    POOL_OUTLIER_MEDIAN Gauge "lb_pool_outlier_median" ["pool" "measure"] "The pool's median of lb_backend_outlier_value; absent when too few backends can be compared."
    POOL_OUTLIER_STEPS Counter "lb_pool_outlier_weight_steps_total" ["pool" "direction"] "Steps by which weights of backends that stand out were lowered, and raised again."
    BACKEND_WEIGHT Gauge "lb_backend_weight" ["pool" "backend"] "Weight in force."
    BACKEND_CONFIGURED_WEIGHT Gauge "lb_backend_configured_weight" ["pool" "backend"] "Weight in the file."
    BACKEND_UP Gauge "lb_backend_up" ["pool" "backend"] "1 when its checks say up, 0 when they say down or nothing yet."
    BACKEND_POOLED Gauge "lb_backend_pooled" ["pool" "backend"] "1 when the operator wants it: pooled = yes, override included."
    BACKEND_STATE Gauge "lb_backend_state" ["pool" "backend" "state"] "1 for the state in force, 0 for the others: serving, held, draining, down, out."
    POOL_BACKENDS Gauge "lb_pool_backends" ["pool"] "Configured backends without inactive ones: the threshold's N."
    POOL_UP_ENABLED Gauge "lb_pool_backends_up_enabled" ["pool"] "Backends that are up and pooled: the threshold's U."
    POOL_SERVING Gauge "lb_pool_backends_serving" ["pool"] "Backends that get new connections, held ones included."
    POOL_HELD Gauge "lb_pool_backends_held" ["pool"] "Backends that fail but are kept in by the depool threshold."
    POOL_CAN_DEPOOL Gauge "lb_pool_can_depool" ["pool"] "1 when one more backend may be taken out."
    POOL_THRESHOLD Gauge "lb_pool_depool_threshold_ratio" ["pool"] "Part of the pool that must stay up and pooled."
    POOL_COULD_NOT_DEPOOL Counter "lb_pool_could_not_depool_total" ["pool"] "How often the threshold kept a failing backend in or refused a command."
    POOL_SLOTS_IN_TRANSITION Gauge "lb_pool_slots_in_transition" ["pool"] "Slots whose old connections stay with an earlier owner."
    PACKETS_STOPPED Counter "lb_packets_stopped_total" ["reason" "verdict"] "Packets that were not forwarded: passed to the kernel's stack, dropped, or answered by the program itself."
    PINS Counter "lb_pins_total" ["event"] "What happened to flows that are remembered: those of slots in transition, and tracked ones."
    CHECK_UP Gauge "lb_check_up" ["pool" "backend" "check"] "1 when the check says up, 0 when it says down or nothing yet."
    CHECK_DURATION Gauge "lb_check_duration_seconds" ["pool" "backend" "check"] "Time the latest check took; absent while it fails."
    CHECK_RESULTS Counter "lb_check_results_total" ["pool" "backend" "check" "result"] "Results: pass, fail, or `not_done` when this host could not check at all."
    CHECK_PACKETS Counter "lb_check_packets_total" ["event"] "Packets of checks with `via = \"vip\"`: sent, answered, or dropped for a reason."
    RELOAD_SUCCESSFUL Gauge "lb_config_last_reload_successful" [] "1 when the last configuration that was read is in force."
    RELOAD_TIMESTAMP Gauge "lb_config_last_reload_success_timestamp_seconds" [] "When the configuration in force was loaded."
    RELOADS Counter "lb_config_reloads_total" ["result"] "Reloads: success or failure."
    DRIFT_REPAIRED Counter "lb_datapath_drift_repaired_total" [] "Entries of the kernel's tables that somebody else had changed and lbd repaired."
    PINNED Gauge "lb_datapath_pinned_flows" [] "Flows pinned because their slots change hands."
    PINNED_LIMIT Gauge "lb_datapath_pinned_flows_limit" [] "Flows that can be pinned."
    TRACKED Gauge "lb_datapath_tracked_flows" [] "Flows tracked: all of services with tracking = always, one in 64 of the others."
    TRACKED_LIMIT Gauge "lb_datapath_tracked_flows_limit" [] "Flows that can be tracked."
    FROZEN Gauge "lb_datapath_frozen" [] "1 while so many flows are pinned that nothing new is."
    INTERFACE_INFO Gauge "lb_interface_info" ["interface" "mode" "driver" "frags"] "Always 1; how the program is attached: native, generic or offload, and whether it takes frames of several buffers."
    REVISION_LAG Gauge "lb_datapath_revision_lag" [] "Revisions that are wanted but not in the kernel yet."
    DATAPATH_PROBLEM Gauge "lb_datapath_problem" [] "1 while the kernel's tables cannot hold all that is configured, or refused a change; `lbctl status` says what."
    OVERRIDES Gauge "lb_overrides" [] "Backends with an operator's override in force."
    PROCESS_CPU Counter "process_cpu_seconds_total" [] "User and system CPU time of lbd."
    PROCESS_RESIDENT Gauge "process_resident_memory_bytes" [] "Resident memory of lbd."
    PROCESS_VIRTUAL Gauge "process_virtual_memory_bytes" [] "Virtual memory of lbd."
    PROCESS_FDS Gauge "process_open_fds" [] "Open file descriptors of lbd."
    PROCESS_MAX_FDS Gauge "process_max_fds" [] "Most file descriptors lbd may open."
    PROCESS_START Gauge "process_start_time_seconds" [] "When lbd started."
}

names! { PYBAL;
    PY_SERVERS Gauge "pybal_service_servers" ["service"] "Servers of the pool."
    PY_ENABLED Gauge "pybal_service_servers_enabled" ["service"] "Servers that the operator wants."
    PY_UP Gauge "pybal_service_servers_up" ["service"] "Servers that are up."
    PY_POOLED Gauge "pybal_service_servers_pooled" ["service"] "Servers that get new connections."
    PY_CAN_DEPOOL Gauge "pybal_service_can_depool" ["service"] "1 when one more server may be taken out."
    PY_POOLED_DOWN Gauge "pybal_service_pooled_down_servers" ["service"] "Servers that are down but pooled."
    PY_THRESHOLD Gauge "pybal_service_depool_threshold" ["service"] "Depool threshold."
    PY_COULD_NOT Counter "pybal_service_could_not_depool_total" ["service"] "How often the threshold kept a failing server in."
    PY_STATUS Gauge "pybal_monitor_status" ["service" "host" "monitor"] "1 when the monitor says up."
    PY_UP_RESULTS Counter "pybal_monitor_up_results_total" ["service" "host" "monitor"] "Passes."
    PY_DOWN_RESULTS Counter "pybal_monitor_down_results_total" ["service" "host" "monitor"] "Failures."
    PY_UP_TRANSITIONS Counter "pybal_monitor_up_transitions_total" ["service" "host" "monitor"] "Changes to up."
    PY_DOWN_TRANSITIONS Counter "pybal_monitor_down_transitions_total" ["service" "host" "monitor"] "Changes to down."
    PY_FETCH_DURATION Gauge "pybal_monitor_proxyfetch_request_duration_seconds" ["service" "host" "monitor" "result" "url"] "Time of the latest fetch; absent while it fails."
    PY_BGP_ENABLED Gauge "pybal_bgp_enabled" [] "1 when BGP is on."
}

/// The reference in Markdown: `docs/metrics.md`.
pub fn reference() -> String {
    let mut out = String::from(
        "# Metrics\n\n\
         Generated from `lb-userspace/src/metrics/names.rs`; a test compares. Scrape `http://127.0.0.1:9090/metrics`.\n\n\
         Traffic counters live in the kernel's tables and survive restarts of lbd; a service or backend that is removed takes its\n\
         series with it. Values are read at the scrape, at most once a second.\n\n",
    );
    table(&mut out, OWN);
    out.push_str(
        "\n## PyBal's names\n\n\
         With `pybal_metrics = true`. `service` is the pool's name, as in PyBal. `monitor` is `ProxyFetch` for http and https checks,\n\
         `IdleConnection` for idle ones, otherwise the check's name, which also tells several checks of one kind apart.\n\n",
    );
    table(&mut out, PYBAL);
    out
}

fn table(out: &mut String, names: &[&Name]) {
    out.push_str("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for name in names {
        let kind = match name.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let labels =
            if name.labels.is_empty() { "–".to_owned() } else { format!("`{}`", name.labels.join("`, `")) };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "| `{}` | {kind} | {labels} | {} |", name.name, name.help);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_exists_once_and_follows_prometheus_habits() {
        let all: Vec<_> = OWN.iter().chain(PYBAL).collect();
        for (i, name) in all.iter().enumerate() {
            assert!(!all[..i].iter().any(|n| n.name == name.name), "{} twice", name.name);
            assert_eq!(name.name.ends_with("_total"), name.kind == Kind::Counter, "{}", name.name);
            assert!(name.help.ends_with('.') && !name.help.contains('|'), "{}", name.name);
        }
    }

    #[test]
    fn the_reference_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, reference()).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(path).unwrap(),
            reference(),
            "run `UPDATE_DOCS=1 cargo test -p lb-userspace --lib the_reference_is_current`"
        );
    }
}
