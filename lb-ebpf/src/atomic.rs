//! Words that all CPUs add to. The compiler offers no such operation for this target (it takes it for one without compare-and-swap), the
//! processor does: Linux 5.12 and newer.

use core::arch::asm;

/// Adds `by` and returns what was there before, as one step.
///
/// # Safety
/// `word` is a valid, aligned map value.
#[inline(always)]
pub unsafe fn fetch_add(word: *mut u64, by: u64) -> u64 {
    let before: u64;
    // SAFETY: the caller's; nothing else is touched.
    unsafe {
        asm!(
            "{x} = atomic_fetch_add((u64 *)({p} + 0), {x})",
            p = in(reg) word,
            x = inlateout(reg) by => before,
            options(nostack),
        );
    }
    before
}
