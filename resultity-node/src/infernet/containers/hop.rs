//! The body of a container's call, written around the data as it came.

use bytes::Bytes;
use serde_json::value::RawValue;

/// Where the input of a call comes from, or its output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Location {
    /// A chain: 0.
    OnChain,
    /// A caller of the REST API, or another container: 1.
    OffChain,
    /// A caller who reads along: 2.
    Stream,
}

impl Location {
    const fn digit(self) -> &'static str {
        match self {
            Self::OnChain => "0",
            Self::OffChain => "1",
            Self::Stream => "2",
        }
    }
}

/// One call of a container.
#[derive(Debug, Clone, Copy)]
pub struct Hop<'a> {
    /// Where the data comes from.
    pub source: Location,
    /// Where the answer goes.
    pub destination: Location,
    /// What the container gets.
    pub data: &'a RawValue,
    /// Whether it has to prove what it computed.
    pub requires_proof: bool,
}

impl Hop<'_> {
    /// The body: `{"source": …, "destination": …, "data": …, "requires_proof": …}`. The data is copied once and not read.
    pub(super) fn body(&self) -> Bytes {
        let data = self.data.get();
        let mut body = Vec::with_capacity(data.len() + 72);
        for part in [
            r#"{"source":"#,
            self.source.digit(),
            r#","destination":"#,
            self.destination.digit(),
            r#","data":"#,
            data,
            r#","requires_proof":"#,
            if self.requires_proof { "true}" } else { "false}" },
        ] {
            body.extend_from_slice(part.as_bytes());
        }
        body.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_that_of_the_original_node() {
        let data = RawValue::from_string(r#"{"n": 340282366920938463463374607431768211456.50}"#.to_owned()).unwrap();
        let hop = Hop {
            source: Location::OffChain,
            destination: Location::Stream,
            data: &data,
            requires_proof: true,
        };
        assert_eq!(
            hop.body(),
            r#"{"source":1,"destination":2,"data":{"n": 340282366920938463463374607431768211456.50},"requires_proof":true}"#
        );
        let hop = Hop {
            source: Location::OnChain,
            requires_proof: false,
            ..hop
        };
        assert!(hop.body().starts_with(br#"{"source":0,"#) && hop.body().ends_with(br#""requires_proof":false}"#));
    }
}
