//! Statistics that a few extremes do not move.

/// The middle of the values; of an even number the mean of the middle two. `None` of nothing. Values are finite.
pub(super) fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(values[middle - 1], upper))
}

/// What makes the median absolute deviation of normally distributed values their standard deviation.
const NORMAL: f64 = 1.4826;

/// The spread around `median`, as a standard deviation, from the median absolute deviation.
pub(super) fn spread(values: &[f64], around: f64) -> f64 {
    let mut deviations: Vec<f64> = values.iter().map(|value| (value - around).abs()).collect();
    median(&mut deviations).unwrap_or(0.0) * NORMAL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_ignores_how_far_out_the_rest_is() {
        assert_eq!(median(&mut []), None);
        assert_eq!(median(&mut [3.0]), Some(3.0));
        assert_eq!(median(&mut [9.0, 1.0]), Some(5.0));
        assert_eq!(median(&mut [1e9, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [4.0, 1.0, 1e9, 2.0]), Some(3.0));
    }

    #[test]
    fn the_spread_is_that_of_the_many() {
        let values = [9.0, 10.0, 11.0, 10.0, 1e6];
        assert!((spread(&values, 10.0) - NORMAL).abs() < 1e-9);
        assert!(spread(&[5.0; 9], 5.0).abs() < 1e-9);
    }
}
