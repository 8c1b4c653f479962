//! The decapsulator's eBPF object, inside this binary.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, lpm_trie::Key},
};
use lb_common::decap::{self, Config, Outcome};
use zerocopy::IntoBytes as _;

use super::pins::ConfigBytes;

/// The object, built by the build script; empty when this binary was built without an eBPF toolchain.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lb-decap"));

/// Makes the maps and writes the configuration; programs are verified when they are asked for. With `count`, counters pinned there are
/// carried on, or new ones pinned.
pub fn load(config: &Config, count: Option<&Path>) -> Result<Ebpf> {
    if OBJECT.is_empty() {
        bail!(
            "this binary was built without its eBPF object; build again where `cargo xtask setup` has been run"
        );
    }
    let mut loader = EbpfLoader::new();
    if let Some(path) = count {
        forget_others(path)?;
        loader.map_pin_path(decap::COUNT, path);
    }
    let mut object =
        loader.load(OBJECT).context("loading the eBPF object (CAP_BPF and CAP_NET_ADMIN are needed)")?;
    let mut bytes: ConfigBytes = [0; _];
    bytes.copy_from_slice(config.as_bytes());
    map::<Array<_, ConfigBytes>>(&mut object, decap::CONFIG)?
        .set(0, bytes, 0)
        .context("writing the configuration")?;
    fill(&mut object, config).context("writing addresses and sources")?;
    Ok(object)
}

/// The program's own form of the lists.
fn fill(object: &mut Ebpf, config: &Config) -> Result<()> {
    let [addresses4, addresses6, sources4, sources6] = config.counts.map(usize::from);
    let mut map: HashMap<_, [u8; 4], u8> = self::map(object, decap::ADDRESSES4)?;
    for address in config.addresses4.iter().take(addresses4) {
        map.insert(address, 0, 0)?;
    }
    let mut map: HashMap<_, [u8; 16], u8> = self::map(object, decap::ADDRESSES6)?;
    for address in config.addresses6.iter().take(addresses6) {
        map.insert(address, 0, 0)?;
    }
    let mut map: LpmTrie<_, [u8; 4], u8> = self::map(object, decap::SOURCES4)?;
    for prefix in config.sources4.iter().take(sources4) {
        map.insert(&Key::new(prefix.length.into(), prefix.first), 0, 0)?;
    }
    let mut map: LpmTrie<_, [u8; 16], u8> = self::map(object, decap::SOURCES6)?;
    for prefix in config.sources6.iter().take(sources6) {
        map.insert(&Key::new(prefix.length.into(), prefix.first), 0, 0)?;
    }
    Ok(())
}

fn map<'o, M: TryFrom<&'o mut Map, Error = MapError>>(object: &'o mut Ebpf, name: &str) -> Result<M> {
    let map = object.map_mut(name).with_context(|| format!("the eBPF object has no map {name}"))?;
    map.try_into().with_context(|| format!("the map {name} is of another kind"))
}

/// What was counted, by number of [`Outcome`].
pub fn counts(map: &Map) -> Result<Vec<u64>> {
    let Map::PerCpuArray(data) = map else {
        bail!("the counters are no per-CPU array");
    };
    let map = PerCpuArray::<&MapData, u64>::try_from(map).context("opening the counters")?;
    let entries = data.info().context("reading the counters")?.max_entries();
    (0..entries.min(Outcome::ALL.len() as u32))
        .map(|i| Ok(map.get(&i, 0).context("reading the counters")?.iter().sum()))
        .collect()
}

/// Counters of another version mean something else: they begin anew.
fn forget_others(path: &Path) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let what = || format!("reading {}", path.display());
    let entries = MapData::from_pin(path).with_context(what)?.info().with_context(what)?.max_entries();
    if entries as usize != Outcome::ALL.len() {
        super::pins::remove(path)?;
    }
    Ok(())
}
