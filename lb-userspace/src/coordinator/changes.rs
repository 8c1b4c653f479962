//! What differs between two configurations, for people.

use std::collections::BTreeMap;

use crate::model::{Backend, Config, Global, Pool, Pooled};

/// One sentence per difference; none: they are the same.
pub fn changes(old: Option<&Config>, new: &Config) -> Vec<String> {
    let mut out = Vec::new();
    let (none, none_pools) = (BTreeMap::new(), BTreeMap::new());
    if let Some(old) = old {
        global(&old.global, &new.global, &mut out);
    }
    let services = old.map_or(&none, |old| &old.services);
    for (name, service) in &new.services {
        match services.get(name) {
            None => out.push(format!("Created LVS service {name} (pool {})", service.pool)),
            Some(was) if was != service => out.push(format!("changed service {name}")),
            Some(_) => {}
        }
    }
    for name in services.keys().filter(|name| !new.services.contains_key(*name)) {
        out.push(format!("removed service {name}"));
    }
    let pools = old.map_or(&none_pools, |old| &old.pools);
    for (name, pool) in &new.pools {
        match pools.get(name) {
            None => {
                out.push(format!("new pool {name}"));
                backends(None, pool, &mut out);
            }
            Some(was) => {
                let settings_of = |pool: &Pool| Pool { backends: BTreeMap::new(), ..pool.clone() };
                if settings_of(was) != settings_of(pool) {
                    out.push(format!("changed settings of pool {name}"));
                }
                backends(Some(was), pool, &mut out);
            }
        }
    }
    for name in pools.keys().filter(|name| !new.pools.contains_key(*name)) {
        out.push(format!("removed pool {name}"));
    }
    out
}

fn backends(old: Option<&Pool>, new: &Pool, out: &mut Vec<String>) {
    let pool = &new.name;
    for (name, backend) in &new.backends {
        let enabled = if backend.pooled == Pooled::Yes { "enabled" } else { "disabled" };
        let weight = backend.weight;
        match old.and_then(|old| old.backends.get(name)) {
            None => out.push(format!("pool {pool}: New {enabled} server {name}, weight {weight}")),
            Some(was) if was != backend => {
                let what = difference(was, backend);
                out.push(format!("pool {pool}: Merged {enabled} server {name}, weight {weight} ({what})"));
            }
            Some(_) => {}
        }
    }
    let removed = old.into_iter().flat_map(|old| old.backends.keys());
    for name in removed.filter(|name| !new.backends.contains_key(*name)) {
        out.push(format!("pool {pool}: removed server {name}"));
    }
}

fn difference(old: &Backend, new: &Backend) -> String {
    let mut parts = Vec::new();
    if old.address != new.address {
        parts.push(format!("address {} -> {}", old.address, new.address));
    }
    if old.weight != new.weight {
        parts.push(format!("weight {} -> {}", old.weight, new.weight));
    }
    if old.pooled != new.pooled {
        parts.push(format!("pooled={} -> pooled={}", old.pooled, new.pooled));
    }
    parts.join(", ")
}

/// These are read once, when the daemon starts.
fn global(old: &Global, new: &Global, out: &mut Vec<String>) {
    let Global {
        interfaces,
        xdp_mode,
        secret_file,
        http,
        socket,
        socket_group,
        state_dir,
        bpf_dir,
        pybal_metrics,
        icmp_rate: _,
        tunnel: _,
        limits,
    } = new;
    let fixed = [
        ("interfaces", *interfaces != old.interfaces),
        ("xdp_mode", *xdp_mode != old.xdp_mode),
        ("secret_file", *secret_file != old.secret_file),
        ("http", *http != old.http),
        ("socket", *socket != old.socket),
        ("socket_group", *socket_group != old.socket_group),
        ("state_dir", *state_dir != old.state_dir),
        ("bpf_dir", *bpf_dir != old.bpf_dir),
        ("pybal_metrics", *pybal_metrics != old.pybal_metrics),
        ("limits", *limits != old.limits),
    ];
    for (key, _) in fixed.iter().filter(|(_, differs)| *differs) {
        out.push(format!("`lbd.{key}` changed: takes effect when lbd is restarted"));
    }
}
