//! Who is told how far a download is.

use std::fmt;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Is told how far a download is. Calls come often: return quickly.
pub trait Progress: Send + Sync + fmt::Debug {
    /// A file of `total` bytes is about to be fetched from `source`.
    fn started(&self, file: &str, source: &str, total: u64);
    /// So many bytes of it are here.
    fn at(&self, bytes: u64);
    /// No more comes of this source, be it that all is here, be it that it failed.
    fn ended(&self);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn started(&self, _: &str, _: &str, _: u64) {}
    fn at(&self, _: u64) {}
    fn ended(&self) {}
}

/// A bar on standard error, if that is a terminal; nothing otherwise.
#[derive(Debug)]
pub struct TerminalProgress(ProgressBar);

impl TerminalProgress {
    /// A bar that shows nothing yet.
    pub fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template("{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        Self(bar)
    }
}

impl Default for TerminalProgress {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress for TerminalProgress {
    fn started(&self, file: &str, source: &str, total: u64) {
        self.0.reset();
        self.0.set_length(total);
        self.0.set_message(format!("{file} from {source}"));
        // indicatif draws to standard error only where that is a terminal.
        self.0.set_draw_target(ProgressDrawTarget::stderr());
        self.0.tick();
    }

    fn at(&self, bytes: u64) {
        self.0.set_position(bytes);
    }

    fn ended(&self) {
        self.0.finish_and_clear();
    }
}
