//! The daemon's own memory, CPU time and files, under Prometheus' usual names. What cannot be read is left out.

use std::{fs, time::SystemTime};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};

use super::{collect::Samples, names};

/// Reads `/proc`.
pub fn collect(started: SystemTime, samples: &mut Samples) {
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
        let seconds = |t: nix::sys::time::TimeVal| {
            use nix::sys::time::TimeValLike;
            std::time::Duration::from_micros(t.num_microseconds().try_into().unwrap_or(0)).as_secs_f64()
        };
        samples.add(&names::PROCESS_CPU, &[], seconds(usage.user_time()) + seconds(usage.system_time()));
    }
    if let Ok(status) = fs::read_to_string("/proc/self/status") {
        for (key, name) in [("VmRSS:", &names::PROCESS_RESIDENT), ("VmSize:", &names::PROCESS_VIRTUAL)] {
            if let Some(kib) = field(&status, key) {
                samples.count(name, &[], kib.saturating_mul(1024));
            }
        }
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // One of them is the directory being read.
        samples.count(&names::PROCESS_FDS, &[], (entries.count() as u64).saturating_sub(1));
    }
    if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
        samples.count(&names::PROCESS_MAX_FDS, &[], soft);
    }
    let start = started.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    samples.add(&names::PROCESS_START, &[], start);
}

/// The number of a line like `VmRSS:     1234 kB`.
fn field(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_key() {
        let status = "VmHWM:\t 9 kB\nVmRSS:\t    1234 kB\n";
        assert_eq!(field(status, "VmRSS:"), Some(1234));
        assert_eq!(field(status, "VmSize:"), None);
    }
}
