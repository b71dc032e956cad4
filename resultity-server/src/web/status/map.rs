//! A map of the regions: land as dots, nodes as circles.

use std::fmt::Write;
use std::sync::LazyLock;

use maud::{Markup, html};
use resultity_core::api::status::RegionStatus;

use super::super::kit::show;
use super::land::is_land;

/// Degrees from dot to dot, and how far apart they are in the drawing.
const DEGREES: f64 = 3.0;
const APART: f64 = 6.0;
const COLUMNS: u16 = 120;
const ROWS: u16 = 47;
/// The northern edge.
const NORTH: f64 = 84.0;

/// Regions that the map knows: what they are called, where they are (longitude, latitude).
const PLACES: &[(&str, f64, f64)] = &[
    ("EU", 10.0, 50.0),
    ("EU-CENTRAL", 10.0, 50.0),
    ("EU-EAST", 25.0, 50.0),
    ("EU-NORTH", 17.0, 61.0),
    ("EU-SOUTH", 13.0, 42.0),
    ("EU-WEST", 0.0, 48.0),
    ("US", -98.0, 39.0),
    ("US-CENTRAL", -95.0, 41.0),
    ("US-EAST", -78.0, 38.0),
    ("US-WEST", -120.0, 42.0),
    ("US-SOUTH", -98.0, 31.0),
    ("NA", -100.0, 42.0),
    ("CA", -100.0, 54.0),
    ("MX", -102.0, 23.0),
    ("SA", -58.0, -15.0),
    ("SA-EAST", -46.0, -22.0),
    ("BR", -50.0, -12.0),
    ("AR", -64.0, -35.0),
    ("CL", -71.0, -33.0),
    ("AF", 20.0, 5.0),
    ("AF-SOUTH", 25.0, -29.0),
    ("ZA", 25.0, -29.0),
    ("NG", 8.0, 9.0),
    ("KE", 38.0, 0.0),
    ("EG", 30.0, 27.0),
    ("ME", 45.0, 26.0),
    ("ME-CENTRAL", 54.0, 24.0),
    ("AE", 54.0, 24.0),
    ("IL", 35.0, 31.0),
    ("TR", 34.0, 39.0),
    ("AP", 110.0, 25.0),
    ("ASIA", 95.0, 45.0),
    ("AP-NORTHEAST", 138.0, 36.0),
    ("ASIA-NORTHEAST", 138.0, 36.0),
    ("AP-EAST", 115.0, 25.0),
    ("ASIA-EAST", 115.0, 25.0),
    ("AP-SOUTH", 78.0, 20.0),
    ("ASIA-SOUTH", 78.0, 20.0),
    ("AP-SOUTHEAST", 104.0, 2.0),
    ("ASIA-SOUTHEAST", 104.0, 2.0),
    ("OC", 134.0, -25.0),
    ("AU", 134.0, -25.0),
    ("NZ", 174.0, -40.0),
    ("CN", 105.0, 35.0),
    ("HK", 114.0, 22.0),
    ("TW", 121.0, 24.0),
    ("JP", 138.0, 36.0),
    ("KR", 128.0, 37.0),
    ("IN", 78.0, 22.0),
    ("SG", 104.0, 2.0),
    ("ID", 113.0, -2.0),
    ("TH", 101.0, 15.0),
    ("VN", 107.0, 16.0),
    ("PH", 122.0, 13.0),
    ("GB", -1.0, 53.0),
    ("UK", -1.0, 53.0),
    ("IE", -8.0, 53.0),
    ("FR", 2.0, 47.0),
    ("DE", 10.0, 51.0),
    ("NL", 5.0, 52.0),
    ("BE", 4.0, 51.0),
    ("CH", 8.0, 47.0),
    ("AT", 14.0, 47.0),
    ("IT", 12.0, 43.0),
    ("ES", -4.0, 40.0),
    ("PT", -8.0, 40.0),
    ("PL", 19.0, 52.0),
    ("CZ", 15.0, 50.0),
    ("RO", 25.0, 46.0),
    ("UA", 31.0, 49.0),
    ("SE", 16.0, 62.0),
    ("NO", 9.0, 61.0),
    ("FI", 26.0, 63.0),
    ("DK", 9.0, 56.0),
    ("IS", -19.0, 65.0),
    ("RU", 60.0, 58.0),
];

/// Where a region is, if the map knows: by its name, or by what its name begins with.
fn place(region: &str) -> Option<(f64, f64)> {
    let mut name = region.to_ascii_uppercase();
    loop {
        if let Some((_, longitude, latitude)) = PLACES.iter().find(|(known, ..)| *known == name) {
            return Some((
                (longitude + 180.0) / DEGREES * APART,
                (NORTH - latitude) / DEGREES * APART,
            ));
        }
        name.truncate(name.rfind('-')?);
    }
}

/// All land as one path: a run of dots is a line of which only the ends of its dashes are drawn.
static LAND: LazyLock<String> = LazyLock::new(|| {
    let mut path = String::new();
    for row in 0..ROWS {
        let latitude = NORTH - (f64::from(row) + 0.5) * DEGREES;
        let is_dot = |column: u16| is_land((f64::from(column) + 0.5) * DEGREES - 180.0, latitude);
        let mut begin = None;
        for column in 0..=COLUMNS {
            let dot = column < COLUMNS && is_dot(column);
            match (dot, begin) {
                (true, None) => begin = Some(column),
                (false, Some(from)) => {
                    let (x, y) = ((f64::from(from) + 0.5) * APART, (f64::from(row) + 0.5) * APART);
                    // A little longer than to the last dot, or that one is left out. Writing into a text never fails.
                    let _ = write!(path, "M{x} {y}h{}", f64::from(column - 1 - from) * APART + 0.1);
                    begin = None;
                }
                _ => {}
            }
        }
    }
    path
});

/// The map, and what is not on it.
pub(super) fn draw(regions: &[RegionStatus]) -> Markup {
    let named = |region: &RegionStatus| region.region.as_deref().and_then(place);
    let (width, tall) = (f64::from(COLUMNS) * APART, f64::from(ROWS) * APART);
    let elsewhere: u64 = regions
        .iter()
        .filter(|region| named(region).is_none())
        .map(|region| region.nodes)
        .sum();
    html! {
        svg.map viewBox=(format!("0 0 {width} {tall}")) role="img" aria-label="A map of the regions in which nodes are" {
            path.land d=(*LAND) stroke-dasharray=(format!("0 {APART}")) {}
            @for region in regions {
                @if let (Some((x, y)), Some(name)) = (named(region), &region.region) {
                    g {
                        title { (name) ": " (show::of(region.nodes, "node", "nodes")) ", " (region.in_rotation) " ready" }
                        circle.halo cx=(x) cy=(y) r=(size(region.nodes) * 1.9) {}
                        circle.place cx=(x) cy=(y) r=(size(region.nodes)) {}
                        text x=(x + size(region.nodes) + 4.0) y=(y + 4.0) { (name) " " (region.nodes) }
                    }
                }
            }
        }
        @if elsewhere > 0 {
            p.faint { (show::of(elsewhere, "node", "nodes")) " not on the map: they say no region that it knows." }
        }
    }
}

/// How large the circle of so many nodes is.
fn size(nodes: u64) -> f64 {
    (4.0 + (nodes as f64).sqrt() * 1.2).min(22.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_found_by_what_they_begin_with() {
        assert_eq!(place("eu-west-3"), place("EU-WEST"));
        assert_eq!(place("DE-BAVARIA"), place("DE"));
        assert_eq!(place("MOON"), None);
        assert_eq!(place(""), None);
    }

    #[test]
    fn land_is_a_short_path() {
        assert!(LAND.starts_with('M') && LAND.len() < 8_000, "{}", LAND.len());
    }
}
