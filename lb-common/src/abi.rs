//! The promise both sides rely on: same bytes, same meaning.

/// Version of every map's layout and meaning. Part of the pin directory's name, so that two versions never meet.
pub const ABI_VERSION: u32 = 2;

/// Pins a map value's size and alignment, and requires that it has no padding (`IntoBytes`) and no invalid bit
/// pattern (`FromBytes`), so that either side may read what the other wrote.
macro_rules! abi {
    ($t:ty, size = $size:expr, align = $align:expr) => {
        const _: () = {
            const fn plain<T: zerocopy::IntoBytes + zerocopy::FromBytes>() {}
            plain::<$t>();
            assert!(size_of::<$t>() == $size && align_of::<$t>() == $align);
        };
    };
}
