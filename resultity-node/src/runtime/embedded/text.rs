//! From the bytes of tokens to text that can be shown: whole characters, and nothing of a stop text.

/// How much text there is before a place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) bytes: usize,
    pub(super) characters: usize,
}

/// Holds back what may still become a stop text or a whole character.
#[derive(Debug)]
pub(super) struct TextBuffer {
    stops: Vec<String>,
    /// The start of a character.
    bytes: Vec<u8>,
    /// Text that may be the start of a stop text, after text that is ready.
    pending: String,
    stopped: bool,
    /// All whole characters that came, shown or not.
    length: Place,
    /// Bytes of text that were given out.
    shown: usize,
}

impl TextBuffer {
    pub(super) fn new(stops: &[String]) -> Self {
        let stops = stops.iter().filter(|stop| !stop.is_empty()).cloned().collect();
        Self {
            stops,
            bytes: Vec::new(),
            pending: String::new(),
            stopped: false,
            length: Place::default(),
            shown: 0,
        }
    }

    /// Adds the bytes of a token and gives the text that is ready now; may be empty.
    pub(super) fn push(&mut self, bytes: &[u8]) -> String {
        if self.stopped {
            return String::new();
        }
        self.bytes.extend_from_slice(bytes);
        self.decode();
        let found = self.stops.iter().filter_map(|stop| self.pending.find(stop)).min();
        if let Some(at) = found {
            self.stopped = true;
            self.pending.truncate(at);
            return self.finish();
        }
        let ready = self.pending.len() - self.held();
        let rest = self.pending.split_off(ready);
        self.shown += ready;
        std::mem::replace(&mut self.pending, rest)
    }

    /// Where the text of the next token begins: after all that came, be it shown or held back. The rest of a character begins
    /// where the character does.
    pub(super) fn length(&self) -> Place {
        self.length
    }

    /// Bytes that were given out.
    pub(super) fn shown(&self) -> usize {
        self.shown
    }

    /// Whether a stop text came.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// What was held back, at the end. The start of a character without its end is left out.
    pub(super) fn finish(&mut self) -> String {
        self.shown += self.pending.len();
        std::mem::take(&mut self.pending)
    }

    /// Moves whole characters over; bytes that can't be one become U+FFFD.
    fn decode(&mut self) {
        let from = self.pending.len();
        self.move_characters();
        let new = &self.pending[from..];
        self.length.bytes += new.len();
        self.length.characters += new.chars().count();
    }

    fn move_characters(&mut self) {
        let mut rest: &[u8] = &self.bytes;
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.pending.push_str(text);
                    self.bytes.clear();
                    return;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    self.pending.push_str(&String::from_utf8_lossy(valid));
                    let Some(bad) = error.error_len() else {
                        self.bytes = after.to_vec();
                        return;
                    };
                    self.pending.push(char::REPLACEMENT_CHARACTER);
                    rest = &after[bad..];
                }
            }
        }
    }

    /// How many bytes at the end of `pending` may be the start of a stop text.
    fn held(&self) -> usize {
        let held = |stop: &String| {
            let longest = stop.len().saturating_sub(1).min(self.pending.len());
            let is_start = |length: &usize| self.pending.as_bytes().ends_with(&stop.as_bytes()[..*length]);
            // Only whole characters: the rest must begin at the start of one.
            (1..=longest)
                .rev()
                .filter(|length| stop.is_char_boundary(*length))
                .find(is_start)
                .unwrap_or(0)
        };
        self.stops.iter().map(held).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(pieces: &[&[u8]], stops: &[String]) -> (Vec<String>, bool) {
        let mut buffer = TextBuffer::new(stops);
        let mut shown: Vec<_> = pieces.iter().map(|piece| buffer.push(piece)).collect();
        let stopped = buffer.is_stopped();
        shown.push(buffer.finish());
        (shown, stopped)
    }

    #[test]
    fn a_character_over_two_tokens_comes_whole() {
        let (shown, _) = run(&[b"a\xE2\x82", b"\xACb", b"\xFFc", b"\xF0\x9F"], &[]);
        assert_eq!(shown, ["a", "€b", "\u{fffd}c", "", ""]);
    }

    #[test]
    fn a_stop_text_over_two_tokens_is_never_shown() {
        let stops = ["END".to_owned(), "\n\n".to_owned()];
        let (shown, stopped) = run(&[b"one E", b"N", b"D two"], &stops);
        assert_eq!(
            (shown, stopped),
            (["one ", "", "", ""].map(String::from).to_vec(), true)
        );
        let (shown, stopped) = run(&[b"one E", b"N", b"d two EN"], &stops);
        assert_eq!(
            (shown, stopped),
            (["one ", "", "ENd two ", "EN"].map(String::from).to_vec(), false)
        );
    }

    proptest! {
        #[test]
        fn how_a_text_is_cut_into_tokens_does_not_matter(
            text in "[ab€]{0,24}",
            stops in prop::collection::vec("[ab€]{1,4}", 0..3),
            cuts in prop::collection::vec(0usize..80, 0..6),
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&text.as_bytes()[from..cut]);
                from = cut;
            }
            pieces.push(&text.as_bytes()[from..]);
            let (shown, stopped) = run(&pieces, &stops);
            let mut buffer = TextBuffer::new(&stops);
            for piece in &pieces {
                buffer.push(piece);
            }
            buffer.finish();
            let given_out = buffer.shown();
            // The stop text that ends first wins: that is the one a model would have stopped at.
            let shown = shown.concat();
            prop_assert!(text.starts_with(&shown));
            prop_assert_eq!(given_out, shown.len());
            prop_assert_eq!(stopped, stops.iter().any(|stop| text.contains(stop)));
            prop_assert!(!stops.iter().any(|stop| shown.contains(stop)));
            if !stopped {
                prop_assert_eq!(shown, text);
            }
        }
    }
}
