//! Choices made by bytes. When they are used up, everything is the first choice.

pub struct Bytes<'a>(std::slice::Iter<'a, u8>);

impl<'a> Bytes<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes.iter())
    }

    pub fn next(&mut self) -> Option<u8> {
        self.0.next().copied()
    }

    pub fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    pub fn is(&mut self) -> bool {
        self.byte().is_multiple_of(2)
    }

    pub fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()].clone()
    }

    /// A small number mostly, by one byte; with its highest bit set, any number by the eight that follow.
    pub fn number(&mut self) -> u64 {
        match self.byte() {
            small @ 0..128 => u64::from(small),
            _ => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
        }
    }
}
