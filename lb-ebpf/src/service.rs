//! Destination → service: home bucket, and the alternate only if the home bucket says that something lives there.

use lb_common::{
    reason::Reason,
    service::{Key4, Key6, OVERFLOW, ServiceBucket4, ServiceBucket6, ServiceRef},
};

use crate::{
    knobs,
    maps::{SERVICES4, SERVICES6},
};

/// The IPv4 service of a destination.
#[inline(always)]
pub fn find4(key: Key4) -> Result<ServiceRef, Reason> {
    let (home, alternate) = key.buckets();
    let bucket = SERVICES4.get(home & knobs::services4_mask()).ok_or(Reason::BadTable)?;
    if let Some(found) = in4(bucket, key) {
        return Ok(found);
    }
    if bucket.0[0].value.flags & OVERFLOW != 0 {
        let bucket = SERVICES4.get(alternate & knobs::services4_mask()).ok_or(Reason::BadTable)?;
        return in4(bucket, key).ok_or(Reason::NotService);
    }
    Err(Reason::NotService)
}

/// The IPv6 service of a destination.
#[inline(always)]
pub fn find6(key: Key6) -> Result<ServiceRef, Reason> {
    let (home, alternate) = key.buckets();
    let bucket = SERVICES6.get(home & knobs::services6_mask()).ok_or(Reason::BadTable)?;
    if let Some(found) = in6(bucket, key) {
        return Ok(found);
    }
    if bucket.0[0].value.flags & OVERFLOW != 0 {
        let bucket = SERVICES6.get(alternate & knobs::services6_mask()).ok_or(Reason::BadTable)?;
        return in6(bucket, key).ok_or(Reason::NotService);
    }
    Err(Reason::NotService)
}

#[inline(always)]
fn in4(bucket: &ServiceBucket4, key: Key4) -> Option<ServiceRef> {
    let [a, b, c, d] = &bucket.0;
    if a.key == key.0 {
        Some(a.value)
    } else if b.key == key.0 {
        Some(b.value)
    } else if c.key == key.0 {
        Some(c.value)
    } else if d.key == key.0 {
        Some(d.value)
    } else {
        None
    }
}

#[inline(always)]
fn in6(bucket: &ServiceBucket6, key: Key6) -> Option<ServiceRef> {
    let [a, b] = &bucket.0;
    if same(&a.key, &key) {
        Some(a.value)
    } else if same(&b.key, &key) {
        Some(b.value)
    } else {
        None
    }
}

/// Word by word: comparing arrays would call `memcmp`.
#[inline(always)]
fn same(a: &[u64; 3], b: &Key6) -> bool {
    a[0] == b.0[0] && a[1] == b.0[1] && a[2] == b.0[2]
}
