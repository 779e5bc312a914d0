//! The receive machine [Q 43.3]: acknowledge everything, deliver what is new.

use ether::{Instant, time::Duration};

use crate::header::Seq;

/// Remembers the last request, and nothing else: any other number is new, there is no window.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Receiver {
    last: Option<(Seq, Instant)>,
}

impl Receiver {
    /// Whether request `sequence` is new. The first request after [`Receiver::forget`] always is.
    ///
    /// DEVIATES [Q 43.3]: the number is remembered for `patience`, in which the peer's repetitions must have come, and
    /// not for ever. A peer that restarts unnoticed and begins with the number it last used, as lldpad does, would
    /// otherwise be acknowledged and not heard.
    pub(crate) fn is_new(&mut self, now: Instant, sequence: Seq, patience: Duration) -> bool {
        let known = self.last.is_some_and(|(last, until)| last == sequence && now < until);
        self.last = Some((sequence, now + patience));
        !known
    }

    /// Back to the state before the first request.
    pub(crate) fn forget(&mut self) {
        self.last = None;
    }

    /// Number of the last request.
    pub(crate) fn last(self) -> Option<Seq> {
        self.last.map(|(sequence, _)| sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    #[test]
    fn only_the_last_number_is_a_duplicate() {
        let mut rx = Receiver::default();
        let now = Instant::from_secs(5);
        let new: Vec<_> = [7, 7, 8, 7, 0, 0].iter().map(|&n| rx.is_new(now, Seq(n), PATIENCE)).collect();
        assert_eq!(new, [true, false, true, true, true, false]);
        rx.forget();
        assert!(rx.is_new(now, Seq(0), PATIENCE));
        assert_eq!(rx.last(), Some(Seq(0)));
    }

    #[test]
    fn a_number_is_new_again_when_no_repetition_can_come() {
        let mut rx = Receiver::default();
        let at = Instant::from_millis;
        assert!(rx.is_new(at(0), Seq(1), PATIENCE));
        assert!(!rx.is_new(at(999), Seq(1), PATIENCE), "a repetition");
        assert!(!rx.is_new(at(1998), Seq(1), PATIENCE), "each repetition is remembered as long");
        assert!(rx.is_new(at(2998), Seq(1), PATIENCE), "a restarted peer");
    }
}
