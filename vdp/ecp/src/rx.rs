//! The receive machine [Q 43.4]: acknowledge everything, deliver what is new.

use crate::header::Seq;

/// Remembers the last request, and nothing else: any other number is new, there is no window.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Receiver {
    last: Option<Seq>,
}

impl Receiver {
    /// Whether request `sequence` is new. The first request after [`Receiver::forget`] always is.
    pub(crate) fn is_new(&mut self, sequence: Seq) -> bool {
        self.last.replace(sequence) != Some(sequence)
    }

    /// Back to the state before the first request.
    pub(crate) fn forget(&mut self) {
        self.last = None;
    }

    /// Number of the last request.
    pub(crate) const fn last(self) -> Option<Seq> {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_number_is_a_duplicate() {
        let mut rx = Receiver::default();
        let new: Vec<_> = [7, 7, 8, 7, 0, 0].iter().map(|&n| rx.is_new(Seq(n))).collect();
        assert_eq!(new, [true, false, true, true, true, false]);
        rx.forget();
        assert!(rx.is_new(Seq(0)));
        assert_eq!(rx.last(), Some(Seq(0)));
    }
}
