//! Bytes as a supply of choices: what mutates the bytes mutates what is made of them. Knows nothing of what is
//! made.

use wavegate_engine::Digest;

/// What is left of the bytes. When they are used up, each choice is the first one.
#[derive(Debug, Clone)]
pub(crate) struct Draw<'a>(&'a [u8]);

/// Words that programs stumble over.
const ODD: [&str; 24] = [
    "",
    " ",
    "\n",
    "a\nb",
    "\0",
    "\u{1b}[2J",
    "\u{feff}",
    "\u{202e}",
    "é€\u{1f600}",
    "'; DROP TABLE plans; --",
    "${name}",
    "../../etc/passwd",
    "/",
    "-",
    "null",
    "NaN",
    "-1",
    "1e400",
    "18446744073709551616",
    "{\"a\":[",
    "```",
    "<findings>",
    "%s%n",
    "T1",
];

impl<'a> Draw<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// Below `bound`, which is at least one.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let wide = bound > 256;
        let drawn = usize::from(self.byte()) | if wide { usize::from(self.byte()) << 8 } else { 0 };
        let drawn = drawn | if bound > 65_536 { usize::from(self.byte()) << 16 } else { 0 };
        drawn % bound.max(1)
    }

    /// In one of so many cases.
    pub(crate) fn one_in(&mut self, cases: usize) -> bool {
        self.below(cases) == cases - 1
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// So many bytes, or as many as there are.
    pub(crate) fn bytes(&mut self, many: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(many.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Small ones, the ends of types, and anything.
    pub(crate) fn number(&mut self) -> u64 {
        let limit = 1_000_000_000_000_000;
        match self.byte() {
            small @ 0..=199 => u64::from(small),
            200..=209 => u64::MAX,
            210..=214 => u64::MAX - 1,
            215..=219 => i64::MAX.unsigned_abs(),
            220..=224 => i64::MAX.unsigned_abs() + 1,
            225..=229 => u64::from(u32::MAX),
            230..=244 => limit,
            245..=247 => limit + 1,
            _ => self.bytes(8).iter().fold(0, |number, byte| number << 8 | u64::from(*byte)),
        }
    }

    pub(crate) fn number_u32(&mut self) -> u32 {
        u32::try_from(self.number()).unwrap_or(u32::MAX)
    }

    /// A text: an odd word, some bytes of the supply, or a long one.
    pub(crate) fn text(&mut self) -> String {
        match self.byte() {
            0..=150 => self.pick(&ODD).to_owned(),
            151..=220 => {
                let many = self.below(40);
                String::from_utf8_lossy(self.bytes(many)).into_owned()
            }
            221..=245 => self.pick(&ODD).repeat(self.below(300)),
            _ => self.long_text(),
        }
    }

    /// One that somebody has to cut; cut anywhere, some are cut within a character.
    pub(crate) fn long_text(&mut self) -> String {
        let piece = self.pick(&["€", "é", "x", "\n", "\"", "a b "]);
        let before = self.pick(&["x", ""]);
        before.to_owned() + &piece.repeat(self.pick(&[65_600, 500, 4_100, 200_000]) / piece.len())
    }

    /// What a command or an agent printed.
    pub(crate) fn printed(&mut self) -> String {
        if self.one_in(4) { self.long_text() } else { self.text() }
    }

    /// At most so many, most often few.
    pub(crate) fn many<T>(&mut self, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let many = self.below(most + 1);
        (0..many).map(|_| make(self)).collect()
    }

    pub(crate) fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.byte() % 2 == 1).then(|| make(self))
    }

    /// A digest in words, or nearly one.
    pub(crate) fn digest_text(&mut self) -> String {
        let whole = Digest([self.byte(); 32]).to_string();
        match self.byte() {
            0..=200 => whole,
            201..=220 => String::new(),
            221..=230 => whole[..whole.len() - 1].to_owned(),
            231..=240 => whole.to_uppercase(),
            _ => self.text(),
        }
    }
}
