//! How likely numbers are under simple assumptions, and how to weigh what is unlikely.

/// Of a normal distribution.
pub(super) fn normal(x: f64, mean: f64, deviation: f64) -> f64 {
    let z = (x - mean) / deviation;
    (-0.5 * z * z).exp() / (deviation * (2.0 * std::f64::consts::PI).sqrt())
}

/// Of Student's t with five degrees of freedom: like a normal one, with more room for what is far out.
pub(super) fn student(x: f64, deviation: f64) -> f64 {
    let z = x / deviation;
    let scale = 8.0 / (3.0 * std::f64::consts::PI * 5.0_f64.sqrt());
    scale * (1.0 + z * z / 5.0).powi(-3) / deviation
}

/// An e-value for a p-value: the average of `k·p^(k−1)` over all `k` from 0 to 1 (Vovk and Wang, "E-values: calibration,
/// combination and applications").
pub(super) fn calibrated(p: f64) -> f64 {
    if p >= 0.999 {
        return 0.5;
    }
    let p = p.max(1e-12);
    let log = p.ln();
    (1.0 - p + p * log) / (p * log * log)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integral(low: f64, high: f64, of: impl Fn(f64) -> f64) -> f64 {
        let (steps, width) = (200_000, high - low);
        let step = width / f64::from(steps);
        (0..steps)
            .map(|index| of(low + (f64::from(index) + 0.5) * step) * step)
            .sum()
    }

    #[test]
    fn densities_have_a_mass_of_one_and_calibrated_p_values_average_one() {
        for mass in [
            integral(-200.0, 200.0, |x| normal(x, 2.0, 1.5)),
            integral(-2000.0, 2000.0, |x| student(x, 1.25)),
        ] {
            assert!((mass - 1.0).abs() < 1e-3, "{mass}");
        }
        let average = integral(0.0, 1.0, calibrated);
        assert!(average <= 1.0, "{average}");
        assert!(calibrated(1e-6) > 1000.0 && calibrated(0.9) < 1.0);
    }
}
