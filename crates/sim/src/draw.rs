//! Seeded random numbers: xoshiro256++, seeded by splitmix64 as its authors advise.
//!
//! Own code, because a simulation must repeat after an update of somebody else's.

/// A source of random numbers.
#[derive(Debug, Clone)]
pub(crate) struct Draw([u64; 4]);

// === impl Draw ===

impl Draw {
    /// Starts a source for one purpose of one seed.
    pub(crate) fn new(seed: u64, purpose: &[u64]) -> Draw {
        let mut state = seed;
        for word in purpose {
            state = mixed(state ^ mixed(*word));
        }
        Draw(std::array::from_fn(|_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            mixed(state)
        }))
    }

    /// Draws 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        let [a, b, c, d] = self.0;
        let drawn = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.0 = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        drawn
    }

    /// Draws from 0 up to, not including, 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Draws a whole number below `bound`, which is at least 1.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let product = u128::from(self.bits()) * bound as u128;
        (product >> 64) as usize
    }

    /// Draws between two numbers.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Draws from the normal distribution around 0 with a deviation of 1.
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Draws a factor around 1 whose logarithm deviates by `sigma`.
    pub(crate) fn lognormal(&mut self, sigma: f64) -> f64 {
        (sigma * self.normal()).exp()
    }
}

fn mixed(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_repeats_and_another_does_not() {
        let drawn = |seed, purpose: &[u64]| {
            let mut draw = Draw::new(seed, purpose);
            [draw.bits(), draw.bits(), draw.bits()]
        };
        assert_eq!(drawn(1, &[2, 3]), drawn(1, &[2, 3]));
        assert_ne!(drawn(1, &[2, 3]), drawn(1, &[3, 2]));
        assert_ne!(drawn(1, &[]), drawn(2, &[]));
    }

    #[test]
    fn distributions_have_their_moments() {
        let mut draw = Draw::new(7, &[]);
        let many: Vec<f64> = (0..20_000).map(|_| draw.normal()).collect();
        let mean = many.iter().sum::<f64>() / 20_000.0;
        let variance = many.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!(
            mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05,
            "{mean} {variance}"
        );
        let mut counts = [0; 5];
        for _ in 0..10_000 {
            counts[draw.below(5)] += 1;
        }
        assert!(
            counts.iter().all(|count| (1_800..2_200).contains(count)),
            "{counts:?}"
        );
    }
}
