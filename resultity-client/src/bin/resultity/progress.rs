//! What is shown while something takes its time: on standard error, if that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A line that moves; it is gone when this is dropped.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// A line that says this.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        // indicatif draws to standard error only where that is a terminal.
        let bar = ProgressBar::new_spinner().with_message(message.into());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(bar)
    }

    /// Says something else.
    pub(crate) fn say(&self, message: impl Into<String>) {
        self.0.set_message(message.into());
    }

    /// Shows how much of it is done.
    pub(crate) fn done(&self, position: u64, total: u64) {
        if self.0.length() != Some(total) {
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} [{bar:24}] {pos}/{len} ({elapsed})") {
                self.0.set_style(style);
            }
            self.0.set_length(total);
        }
        self.0.set_position(position);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
