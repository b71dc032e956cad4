//! Charts as SVG from the server, each with its numbers for whoever does not see it.

use std::fmt::Write;

use maud::{Markup, html};

/// The size of the drawing, in its own units.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 140.0;
/// Room for the numbers at its left, and for the times below.
const LEFT: f64 = 44.0;
const BOTTOM: f64 = 18.0;

/// What a chart shows.
#[derive(Debug, Clone, Copy)]
pub(in crate::web) struct Chart<'a> {
    /// What it is.
    pub(in crate::web) title: &'a str,
    /// The points: what a point is called, and how much.
    pub(in crate::web) points: &'a [(String, f64)],
    /// How an amount is written, with its unit.
    pub(in crate::web) written: fn(f64) -> String,
}

impl Chart<'_> {
    /// A line from point to point, with the area below it.
    pub(in crate::web) fn line(&self) -> Markup {
        let top = self.top();
        let step = (WIDTH - LEFT) / (self.points.len().saturating_sub(1).max(1)) as f64;
        let mut line = String::new();
        for (place, (_, amount)) in self.points.iter().enumerate() {
            let (x, y) = (LEFT + step * place as f64, height(*amount, top));
            // Writing into a text never fails.
            let _ = write!(line, "{}{x:.1} {y:.1}", if place == 0 { "M" } else { "L" });
        }
        let floor = HEIGHT - BOTTOM;
        let area = format!("{line}L{WIDTH:.1} {floor:.1}L{LEFT:.1} {floor:.1}Z");
        self.frame(&html! {
            @if self.points.len() > 1 {
                path.area d=(area) {}
                path.line d=(line) {}
            }
        })
    }

    /// A bar for each point.
    pub(in crate::web) fn bars(&self) -> Markup {
        let top = self.top();
        let step = (WIDTH - LEFT) / self.points.len().max(1) as f64;
        let width = (step * 0.7).clamp(1.0, 40.0);
        self.frame(&html! {
            @for (place, (name, amount)) in self.points.iter().enumerate() {
                @let y = height(*amount, top);
                @let x = LEFT + step * place as f64 + (step - width) / 2.0;
                rect.column x=(format!("{x:.1}")) y=(format!("{y:.1}")) width=(format!("{width:.1}"))
                    height=(format!("{:.1}", HEIGHT - BOTTOM - y)) rx="1.5" {
                    title { (name) ": " ((self.written)(*amount)) }
                }
            }
        })
    }

    fn top(&self) -> f64 {
        round(self.points.iter().map(|(_, amount)| *amount).fold(0.0, f64::max))
    }

    fn frame(&self, drawn: &Markup) -> Markup {
        let top = self.top();
        let (first, last) = (self.points.first(), self.points.last());
        let told = match last {
            Some((name, amount)) => format!(
                "{}: {} at {name}, up to {}",
                self.title,
                (self.written)(*amount),
                (self.written)(top)
            ),
            None => format!("{}: nothing yet", self.title),
        };
        html! {
            figure.chart {
                figcaption { (self.title) }
                svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(told) {
                    @for share in [0.0, 0.5, 1.0] {
                        @let y = height(top * share, top);
                        line.grid x1=(LEFT) x2=(WIDTH) y1=(format!("{y:.1}")) y2=(format!("{y:.1}")) {}
                        text.tick x=(LEFT - 6.0) y=(format!("{:.1}", y + 3.5)) text-anchor="end" { ((self.written)(top * share)) }
                    }
                    (drawn)
                    @if let (Some((first, _)), Some((last, _))) = (first, last) {
                        text.tick x=(LEFT) y=(HEIGHT - 4.0) { (first) }
                        @if self.points.len() > 1 {
                            text.tick x=(WIDTH) y=(HEIGHT - 4.0) text-anchor="end" { (last) }
                        }
                    }
                }
            }
        }
    }
}

fn height(amount: f64, top: f64) -> f64 {
    let room = HEIGHT - BOTTOM - 8.0;
    8.0 + room * (1.0 - (amount / top).clamp(0.0, 1.0))
}

/// The next number above that is easy to read: 1, 2 or 5 with zeros.
fn round(largest: f64) -> f64 {
    if !largest.is_finite() || largest <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(largest.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power);
    steps.into_iter().find(|step| *step >= largest).unwrap_or(largest)
}

/// A bar that shows how much of something is in use.
pub(in crate::web) fn meter(used: u64, all: u64, label: &str) -> Markup {
    html! {
        meter min="0" max=(all.max(1)) value=(used.min(all)) aria-label=(label) { (used) " of " (all) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_is_easy_to_read() {
        for (largest, top) in [
            (0.0, 1.0),
            (f64::NAN, 1.0),
            (0.3, 0.5),
            (1.0, 1.0),
            (7.0, 10.0),
            (1_001.0, 2_000.0),
        ] {
            assert!((round(largest) - top).abs() < 1e-9, "{largest} {}", round(largest));
        }
    }

    #[test]
    fn a_chart_of_nothing_says_so() {
        let chart = Chart {
            title: "Requests",
            points: &[],
            written: |number| format!("{number}"),
        };
        for drawn in [chart.line(), chart.bars()] {
            assert!(drawn.into_string().contains("Requests: nothing yet"));
        }
    }
}
