//! One choice on its way out: in pieces, or gathered.

use resultity_core::openai::chat::{AnswerMessage, Choice, ChunkChoice};

use super::RuntimeEvent;
use super::generate::{Halt, Sink};
use super::logprobs::{Scored, Wanted};
use super::text::Place;
use super::tokenizer::Tokenizer;

/// How the choices of a request leave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    /// In pieces.
    pub(super) stream: bool,
    /// The first piece says who speaks.
    pub(super) speaks: bool,
    pub(super) logprobs: Option<Wanted>,
}

/// One choice.
pub(super) struct Answer<'a> {
    index: u32,
    sink: &'a Sink,
    tokenizer: &'a Tokenizer,
    manner: Manner,
    begun: bool,
    gathered: String,
    /// Tokens whose text has not left yet, each with the place where it begins.
    waiting: Vec<(Place, Scored)>,
    /// Tokens whose text leaves now, or has been gathered; each with the characters before it.
    ready: Vec<(usize, Scored)>,
    /// Characters of an echoed prompt.
    echoed: usize,
    reason: Option<&'static str>,
}

impl<'a> Answer<'a> {
    pub(super) fn new(index: u32, manner: Manner, tokenizer: &'a Tokenizer, sink: &'a Sink) -> Self {
        Self {
            index,
            sink,
            tokenizer,
            manner,
            begun: false,
            gathered: String::new(),
            waiting: Vec::new(),
            ready: Vec::new(),
            echoed: 0,
            reason: None,
        }
    }

    /// Begins with the prompt, and what is known of its tokens.
    pub(super) fn echo(&mut self, text: &str, scored: &[(usize, Scored)]) -> Result<(), Halt> {
        self.echoed = text.chars().count();
        self.ready.extend_from_slice(scored);
        self.pass_on(text.to_owned())
    }

    /// A token was made, whose text begins here. It goes with the text.
    pub(super) fn token(&mut self, place: Place, scored: Scored) {
        self.waiting.push((place, scored));
    }

    /// Text that may be shown; `shown` is how many bytes that makes in all.
    pub(super) fn text(&mut self, text: String, shown: usize) -> Result<(), Halt> {
        if !self.waiting.is_empty() {
            let leaves = self.waiting.iter().take_while(|(place, _)| place.bytes < shown).count();
            self.release(leaves);
        }
        self.pass_on(text)
    }

    /// The end. After a stop text, tokens that are still waiting are a part of it, and never leave.
    pub(super) fn finish(&mut self, reason: &'static str, at_stop_text: bool) -> Result<(), Halt> {
        if !at_stop_text {
            self.release(self.waiting.len());
        }
        self.reason = Some(reason);
        if self.manner.stream {
            self.piece(ChunkChoice::finish(self.index, reason))
        } else {
            Ok(())
        }
    }

    fn release(&mut self, count: usize) {
        let echoed = self.echoed;
        let released = self.waiting.drain(..count);
        self.ready
            .extend(released.map(|(place, scored)| (echoed + place.characters, scored)));
    }

    fn pass_on(&mut self, text: String) -> Result<(), Halt> {
        if text.is_empty() {
            return Ok(());
        }
        if self.manner.stream {
            return self.piece(ChunkChoice::text(self.index, text));
        }
        self.gathered.push_str(&text);
        Ok(())
    }

    fn piece(&mut self, mut piece: ChunkChoice) -> Result<(), Halt> {
        if !self.begun {
            self.begun = true;
            piece.delta.role = self.manner.speaks.then(|| "assistant".to_owned());
        }
        if let Some(wanted) = self.manner.logprobs.filter(|_| !self.ready.is_empty()) {
            piece.logprobs = Some(wanted.write(self.tokenizer, &self.ready));
            self.ready.clear();
        }
        self.sink.send(RuntimeEvent::Delta(vec![piece]))
    }

    /// The whole choice, if it was not sent in pieces.
    pub(super) fn into_choice(self) -> Option<Choice> {
        let message = AnswerMessage {
            role: "assistant".to_owned(),
            content: Some(self.gathered),
            ..AnswerMessage::default()
        };
        let logprobs = self.manner.logprobs;
        (!self.manner.stream).then_some(Choice {
            index: self.index,
            message,
            logprobs: logprobs.map(|wanted| wanted.write(self.tokenizer, &self.ready)),
            finish_reason: self.reason.map(str::to_owned),
        })
    }
}
