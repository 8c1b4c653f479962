//! `[pools.NAME.backends]`.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    ops::Range,
    sync::Arc,
};

use super::{address, cross::Places, name, number};
use crate::{
    config::{
        file,
        problem::Report,
        table::{At, Field, Named},
    },
    model::{Backend, BackendName, GUE_PORT, Method, PoolName, Pooled, Weight},
};

/// What the pool says for backends that do not say it themselves.
#[derive(Clone, Copy)]
pub(super) struct Usual {
    pub(super) method: Method,
    pub(super) gue_port: u16,
}

/// The backends that are right; the others are reported.
pub(super) fn backends(
    pool: &PoolName,
    written: Named<file::Backend>,
    usual: Usual,
    places: &mut Places,
    report: &mut Report,
) -> BTreeMap<BackendName, Arc<Backend>> {
    let mut backends = BTreeMap::new();
    let mut addresses: HashMap<IpAddr, (BackendName, Range<usize>)> = HashMap::new();
    let mut ids: HashMap<u16, (BackendName, Range<usize>)> = HashMap::new();
    for (at, backend) in written.0 {
        let (Some(name), Some(backend)) = (name::<BackendName>(&at.value, &at.span, report), backend.given())
        else {
            continue;
        };
        let file::Backend { address, weight, pooled, method, gue_port, server_id } = backend.value;
        let weight = weight_of(weight, report);
        let (method, gue_port) = tunnel(method, gue_port, usual, report);
        let server_id = self::server_id(&name, server_id, &mut ids, report);
        let Some(address) = address.given() else { continue };
        usable(&address, report);
        if let Some((first, span)) = addresses.get(&address.value) {
            report
                .error(address.span, format!("{} is the address of `{first}` too", address.value))
                .with_also(span.clone(), "first here")
                .with_help(format!(
                    "give `{name}` its own address, or remove it; for a larger share raise `weight`"
                ));
            continue;
        }
        addresses.insert(address.value, (name.clone(), address.span.clone()));
        places.backend(pool, &name, &address);
        let backend = Backend {
            name: name.clone(),
            address: address.value,
            weight,
            pooled: pooled.or(Pooled::default()),
            method,
            gue_port,
            server_id,
        };
        backends.insert(name, Arc::new(backend));
    }
    backends
}

/// Method and port of GUE; the port is the default where it means nothing.
fn tunnel(method: Field<Method>, gue_port: Field<u64>, usual: Usual, report: &mut Report) -> (Method, u16) {
    let unclear = matches!(method, Field::Bad);
    let method = method.or(usual.method);
    if let (Field::Given(at), false) = (&gue_port, method == Method::Gue || unclear) {
        report
            .error(at.span.clone(), format!("`gue_port` means nothing for the method \"{method}\""))
            .with_help("write `method = \"gue\"`, or remove it");
    }
    let port = self::gue_port(gue_port, usual.gue_port, report);
    (method, if method == Method::Gue { port } else { GUE_PORT })
}

pub(super) fn gue_port(field: Field<u64>, default: u16, report: &mut Report) -> u16 {
    // In range, so it fits.
    number(field, 1..=65_535, u64::from(default), "a port", report) as u16
}

fn server_id(
    name: &BackendName,
    field: Field<u64>,
    ids: &mut HashMap<u16, (BackendName, Range<usize>)>,
    report: &mut Report,
) -> Option<u16> {
    let span = field.span()?;
    let none = u64::from(u16::MAX) + 1;
    let id = u16::try_from(number(field, 0..=u64::from(u16::MAX), none, "`server_id`", report)).ok()?;
    if let Some((first, first_span)) = ids.get(&id) {
        report
            .error(span, format!("{id} is the `server_id` of `{first}` too"))
            .with_also(first_span.clone(), "first here")
            .with_help(format!("give `{name}` the number that its server puts into connection ids"));
        return None;
    }
    ids.insert(id, (name.clone(), span));
    Some(id)
}

fn usable(address: &At<IpAddr>, report: &mut Report) {
    if address.value.is_loopback() {
        // Checks work there, so a trial on one host does: said, not refused.
        report
            .warning(
                address.span.clone(),
                format!("{} is a loopback address: no packet can be forwarded there", address.value),
            )
            .with_help("write the backend's address on the network that it shares with this host");
    } else if let Some(why) = address::unusable(address.value) {
        report
            .error(address.span.clone(), format!("{} {why} and cannot be a backend's", address.value))
            .with_help(address::instead(address.value, "the backend's own address"));
    }
}

fn weight_of(field: Field<u64>, report: &mut Report) -> Weight {
    let default = Weight::default();
    let weight = number(field, 0..=u64::from(Weight::MAX), u64::from(default.get()), "a weight", report);
    u32::try_from(weight).ok().and_then(|weight| Weight::try_from(weight).ok()).unwrap_or(default)
}
