//! Addresses that move too often.

/// When an address has moved too often. A word has the moves in its upper eight bits and the low 24 bits of the second
/// in which they began, or the hold did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flap {
    /// 0: never.
    pub(super) moves: u8,
    pub(super) window: u32,
    pub(super) hold: u32,
}

impl Flap {
    /// Whether the address may move, and the word after that.
    pub(super) fn judge(self, word: u32, now: u32) -> (bool, u32) {
        let (moves, began) = (Self::moves(word), word & Self::TIME);
        let since = now.wrapping_sub(began) & Self::TIME;
        let now = now & Self::TIME;
        let pack = |moves: u8, began: u32| u32::from(moves) << 24 | began;
        if self.moves == 0 {
            return (true, 0);
        }
        match moves {
            held if held > self.moves && since < self.hold => (false, word),
            held if held > self.moves => (true, pack(1, now)),
            0 => (true, pack(1, now)),
            _ if since >= self.window => (true, pack(1, now)),
            last if last == self.moves => (false, pack(last.saturating_add(1), now)),
            moves => (true, pack(moves + 1, began)),
        }
    }

    pub(super) fn moves(word: u32) -> u8 {
        let [moves, ..] = word.to_be_bytes();
        moves
    }

    const TIME: u32 = 0xff_ffff;
}
