//! What a job wants of its node, and what a node offers. Pure.

use std::borrow::Cow;
use std::collections::HashSet;

use resultity_core::id::SubcloudId;
use resultity_core::wire::Gpu;
use serde::{Deserialize, Serialize};

/// What a request wants of its node beside the model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Constraints {
    /// Where the node should be, as nodes say it, in upper case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Whether it must be there. Else a node there goes first, and one elsewhere will do.
    pub is_region_required: bool,
    /// Words that the name of a GPU of the node must have, in lower case.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gpu: Vec<String>,
    /// The least memory of that GPU: bytes.
    pub gpu_memory: u64,
}

impl Constraints {
    /// Whether nothing is wanted.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    fn wants_gpu(&self) -> bool {
        !self.gpu.is_empty() || self.gpu_memory > 0
    }

    /// The same in words, for errors and for administrators; empty if nothing must be so.
    pub fn in_words(&self) -> String {
        let mut words = String::new();
        if let Some(region) = self.region.as_ref().filter(|_| self.is_region_required) {
            words.extend([" in the region ", region]);
        }
        if self.wants_gpu() {
            words.push_str(" with such a GPU");
        }
        words
    }
}

/// Whose nodes, and which of them, a job may be given to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Wanted {
    /// The Subcloud whose members alone may take it.
    pub subcloud: Option<SubcloudId>,
    /// What else it wants.
    pub constraints: Constraints,
}

impl Wanted {
    /// A job that is addressed there, or to nobody, and wants nothing else.
    pub fn of(subcloud: Option<SubcloudId>) -> Self {
        Self {
            subcloud,
            constraints: Constraints::default(),
        }
    }

    /// What a node has to have: where it had better be is left out. Jobs that need the same wait together.
    pub(super) fn needed(&self) -> Cow<'_, Self> {
        if self.constraints.region.is_none() || self.constraints.is_region_required {
            return Cow::Borrowed(self);
        }
        Cow::Owned(Self {
            subcloud: self.subcloud,
            constraints: Constraints {
                region: None,
                ..self.constraints.clone()
            },
        })
    }

    /// Whether what is wanted is more than where a node is.
    pub(super) fn needs_a_look(&self) -> bool {
        self.constraints.wants_gpu()
    }

    /// The nodes among which one is looked for, in order: where it should be before anywhere.
    pub(super) fn spots(&self) -> impl Iterator<Item = Spot> {
        let spot = |region| Spot {
            subcloud: self.subcloud,
            region,
        };
        let there = self.constraints.region.clone().map(|region| spot(Some(region)));
        let anywhere = (!self.is_bound()).then(|| spot(None));
        there.into_iter().chain(anywhere)
    }

    /// The largest group of nodes of which one may take it.
    pub(super) fn widest_spot(&self) -> Spot {
        Spot {
            subcloud: self.subcloud,
            region: self.constraints.region.clone().filter(|_| self.is_bound()),
        }
    }

    fn is_bound(&self) -> bool {
        self.constraints.is_region_required && self.constraints.region.is_some()
    }
}

/// A group of nodes among which one is looked for: of a Subcloud or of everybody's, of a region or anywhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Spot {
    pub(super) subcloud: Option<SubcloudId>,
    pub(super) region: Option<String>,
}

/// Whose jobs a node takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Membership {
    /// The Subclouds that it takes jobs of.
    pub subclouds: Vec<SubcloudId>,
    /// Whether it takes no others.
    pub is_isolated: bool,
}

impl Membership {
    /// Whether a job that is addressed there, or to nobody, is one for this node.
    pub(super) fn takes(&self, subcloud: Option<SubcloudId>) -> bool {
        match subcloud {
            None => !self.is_isolated,
            Some(subcloud) => self.subclouds.contains(&subcloud),
        }
    }
}

/// What a node offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    /// The models that it passed the test for.
    pub models: HashSet<String>,
    /// How many jobs it takes at once.
    pub slots: u32,
    /// Whose jobs it takes.
    pub membership: Membership,
    /// Where it says it is.
    pub region: Option<String>,
    /// Its GPUs.
    pub gpus: Vec<Gpu>,
}

impl Offer {
    /// The offer as it is compared: regions in upper case, names of GPUs in lower case.
    pub(super) fn normalised(mut self) -> Self {
        let region = self.region.map(|region| region.trim().to_ascii_uppercase());
        self.region = region.filter(|region| !region.is_empty());
        for gpu in &mut self.gpus {
            gpu.name.make_ascii_lowercase();
        }
        self
    }

    /// Whether a job with these wishes may be given to it at all.
    pub(super) fn suits(&self, wanted: &Wanted) -> bool {
        let constraints = &wanted.constraints;
        self.membership.takes(wanted.subcloud)
            && (!wanted.is_bound() || self.region == constraints.region)
            && (!constraints.wants_gpu() || self.has_gpu(constraints))
    }

    /// Whether one of its GPUs is as wanted.
    pub(super) fn has_gpu(&self, constraints: &Constraints) -> bool {
        let is_wanted = |gpu: &Gpu| {
            gpu.memory >= constraints.gpu_memory && constraints.gpu.iter().all(|word| gpu.name.contains(word.as_str()))
        };
        self.gpus.iter().any(is_wanted)
    }

    /// The groups that it belongs to.
    pub(super) fn spots(&self) -> Vec<Spot> {
        let everybody = (!self.membership.is_isolated).then_some(None);
        let whose = everybody
            .into_iter()
            .chain(self.membership.subclouds.iter().copied().map(Some));
        let regions = || std::iter::once(None).chain(self.region.clone().map(Some));
        whose
            .flat_map(|subcloud| regions().map(move |region| Spot { subcloud, region }))
            .collect()
    }

    /// Whether it takes all that the other one takes.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let (own, others) = (&self.membership, &other.membership);
        (others.is_isolated || !own.is_isolated)
            && others.subclouds.iter().all(|id| own.subclouds.contains(id))
            && other.models.is_subset(&self.models)
            && self.region == other.region
            && self.gpus == other.gpus
    }
}
