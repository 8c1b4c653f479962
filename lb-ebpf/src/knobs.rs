//! The loader's constants. Read one field at a time and volatile: the verifier, not the compiler, knows the values.

use lb_common::{hash::HashKey, knobs::Knobs};

#[unsafe(no_mangle)]
static KNOBS: Knobs = Knobs {
    key: HashKey { add: [0; 2], mul: [0; 2] },
    services4_mask: 0,
    services6_mask: 0,
    probation_mask: 0,
    protected_mask: 0,
    flows_new_mask: 0,
    flows_mask: 0,
    sources_mask: 0,
    fragments_mask: 0,
    tick_shift: 0,
    pin_idle: 0,
};

macro_rules! knob {
    ($(#[$doc:meta])* $name:ident: $ty:ty) => {
        $(#[$doc])*
        #[inline(always)]
        pub fn $name() -> $ty {
            // SAFETY: a valid, aligned static that nobody writes after loading.
            unsafe { core::ptr::read_volatile(&raw const KNOBS.$name) }
        }
    };
}

knob!(
    /// Key of the flow hash.
    key: HashKey
);
knob!(
    /// Buckets of the IPv4 service table minus one.
    services4_mask: u32
);
knob!(
    /// Buckets of the IPv6 service table minus one.
    services6_mask: u32
);
knob!(
    /// Buckets of the probation tier minus one.
    probation_mask: u32
);
knob!(
    /// Buckets of the protected tier minus one.
    protected_mask: u32
);
knob!(
    /// Buckets of the tracked flows' probation tier minus one.
    flows_new_mask: u32
);
knob!(
    /// Buckets of the tracked flows minus one.
    flows_mask: u32
);
knob!(
    /// Buckets of the sticky sources minus one.
    sources_mask: u32
);
knob!(
    /// Buckets of the fragments minus one.
    fragments_mask: u32
);
knob!(
    /// Jiffies to ticks.
    tick_shift: u32
);
knob!(
    /// Ticks after which a pin no longer binds.
    pin_idle: u32
);
